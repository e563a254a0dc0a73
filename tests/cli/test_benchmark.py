"""`pcr-rt benchmark`: a table, JSON and a plot of real models on few frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pcr_rt import benchmark
from pcr_rt.inference.estimator import STAGES

FEW = ("--rounds", "2", "--device", "cpu")
STAGE = dict.fromkeys(STAGES)


def test_json_of_two_models_on_an_image(cli: Any, sample_image: Path) -> None:
    pytest.importorskip("onnx")
    answer = cli(
        "benchmark", sample_image, *FEW, "-m", "pcr-nano", "-m", "pcr-tiny", "--precision", "fp32",
        "--json",
    )  # fmt: skip
    assert (answer.code, answer.err) == (0, "")
    report = answer.json
    assert report["source"] == "street.jpg"
    assert report["machine"]["cores"] >= 1
    assert [row["title"] for row in report["rows"]] == ["pcr-nano FP32", "pcr-tiny FP32"]
    for row in report["rows"]:
        assert row["stages_ms"].keys() == STAGE.keys()
        parts = sum(stage["p50"] for stage in row["stages_ms"].values())
        assert 0.5 * parts < row["ms"]["p50"] < 2 * parts
        assert row["people"] >= 1
        assert 0 < row["ms"]["p50"] <= row["ms"]["p95"]
    assert report["rows"][0]["ratio"] == dict.fromkeys(report["rows"][0]["ratio"], 1)


def test_made_frames_a_table_and_a_plot(cli: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot = tmp_path / "plot.png"
    answer = cli(
        "benchmark", "--size", "640x360", "--people", "3", *FEW, "-m", "pcr-nano",
        "--precision", "fp32", "--batch", "1", "--batch", "2", "--plot", plot,
    )  # fmt: skip
    assert answer.code == 0
    assert "640x360, 2 calls of each, in turns, on cpu" in answer.out
    lines = [line.split() for line in answer.out.splitlines()]
    (whole, stages) = (line for line in lines if line[:3] == ["pcr-nano", "FP32", "x2"])
    assert whole[-2:-1] == ["3.0"]
    assert len(stages) == len(whole[:3]) + 5
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--size", "640"), "give a width and a height"),
        (("--size", "640x360", "a.jpg"), "--size makes its own frames"),
        (("--plot", "a.txt"), "name a .png, .svg, .pdf file"),
        (("-m", "pcr-tyni"), "There is no model 'pcr-tyni'"),
        (("-m", "rtmdet-nano"), "is a detector, not a pose model"),
        (("nothing.mp4",), "nothing.mp4"),
    ],
)
def test_mistakes_are_one_sentence(cli: Any, arguments: tuple[str, ...], words: str) -> None:
    answer = cli("benchmark", *FEW, *arguments)
    assert answer.code == 2
    assert words in answer.err
    assert answer.err.count("\n") == 1


def test_an_interruption_leaves_no_file(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(benchmark, "measure", interrupted)
    plot = tmp_path / "plot.png"
    plot.write_bytes(b"of an earlier run")
    answer = cli("benchmark", *FEW, "-m", "pcr-nano", "--plot", plot)
    assert answer.code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]
    assert plot.read_bytes() == b"of an earlier run"
