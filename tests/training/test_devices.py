from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from pcr_rt.errors import DataError
from pcr_rt.training.checkpoints.checkpoint import load_checkpoint
from pcr_rt.training.devices import part_of_batch
from pcr_rt.training.recipe import load_recipe
from pcr_rt.training.trainer import Trainer

WORKER = """
import json, os, signal, sys
from pathlib import Path
from pcr_rt.training.devices import processes
from pcr_rt.training.recipe import load_recipe
from pcr_rt.training.trainer import Trainer

recipe, data, folder, stop = sys.argv[1:]
losses = []

def progress(done, total, loss):
    losses.append(loss)
    if done == int(stop) and os.environ["RANK"] == "1":
        signal.raise_signal(signal.SIGTERM)  # one process is told, all stop at the same step

with processes("cpu") as part:
    finished = Trainer(load_recipe(recipe), Path(data), Path(folder), part=part).run(progress)
Path(folder, f"rank{part[0]}.json").write_text(json.dumps([finished, losses]))
"""


def launch(recipe: Path, data: Path, folder: Path, stop: int) -> list[tuple[bool, list[float]]]:
    folder.mkdir(exist_ok=True)
    worker = folder / "worker.py"
    worker.write_text(WORKER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", worker, recipe, data, folder, str(stop)]
    done = subprocess.run(
        [str(c) for c in command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"rank{r}.json").read_text()) for r in (0, 1)]


@pytest.mark.slow
def test_two_processes_are_one(drawn: Path, tmp_path: Path) -> None:
    """Same loss curve and weights as one process with the same global batch, frozen norms.

    The second run is stopped by a SIGTERM to one process after its first step, and goes on as two.
    """
    recipe = tmp_path / "recipe.toml"
    text = (drawn / "recipe.toml").read_text()
    text = text.replace("[optimizer]", '[optimizer]\nfrozen_norms = "all"')
    recipe.write_text(text.replace("colour = 0.2", "colour = 0.2\nerase = 0.5"))
    losses: list[float] = []
    single = Trainer(load_recipe(recipe), drawn, tmp_path / "one")
    single.run(lambda done, total, loss: losses.append(loss))

    stopped = launch(recipe, drawn, tmp_path / "two", stop=1)
    assert [finished for finished, _ in stopped] == [False, False]
    assert stopped[0][1] == stopped[1][1]
    ended = launch(recipe, drawn, tmp_path / "two", stop=-1)
    assert [finished for finished, _ in ended] == [True, True]
    together = stopped[0][1] + ended[0][1]
    assert together == pytest.approx(losses, rel=1e-4)
    one, two = (load_checkpoint(tmp_path / name / "last.pt")["network"] for name in ("one", "two"))
    for key, value in one.items():
        # Adam moves a weight by its rate however small the gradient, so the sum's rounding shows.
        torch.testing.assert_close(two[key], value, rtol=1e-3, atol=2e-4, msg=key)


def test_a_batch_is_shared_evenly_by_two_or_more_each() -> None:
    assert part_of_batch(128, (3, 4)) == 32
    assert part_of_batch(2, (0, 1)) == 2
    for batch in (2, 7):
        with pytest.raises(DataError, match="multiple of 2, at least 4"):
            part_of_batch(batch, (0, 2))
