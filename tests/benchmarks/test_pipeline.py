"""PCR-RT beside rtmlib: that both do the same work, and what is measured, not how fast."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rtmlib")

import pipeline

from pcr_rt.inference.pose_network import PoseNetwork

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def peer(shared: Path) -> pipeline.Peer:
    return pipeline.Peer(shared / "models", one_thread=True)


@pytest.fixture(scope="module")
def ours(shared: Path) -> dict[str, pipeline.Ours]:
    weights = shared / "models" / pipeline.PEER_MODELS[1]
    return {"pcr-nano": pipeline.Ours("pcr-nano"), pipeline.WEIGHTS: pipeline.Ours(weights)}


def test_the_same_weights_find_the_same_joints(
    shared: Path, peer: Any, ours: dict[str, pipeline.Ours]
) -> None:
    clip = shared / "data" / "clips" / "vtest.mp4"
    network = PoseNetwork(ours[pipeline.WEIGHTS].engines[0].engine)
    found = pipeline.agreement(clip, 4, peer, network)
    assert found["in one convention"]["p50"] < 1 < found["as they come"]["p50"]
    assert found["in one convention"]["p75"] < 2


@pytest.mark.slow
def test_whole_frames_and_the_networks_alone(
    peer: Any, ours: dict[str, pipeline.Ours], sample_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "PAUSE_S", 0)
    found = pipeline.frame_by_frame(sample_clip, 3, peer, ours, time.perf_counter)
    assert found["frames"] == 3
    rows = found["rows"]
    assert set(rows) == {
        pipeline.PEER,
        *(name + words for name in ours for words in ("", ", networks alone")),
    }
    assert rows[pipeline.PEER]["ratio"]["p50"] == 1
    assert all(row["people"] > 0 for name, row in rows.items() if "alone" not in name)
    engines = {engine.spec.name for engine, _ in ours["pcr-nano"].work(_frame(sample_clip))}
    assert engines == {"pcr-nano", "rtmdet-nano"}


@pytest.mark.slow
def test_tracked_segments(
    peer: Any, ours: dict[str, pipeline.Ours], sample_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "SEGMENT", 3)
    monkeypatch.setattr(pipeline, "MODELS", ("pcr-nano",))
    found = pipeline.tracked(sample_clip, 2, peer, ours, time.perf_counter)
    assert found["segments"] == 2
    assert len(found["rows"]) == 3
    assert found["rows"][pipeline.PEER]["ratio"]["max"] == 1


def _frame(clip: Path) -> Any:
    return pipeline.frames_of(clip, 2)[1]
