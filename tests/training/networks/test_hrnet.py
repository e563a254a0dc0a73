"""HRNet: names and sizes of the published pose networks, and the exchange between branches."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch.nn import functional as F

from pcr_rt.training.networks.baselines import HeadOnly
from pcr_rt.training.networks.hrnet import HRNetEncoder


@pytest.fixture(scope="module")
def encoder():
    """A narrow HRNet with random weights and statistics."""
    torch.manual_seed(0)
    encoder = HRNetEncoder(4)
    for name, tensor in encoder.state_dict().items():
        if "running_var" in name:
            tensor.uniform_(0.5, 1.5)
        elif "running_mean" in name or name.endswith("bias"):
            tensor.normal_(std=0.1)
    return encoder.eval()


# Published: 28.5 M and 63.6 M with the head.
@pytest.mark.parametrize(("width", "millions"), [(32, 28.5), (48, 63.6)])
def test_names_and_sizes_of_pose_hrnet(width, millions):
    with torch.device("meta"):
        network = HeadOnly(HRNetEncoder(width))
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
    state = {k.removeprefix("encoder."): v for k, v in network.state_dict().items()}
    w = width
    shapes = {
        "conv1.weight": (64, 3, 3, 3),
        "bn2.running_mean": (64,),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer1.3.conv3.weight": (256, 64, 1, 1),
        "transition1.0.0.weight": (w, 256, 3, 3),
        "transition1.1.0.0.weight": (2 * w, 256, 3, 3),
        "transition1.1.0.1.bias": (2 * w,),
        "stage2.0.branches.1.3.conv2.weight": (2 * w, 2 * w, 3, 3),
        "stage2.0.fuse_layers.0.1.0.weight": (w, 2 * w, 1, 1),
        "stage2.0.fuse_layers.1.0.0.0.weight": (2 * w, w, 3, 3),
        "transition2.2.0.0.weight": (4 * w, 2 * w, 3, 3),
        "stage3.3.fuse_layers.2.0.0.0.weight": (w, w, 3, 3),
        "stage3.3.fuse_layers.2.0.1.0.weight": (4 * w, w, 3, 3),
        "transition3.3.0.1.weight": (8 * w,),
        "stage4.0.fuse_layers.3.0.2.0.weight": (8 * w, w, 3, 3),
        "stage4.2.fuse_layers.0.3.0.weight": (w, 8 * w, 1, 1),
        "final_layer.weight": (17, w, 1, 1),
        "final_layer.bias": (17,),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes
    # The last module of the pose networks gives its finest branch only.
    assert not any(name.startswith("stage4.2.fuse_layers.1") for name in state)


def test_features(encoder):
    with torch.no_grad():
        features = encoder(torch.randn(1, 3, 64, 96))
    assert features.shape == (1, 4, 16, 24)
    assert (encoder.channels, encoder.stride) == (4, 4)


def test_every_branch_reaches_the_output(encoder):
    encoder.zero_grad()
    encoder(torch.randn(1, 3, 64, 64)).square().sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None] == []


def test_exchange(encoder):
    """Finer maps arrive through strided convolutions, coarser ones narrowed and repeated."""
    module = encoder.stage3[0]
    s = module.state_dict()
    maps = [torch.randn(2, 4 * 2**b, 16 // 2**b, 8 // 2**b) for b in range(3)]
    with torch.no_grad():
        branches = [branch(x) for branch, x in zip(module.branches, maps, strict=True)]
        fused = module(maps)

    def layer(x, name, **options):
        x = F.conv2d(x, s[f"{name}.0.weight"], **options)
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(s[f"{name}.1.{n}"] for n in names))

    def down(x, name):
        return layer(x, name, stride=2, padding=1)

    def up(x, name, times):
        return layer(x, name).repeat_interleave(times, 2).repeat_interleave(times, 3)

    a, b, c = branches
    f = "fuse_layers"
    expected = [
        a + up(b, f"{f}.0.1", 2) + up(c, f"{f}.0.2", 4),
        down(a, f"{f}.1.0.0") + b + up(c, f"{f}.1.2", 2),
        down(F.relu(down(a, f"{f}.2.0.0")), f"{f}.2.0.1") + down(b, f"{f}.2.1.0") + c,
    ]
    for own, hand in zip(fused, expected, strict=True):
        torch.testing.assert_close(own, F.relu(hand))


def test_transitions_open_new_branches(encoder):
    """Each stage's coarsest input is a strided convolution of the coarsest map before it."""
    seen = {}

    def keep(name):
        return lambda _, inputs, out: seen.update({name: (inputs[0], out)})

    hooks = [
        getattr(encoder, name).register_forward_hook(keep(name))
        for name in ("stage2", "stage3", "stage4")
    ]
    with torch.no_grad():
        encoder(torch.randn(1, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    for before, after, transition in (
        ("stage2", "stage3", encoder.transition2[2]),
        ("stage3", "stage4", encoder.transition3[3]),
    ):
        given, taken = seen[before][1], seen[after][0]
        assert len(taken) == len(given) + 1
        for x, y in zip(given, taken[:-1], strict=True):
            assert torch.equal(x, y)
        convolution, norm = transition[0][0], transition[0][1]
        assert isinstance(convolution, nn.Conv2d)
        assert convolution.stride == (2, 2)
        with torch.no_grad():
            assert torch.equal(taken[-1], F.relu(norm(convolution(given[-1]))))
