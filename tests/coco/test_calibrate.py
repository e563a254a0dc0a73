from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from exif import exif_jpeg

from pcr_rt.calibration import Calibration
from pcr_rt.coco.calibrate import (
    Outcomes,
    brier_score,
    calibration_error,
    cross_fitted,
    fit_knots,
    judge,
    judge_images,
    reliability,
)
from pcr_rt.errors import DataError
from pcr_rt.poses import Poses
from pcr_rt.skeleton import SIGMAS, Skeleton


def drawn(count: int, weights: Any, seed: int = 0) -> tuple[Any, Any]:
    """Scores and outcomes of which the log odds are w0 + w1 log(s) - w2 log(1 - s)."""
    generator = np.random.default_rng(seed)
    scores = generator.random(count)
    odds = weights[0] + weights[1] * np.log(scores) - weights[2] * np.log(1 - scores)
    return scores, generator.random(count) < 1 / (1 + np.exp(-odds))


@pytest.mark.parametrize("weights", [(0.0, 1.0, 1.0), (4.0, 2.3, 4.1), (1.0, 0.5, 2.0)])
def test_the_curve_that_outcomes_were_drawn_from_is_found(weights: Any) -> None:
    knots = np.array(fit_knots(*drawn(20000, weights)))
    inner = knots[2:-2]  # not where the logarithms are cut off
    odds = weights[0] + weights[1] * np.log(inner[:, 0]) - weights[2] * np.log(1 - inner[:, 0])
    expected = 0.98 / (1 + np.exp(-odds)) + 0.02 * inner[:, 0]
    np.testing.assert_allclose(inner[:, 1], expected, atol=0.015)


def test_the_fit_is_that_of_scipy() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    scores, right = drawn(400, (2.0, 1.5, 1.0))

    def loss(w: Any) -> float:
        odds = w[0] + w[1] * np.log(scores) - w[2] * np.log(1 - scores)
        return float(np.logaddexp(0, np.where(right, -odds, odds)).sum())

    w = optimize.minimize(loss, np.zeros(3)).x
    assert (w > 0).all()
    x, y = np.transpose(fit_knots(scores, right)[1:-1])
    odds = w[0] + w[1] * np.log(x) - w[2] * np.log(1 - x)
    np.testing.assert_allclose(y, 0.98 / (1 + np.exp(-odds)) + 0.02 * x, atol=2e-3)


@pytest.mark.parametrize("right", [True, False])
def test_scores_that_are_all_right_or_wrong_still_give_a_curve_that_rises(right: bool) -> None:
    scores = np.random.default_rng(0).random(200)
    knots = fit_knots(scores, np.full(200, right))
    Calibration(knots, knots)
    p = np.interp(scores, *np.transpose(knots))
    assert p.min() > 0.9 if right else p.max() < 0.1


def test_separable_scores_and_scores_beyond_the_range_give_a_curve_that_rises() -> None:
    scores = np.linspace(-0.2, 1.3, 200)
    knots = fit_knots(scores, scores > 0.5)
    Calibration(knots, knots)
    assert np.diff(np.transpose(knots)[1]).min() >= 0.001 - 1e-6  # 0.02 of a step of 0.05


def test_scores_that_mean_the_opposite_are_refused() -> None:
    scores = np.linspace(0, 1, 200)
    with pytest.raises(DataError, match="not right more often"):
        fit_knots(scores, scores < 0.5)


def test_too_few_scores_are_refused() -> None:
    with pytest.raises(DataError, match="Only 49 scores"):
        fit_knots(*drawn(49, (0.0, 1.0, 1.0)))


def test_calibration_error_and_brier_score_by_hand() -> None:
    probabilities = np.array([0.1, 0.3, 0.9, 0.9])
    right = np.array([False, True, True, False])
    # Two bins: (0.2, half right, 2) and (0.9, half right, 2).
    assert reliability(probabilities, right, bins=2) == [
        (pytest.approx(0.2), 0.5, 2),
        (pytest.approx(0.9), 0.5, 2),
    ]
    assert calibration_error(probabilities, right, bins=2) == pytest.approx(0.5 * 0.3 + 0.5 * 0.4)
    assert brier_score(probabilities, right) == pytest.approx((0.01 + 0.49 + 0.01 + 0.81) / 4)
    assert reliability(np.array([1.0]), np.array([True])) == [(1.0, 1.0, 1)]


def test_held_out_images_do_not_take_part_in_their_own_curve() -> None:
    # In images of fold 0 everything is wrong, in the others everything is right.
    images = np.arange(1000) % 2
    scores = np.random.default_rng(0).random(1000)
    held = cross_fitted(Outcomes(scores, images == 1, images), folds=2)
    assert held[images == 0].min() > 0.9
    assert held[images == 1].max() < 0.1


def person(box: list[float], *, visible: int = 17, crowd: int = 0) -> dict[str, Any]:
    """A label whose keypoints all lie at the centre of its box, the first ``visible`` labelled."""
    x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
    keypoints = [v for k in range(17) for v in ((x, y, 2) if k < visible else (0, 0, 0))]
    return {
        "bbox": box,
        "area": box[2] * box[3],
        "keypoints": keypoints,
        "num_keypoints": visible,
        "iscrowd": crowd,
    }


def poses_at(*people: tuple[float, float], score: float = 0.7) -> Poses:
    """People of 100x100 pixels whose keypoints all lie at their centre; peaks 0.01, 0.02, ..."""
    centres = np.array(people, np.float32).reshape(-1, 2)
    count = len(centres)
    return Poses(
        keypoints=np.repeat(centres[:, None], 17, 1),
        keypoint_scores=np.tile(np.arange(1, 18, dtype=np.float32) / 100, (count, 1)),
        boxes=np.concatenate([centres - 50, centres + 50], 1),
        scores=np.full(count, score, np.float32),
    )


def test_keypoints_are_judged_by_their_own_term_of_oks() -> None:
    label = person([0, 0, 100, 100], visible=16)
    poses = poses_at((50, 50))
    moved = poses.keypoints.copy()
    # A term of exp(-d^2 / (2 area (2 sigma)^2)) is 0.5 at d = 2 sigma sqrt(2 ln 2 area).
    half = 2 * SIGMAS * np.sqrt(2 * np.log(2) * 100 * 100)
    moved[0, 3, 0] += half[3] * 1.01
    moved[0, 5, 1] -= half[5] * 0.99
    poses = Poses(moved, poses.keypoint_scores, poses.boxes, poses.scores)
    (peaks, right), (scores, found) = judge(poses, [label])
    np.testing.assert_allclose(peaks, np.arange(1, 17) / 100, atol=1e-6)
    assert right.tolist() == [k != 3 for k in range(16)]
    assert found.tolist() == [True]
    np.testing.assert_allclose(scores, 0.7, atol=1e-6)


def test_people_without_a_label_are_wrong_unless_they_lie_on_one_that_is_not_judged() -> None:
    labels = [
        person([0, 0, 100, 100]),
        person([300, 0, 100, 100], visible=0),
        person([500, 0, 400, 400], crowd=1),
    ]
    # In place; far from all; on a person without keypoints; inside a crowd.
    poses = poses_at((50, 50), (150, 300), (350, 50), (600, 100))
    (peaks, _), (scores, found) = judge(poses, labels)
    assert len(peaks) == 17
    assert found.tolist() == [True, False]
    assert len(scores) == 2


def test_nobody_found_and_nobody_labelled() -> None:
    (peaks, _), (scores, _) = judge(Poses.empty(), [person([0, 0, 100, 100])])
    assert len(peaks) == len(scores) == 0
    (peaks, _), (scores, found) = judge(poses_at((50, 50)), [])
    assert len(peaks) == 0
    assert found.tolist() == [False]


def test_images_without_people_or_with_unlabelled_ones_are_left_out(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((100, 100, 3), np.uint8))
    images = [
        {"id": 1, "file_name": "a.png"},
        {"id": 2, "file_name": "a.png", "boxes_complete": False},
        {"id": 3, "file_name": "a.png", "boxes_complete": True},
        {"id": 4, "file_name": "a.png"},
    ]
    people = [{**person([0, 0, 100, 100]), "image_id": i, "id": i} for i in (1, 2, 3)]
    (tmp_path / "labels.json").write_text(json.dumps({"images": images, "annotations": people}))
    steps: list[tuple[int, int]] = []
    judged = judge_images(
        lambda frame: poses_at((50, 50)),
        tmp_path / "labels.json",
        tmp_path,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert judged.people.images.tolist() == [0, 1]
    assert judged.keypoints.images.tolist() == [0] * 17 + [1] * 17
    assert judged.keypoints.right.all()
    assert steps == [(1, 2), (2, 2)]


def test_labels_made_without_the_exif_turn(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(exif_jpeg(np.zeros((40, 80, 3), np.uint8), 6))
    record = {"id": 1, "file_name": "a.jpg", "width": 80, "height": 40}
    labels = {"images": [record], "annotations": [{**person([0, 0, 30, 30]), "image_id": 1}]}
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    shapes = []

    def look(frame: Any) -> Poses:
        shapes.append(frame.shape)
        return poses_at((15, 15))

    judge_images(look, tmp_path / "labels.json", tmp_path, ignore_exif=True)
    assert shapes == [(40, 80, 3)]
    with pytest.raises(DataError, match="EXIF"):
        judge_images(look, tmp_path / "labels.json", tmp_path)


def test_keypoints_of_another_skeleton_are_judged_by_its_sigmas() -> None:
    """At a distance d a keypoint's term is exp(-d^2 / (2 area (2 sigma)^2))."""
    own = Skeleton("pole", ("top", "foot"), sigmas=(0.05, 0.2))
    poses = Poses(
        keypoints=np.array([[[50.0, 20], [50, 92]]], np.float32),  # 12 pixels too low each
        keypoint_scores=np.array([[0.9, 0.8]], np.float32),
        boxes=np.array([[40.0, 0, 60, 100]], np.float32),
        scores=np.array([0.7], np.float32),
        skeleton=own,
    )
    label = {"keypoints": [50, 8, 2, 50, 80, 2], "bbox": [40, 0, 20, 100], "area": 2000.0}
    label |= {"num_keypoints": 2, "iscrowd": 0}
    # -144 / (4000 * 0.01) = -3.6 for the top, -144 / (4000 * 0.16) = -0.225 for the foot: OKS 0.41.
    (_, right), (_, people) = judge(poses, [label])
    assert right.tolist() == []
    assert people.tolist() == [False]
    near = poses.replace(keypoints=np.array([[[50.0, 8], [50, 92]]], np.float32))
    (scores, right), (_, people) = judge(near, [label])
    np.testing.assert_allclose(scores, [0.9, 0.8], rtol=1e-6)
    assert (right.tolist(), people.tolist()) == ([True, True], [True])
