"""The notebook runs from top to bottom, and shows what its cells made when it was written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

plt = pytest.importorskip("matplotlib.pyplot")

NOTEBOOK = Path(__file__).resolve().parents[1] / "examples" / "quickstart.ipynb"


@pytest.mark.slow
def test_all_cells_run(capsys: pytest.CaptureFixture[str]) -> None:
    plt.switch_backend("agg")
    plt.close("all")
    shown = []
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    names: dict[str, object] = {"__name__": "__main__"}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
            for number in plt.get_fignums():
                figure = plt.figure(number)
                figure.canvas.draw()
                shown.append(np.asarray(figure.canvas.buffer_rgba()).std())
            plt.close("all")
    assert len(shown) == 5
    assert min(shown) > 10  # none is blank
    said = capsys.readouterr().out
    assert "(5, 17, 2)" in said
    counts = [int(line.split()[1]) for line in said.splitlines() if line.endswith(" people")]
    assert counts == sorted(counts, reverse=True)
    assert counts[1] == 5


def test_the_notebook_is_stored_with_what_it_shows() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    kinds = [
        kind for cell in cells for out in cell.get("outputs", ()) for kind in out.get("data", ())
    ]
    assert kinds.count("image/png") == 5
    assert NOTEBOOK.stat().st_size < 2_000_000
    assert not [
        out for cell in cells for out in cell.get("outputs", ()) if out["output_type"] == "error"
    ]
