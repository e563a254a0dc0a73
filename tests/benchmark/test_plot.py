from __future__ import annotations

import builtins
import re
from pathlib import Path
from typing import Any

import pytest

from pcr_rt.benchmark.measure import Row
from pcr_rt.benchmark.plot import check_plot, plot
from pcr_rt.benchmark.turns import spread
from pcr_rt.errors import InputError, MissingDependencyError
from pcr_rt.inference.estimator import STAGES


def row(title: str, ms: float) -> Row:
    stages = {stage: spread([ms / 5]) for stage in STAGES}
    figures = spread([ms]), spread([1.0]), stages, 1000 / ms
    return Row(title, "toy", "fp32", "cpu", "host", 1, *figures, 2.0, None)


def test_bars_of_a_length_that_fits_the_milliseconds() -> None:
    pytest.importorskip("matplotlib")
    svg = plot([row("one", 10), row("two", 20)], ".svg").decode()
    assert svg.startswith("<?xml")
    for words in ("one", "two", *STAGES, "100.0 frames/s", "50.0 frames/s"):
        assert f"<!-- {words} -->" in svg or f"<!--  {words} -->" in svg
    lengths = []
    for path in re.findall(r'id="patch_\d+">\s*<path d="([^"]+)"', svg):
        xs = [float(x) for x in re.findall(r"[ML] ([\d.]+) ", path)]
        if "#0072b2" in svg[svg.index(path) : svg.index(path) + 300]:
            lengths.append(max(xs) - min(xs))
    assert lengths[1] == pytest.approx(2 * lengths[0], rel=0.01)


@pytest.mark.parametrize("name", ["plot", "plot.jpeg", "nowhere/plot.png"])
def test_what_cannot_be_written_is_said_before_anything_runs(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=re.escape(".png, .svg, .pdf file in a folder that exists")
    ):
        check_plot(tmp_path / name)


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match=r"pip install .*\[plot\]"):
        check_plot(tmp_path / "a.png")
