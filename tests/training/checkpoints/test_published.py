"""Published checkpoints fit by key name; their keys and shapes are generated here from the papers'
architectures and the naming of the public repositories, independently of our modules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from pcr_rt.errors import DataError
from pcr_rt.training.checkpoints.published import load_published, load_published_encoder
from pcr_rt.training.checkpoints.start import load_encoder, load_start
from pcr_rt.training.data.input import Input
from pcr_rt.training.networks.registry import build

Shapes = Iterator[tuple[str, tuple[int, ...]]]


def norm(name: str, width: int) -> Shapes:
    for tensor in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{tensor}", (width,)
    yield f"{name}.num_batches_tracked", ()


def conv_bn(conv: str, bn: str, out: int, into: int, kernel: int) -> Shapes:
    yield f"{conv}.weight", (out, into, kernel, kernel)
    yield from norm(bn, out)


def bottleneck(name: str, into: int, planes: int, shortcut: bool) -> Shapes:
    widths = ((planes, into, 1), (planes, planes, 3), (4 * planes, planes, 1))
    for i, (out, source, kernel) in enumerate(widths, 1):
        yield from conv_bn(f"{name}.conv{i}", f"{name}.bn{i}", out, source, kernel)
    if shortcut:
        down = f"{name}.downsample"
        yield from conv_bn(f"{down}.0", f"{down}.1", 4 * planes, into, 1)


def resnet(depth: int) -> Shapes:
    yield from conv_bn("conv1", "bn1", 64, 3, 7)
    into = 64
    for stage, blocks in enumerate({50: (3, 4, 6, 3), 152: (3, 8, 36, 3)}[depth]):
        planes = 64 * 2**stage
        for block in range(blocks):
            yield from bottleneck(f"layer{stage + 1}.{block}", into, planes, block == 0)
            into = 4 * planes


def resnet_imagenet(depth: int) -> Shapes:
    yield from resnet(depth)
    yield "fc.weight", (1000, 2048)
    yield "fc.bias", (1000,)


def pose_resnet(depth: int) -> Shapes:
    yield from resnet(depth)
    for i, into in enumerate((2048, 256, 256)):
        # A transposed convolution's weight has its input channels first.
        yield f"deconv_layers.{3 * i}.weight", (into, 256, 4, 4)
        yield from norm(f"deconv_layers.{3 * i + 1}", 256)
    yield "final_layer.weight", (17, 256, 1, 1)
    yield "final_layer.bias", (17,)


def exchange(name: str, widths: list[int], rows: int) -> Shapes:
    for i in range(rows):
        for j in range(len(widths)):
            here = f"{name}.fuse_layers.{i}.{j}"
            if j > i:
                yield from conv_bn(f"{here}.0", f"{here}.1", widths[i], widths[j], 1)
            for k in range(i - j):
                out = widths[i] if k == i - j - 1 else widths[j]
                yield from conv_bn(f"{here}.{k}.0", f"{here}.{k}.1", out, widths[j], 3)


def hrnet(width: int, last_rows: int) -> Shapes:
    yield from conv_bn("conv1", "bn1", 64, 3, 3)
    yield from conv_bn("conv2", "bn2", 64, 64, 3)
    for block in range(4):
        yield from bottleneck(f"layer1.{block}", 64 if block == 0 else 256, 64, block == 0)
    yield from conv_bn("transition1.0.0", "transition1.0.1", width, 256, 3)
    yield from conv_bn("transition1.1.0.0", "transition1.1.0.1", 2 * width, 256, 3)
    for stage, modules in ((2, 1), (3, 4), (4, 3)):
        widths = [width * 2**branch for branch in range(stage)]
        if stage > 2:
            here = f"transition{stage - 1}.{stage - 1}.0"
            yield from conv_bn(f"{here}.0", f"{here}.1", widths[-1], widths[-2], 3)
        for module in range(modules):
            name = f"stage{stage}.{module}"
            for branch, w in enumerate(widths):
                for block in range(4):
                    here = f"{name}.branches.{branch}.{block}"
                    for i in (1, 2):
                        yield from conv_bn(f"{here}.conv{i}", f"{here}.bn{i}", w, w, 3)
            rows = last_rows if (stage, module) == (4, 2) else stage
            yield from exchange(name, widths, rows)


def pose_hrnet(width: int) -> Shapes:
    yield from hrnet(width, 1)
    yield "final_layer.weight", (17, width, 1, 1)
    yield "final_layer.bias", (17,)


def hrnet_imagenet(width: int) -> Shapes:
    """The classifier's trunk with all four outputs, and some of the tensors of its head."""
    yield from hrnet(width, 4)
    yield from bottleneck("incre_modules.0.0", width, 32, True)
    yield "downsamp_modules.0.0.weight", (256, 128, 3, 3)
    yield "final_layer.0.weight", (2048, 1024, 1, 1)
    yield "classifier.weight", (1000, 2048)


POSE = {
    "baseline-r50": lambda: pose_resnet(50),
    "baseline-r152": lambda: pose_resnet(152),
    "hrnet-w32": lambda: pose_hrnet(32),
    "hrnet-w48": lambda: pose_hrnet(48),
}


@pytest.mark.parametrize("name", POSE)
def test_keys_and_shapes_are_one_to_one(name: str) -> None:
    with torch.device("meta"):
        own = build(name).state_dict()
    ours = {key.removeprefix("encoder."): tuple(value.shape) for key, value in own.items()}
    assert ours == dict(POSE[name]())


def write(path: Path, shapes: Shapes, counters: bool = True) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    tensors = {
        key: torch.randn(shape) if shape else torch.tensor(7)
        for key, shape in shapes
        if counters or "num_batches" not in key
    }
    torch.save(tensors, path)
    return tensors


def test_a_pose_checkpoint_fills_the_baseline(tmp_path: Path) -> None:
    tensors = write(tmp_path / "pose_hrnet.pth", pose_hrnet(32))
    network = build("hrnet-w32")
    load_published(network, tmp_path / "pose_hrnet.pth")
    for key, value in network.state_dict().items():
        assert torch.equal(value, tensors[key.removeprefix("encoder.")]), key
    torch.save(
        {"state_dict": {f"module.{k}": v + 1 for k, v in tensors.items()}, "epoch": 3},
        tmp_path / "wrapped.pth",
    )
    load_start(network, tmp_path / "wrapped.pth", Input())
    assert torch.equal(network.state_dict()["final_layer.bias"], tensors["final_layer.bias"] + 1)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("pcr-r50", lambda: resnet_imagenet(50)),
        ("pcr-r50", lambda: pose_resnet(50)),
        ("pcr-w32", lambda: hrnet_imagenet(32)),
        ("pcr-w32", lambda: pose_hrnet(32)),
    ],
)
def test_classifiers_and_pose_networks_fill_the_encoder(
    tmp_path: Path, name: str, shapes: object
) -> None:
    assert callable(shapes)
    # torchvision's first files lack the batch counters.
    tensors = write(tmp_path / "file.pth", shapes(), counters=False)
    network = build(name)
    load_encoder(network, "file.pth", tmp_path)
    filled = network.get_submodule("encoder").state_dict()
    for key, value in filled.items():
        assert "num_batches" in key or torch.equal(value, tensors[key]), key


def test_another_networks_file_is_refused_with_its_keys(tmp_path: Path) -> None:
    write(tmp_path / "r152.pth", pose_resnet(152))
    # 932 - 320 tensors of torchvision's files.
    with pytest.raises(DataError, match=r"612 unexpected .*layer2\.4\.conv1\.weight"):
        load_published_encoder(build("pcr-r50").get_submodule("encoder"), tmp_path / "r152.pth")
    shapes = dict(pose_resnet(50))
    del shapes["layer1.0.bn1.weight"]
    shapes["layer4.0.conv1.weight"] = (512, 1000, 1, 1)
    write(tmp_path / "mpii.pth", iter(shapes.items()))
    with pytest.raises(DataError) as error:
        load_start(build("baseline-r50"), tmp_path / "mpii.pth", Input())
    message = str(error.value)
    assert "1 missing (encoder.layer1.0.bn1.weight)" in message
    shape = "encoder.layer4.0.conv1.weight (512, 1000, 1, 1) for (512, 1024, 1, 1)"
    assert f"1 misshaped ({shape})" in message
    with pytest.raises(DataError, match="no checkpoint of a run"):
        load_start(build("pcr-r50"), tmp_path / "mpii.pth", Input())
