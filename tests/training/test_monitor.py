from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from pcr_rt.training.monitor import Monitor
from pcr_rt.training.recipe import load_recipe
from pcr_rt.training.validation import preview


def test_curves_and_pictures_are_written(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monitor = Monitor(tmp_path)
    for step in range(1, 31):
        monitor.step(step, loss=1 / step, rate=0.5)
    picture = np.zeros((8, 6, 3), np.uint8)
    picture[..., 2] = 255  # red in BGR
    monitor.validation(30, 0.25, picture)
    monitor.close()
    log = events.EventAccumulator(str(tmp_path / "tensorboard"))
    log.Reload()
    assert [(e.step, pytest.approx(e.value)) for e in log.Scalars("train/loss")] == [
        (10, 0.1),
        (20, 0.05),
        (30, 1 / 30),
    ]
    assert log.Scalars("validation/AP")[0].value == 0.25
    image = log.Images("validation/poses")[0]
    assert (image.height, image.width) == (8, 6)


def test_without_tensorboard_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monitor = Monitor(tmp_path)
    monitor.step(10, loss=1.0)
    monitor.validation(10, 0.5, None)
    monitor.close()
    assert not (tmp_path / "tensorboard").exists()


def test_the_preview_shows_every_chosen_picture(drawn: Path) -> None:
    pytest.importorskip("pycocotools")
    from pcr_rt.training.networks.registry import build

    recipe = load_recipe(drawn / "recipe.toml")
    sheet = preview(recipe, drawn)(build(recipe.network).eval(), recipe.stage[0])
    assert sheet.shape == (2 * 240, 3 * 320, 3)
    # The pictures' grey is in the middle of each of the six cells.
    assert all(
        sheet[240 * r + 40 : 240 * r + 200, 320 * c + 100 : 320 * c + 220].max() > 50
        for r in range(2)
        for c in range(3)
    )


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
