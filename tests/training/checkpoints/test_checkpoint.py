"""Checkpoints are whole, run no code, fit their network and recipe, and become model files."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from torch import nn

from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.errors import DataError, PoseError
from pcr_rt.training.checkpoints.checkpoint import (
    export_checkpoint,
    fill,
    first_difference,
    load_checkpoint,
    network_and_spec,
    save_checkpoint,
)
from pcr_rt.training.networks.registry import build
from pcr_rt.training.recipe import load_recipe

MEAN, STD = (127.0, 127.0, 127.0), (128.0, 120.0, 110.0)


def checkpoint(path: Path, **network: Any) -> Path:
    """A best.pt without training."""
    torch.manual_seed(0)
    table = {"encoder": "efficientnet-lite0", "channels": [16, 16, 16], **network}
    recipe = {
        "name": "untrained",
        "person_score": "mean",
        "network": table,
        "input": {"transform": "msra", "mean": list(MEAN), "std": list(STD)},
    }
    state = build(table).state_dict()
    content = {"network": state, "recipe": recipe, "size": [96, 128], "step": 7, "score": 0.123456}
    save_checkpoint(path, content)
    return path


def test_spec_is_that_of_the_recipe(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "best.pt")
    spec, difference = export_checkpoint(path, tmp_path / "out" / "model.onnx")
    assert (spec.name, spec.kind, spec.input_size) == ("untrained", "heatmap", (96, 128))
    assert (spec.mean, spec.std, spec.transform) == (MEAN, STD, "msra")
    assert spec.person_score == "mean"
    assert spec.provenance["steps"] == 7
    assert spec.provenance["validation_ap"] == 0.1235
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert spec.provenance["checkpoint_sha256"] == digest
    assert spec.provenance["recipe"] == load_checkpoint(path)["recipe"]
    assert difference.heatmaps < 1e-4
    assert OnnxRuntimeEngine(tmp_path / "out" / "model.onnx").spec == spec


def test_weights_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "best.pt")
    export_checkpoint(path, tmp_path / "model.onnx", size=(64, 96))
    content = load_checkpoint(path)
    network = build(content["recipe"]["network"]).eval()
    network.load_state_dict(content["network"])
    images = np.random.default_rng(0).standard_normal((2, 3, 96, 64)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).levels[-1].numpy()
    (found,) = OnnxRuntimeEngine(tmp_path / "model.onnx").run(images)
    assert found.shape == (2, 17, 24, 16)
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("channels", "size", "sigma"),
    [
        ([16, 16, 16], (96, 128), 1.0),  # maps of 24x32
        ([16, 16, 16], (192, 256), 2.0),  # 48x64
        ([16, 16], (192, 256), 1.0),  # 24x32: two modules leave stride 8
        ([16, 16, 16, 16], (192, 256), 4.0),  # 96x128
    ],
)
def test_sigma_follows_the_maps(
    tmp_path: Path, channels: list[int], size: tuple[int, int], sigma: float
) -> None:
    path = checkpoint(tmp_path / "best.pt", channels=channels)
    assert network_and_spec(path, size)[1].sigma == sigma


@pytest.mark.parametrize("encoder", ["efficientnet-lite0", "lite-hrnet"])
@pytest.mark.parametrize("size", [(100, 128), (144, 192), (96, 0), (16, 32)])
def test_sizes_that_do_not_suit_the_network(
    tmp_path: Path, encoder: str, size: tuple[int, int]
) -> None:
    options = {"stride": 1, "channels": [16]} if encoder == "lite-hrnet" else {}
    path = checkpoint(tmp_path / "best.pt", encoder=encoder, **options)
    with pytest.raises(DataError, match="multiples of 32, for example"):
        export_checkpoint(path, tmp_path / "model.onnx", size=size)
    assert not (tmp_path / "model.onnx").exists()


def test_failed_write_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1})
    (tmp_path / f".last.pt.{os.getpid()}.part").mkdir()  # stands in the way of the next write
    with pytest.raises(DataError, match="kept"):
        save_checkpoint(path, {"step": 2})
    assert load_checkpoint(path) == {"step": 1}


def test_checkpoints_run_no_code(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (exec, ("raise SystemExit",))

    torch.save(Bomb(), tmp_path / "bomb.pt")
    with pytest.raises(DataError, match="cannot be read"):
        load_checkpoint(tmp_path / "bomb.pt")


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import torch
from pcr_rt.errors import DataError
from pcr_rt.training.checkpoints.checkpoint import load_checkpoint, save_checkpoint

path = Path(sys.argv[1])
save_checkpoint(path, {"step": 1})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_checkpoint(path, {"step": 2, "weights": torch.zeros(1_000_000)})
except DataError as error:
    print(error)
print(load_checkpoint(path)["step"], sorted(p.name for p in path.parent.iterdir()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_file_that_cannot_grow_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    """Beyond a limit the operating system refuses writes as it does on a full disk."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "last.pt")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "could not be written" in done.stdout
    assert "the last good one is kept" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 ['last.pt']"


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))


def test_every_kind_of_difference_is_listed_and_nothing_is_changed() -> None:
    network = small()
    before = network[0].bias.detach().clone()
    given = dict(small().state_dict())
    del given["0.weight"]
    given["head.bias"] = torch.zeros(1)
    given["1.weight"] = torch.zeros(1, 4)
    with pytest.raises(DataError) as error:
        fill(network, given, "x.pt")
    message = str(error.value)
    assert "1 missing (0.weight)" in message
    assert "1 unexpected (head.bias)" in message
    assert "1 misshaped (1.weight (1, 4) for (1, 3))" in message
    assert torch.equal(network[0].bias, before)


def test_what_changed_between_two_recipes() -> None:
    recipe = load_recipe("pcr-nano")
    before = dataclasses.asdict(recipe)
    optimizer = dataclasses.replace(recipe.optimizer, ema=0.5)
    for changes, key in (
        ({"name": "y", "broken": "skip", "start": "runs/a"}, ""),
        ({"stage": recipe.stage[:1] * 5}, "stage"),
        ({"optimizer": optimizer}, "optimizer.ema"),
    ):
        now = dataclasses.asdict(dataclasses.replace(recipe, **changes))
        assert first_difference(before, now) == key
    del before["augmentation"]["truncation"]  # as a version wrote it that had no such key
    assert first_difference(before, dataclasses.asdict(recipe)) == ""


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": None},
        {"recipe": {"network": {"encoder": "efficientnet-lite0", "channels": [16, 16, 16]}}},
        {"size": "large"},
        {"score": [1]},
        {"network": {"a": 1}},
        {"skeleton": {"name": 3}},
    ],
)
def test_other_content_is_one_sentence(tmp_path: Path, change: dict[str, Any]) -> None:
    path = checkpoint(tmp_path / "best.pt")
    torch.save({**load_checkpoint(path), **change}, path)
    with pytest.raises(PoseError) as caught:
        network_and_spec(path)
    assert "\n" not in str(caught.value)
