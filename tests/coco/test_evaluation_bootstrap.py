"""The expected AP is that of ``keypoint_ap``, which lets pycocotools do the counting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pcr_rt.coco.evaluation import bootstrap_difference, keypoint_ap
from pcr_rt.errors import DataError, InputError
from pcr_rt.skeleton import Skeleton

POSE = np.column_stack([np.linspace(10, 90, 17), np.linspace(20, 180, 17), np.full(17, 2.0)])


def person(image_id: int, keypoints: Any, **fields: Any) -> dict[str, Any]:
    values = np.ravel(keypoints).tolist()
    box = [10, 20, 80, 160]
    return {"image_id": image_id, "bbox": box, "area": 6400, "keypoints": values, **fields}


def result(image_id: int, keypoints: Any, score: float) -> dict[str, Any]:
    return {"image_id": image_id, "keypoints": np.ravel(keypoints).tolist(), "score": score}


def coco(people: list[dict[str, Any]], image_ids: Any) -> dict[str, Any]:
    return {"images": [{"id": i} for i in image_ids], "annotations": people}


def scene(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Twelve images with up to three people, crowds among them, and results of equal scores."""
    rng = np.random.default_rng(seed)
    ids = [int(i) for i in rng.permutation(200)[:12]]
    people, results = [], []
    for image_id in ids:
        for place in range(rng.integers(0, 4)):
            pose = POSE + np.array([200 * place, 0, 0])
            people.append(person(image_id, pose, iscrowd=int(rng.uniform() < 0.2)))
            for _ in range(rng.integers(0, 3)):
                near = pose + np.append(rng.normal(0, 5, 2), 0)
                results.append(result(image_id, near, round(rng.uniform(), 1)))
        far = rng.uniform(0, 300, (17, 3))
        results.append(result(image_id, far, round(rng.uniform(0, 0.5), 1)))
    return coco(people, ids), results


@pytest.mark.parametrize("seed", range(5))
def test_the_difference_is_that_of_keypoint_ap(seed: int) -> None:
    annotations, results = scene(seed)
    worse = [r | {"score": round(1 - r["score"], 1)} for r in results[::2]]
    difference, _, _ = bootstrap_difference(annotations, results, worse, samples=1)
    expected = keypoint_ap(annotations, results).ap - keypoint_ap(annotations, worse).ap
    assert expected != 0
    assert difference == pytest.approx(expected, abs=1e-9)


def redrawn(records: list[dict[str, Any]], image_ids: list[int]) -> list[dict[str, Any]]:
    """The records of these images, which may repeat, as images 0, 1, 2, ..."""
    return [
        record | {"image_id": place}
        for place, image_id in enumerate(image_ids)
        for record in records
        if record["image_id"] == image_id
    ]


@pytest.mark.parametrize("seed", range(6))
def test_one_draw_is_keypoint_ap_on_the_drawn_images(seed: int) -> None:
    annotations, results = scene(seed)
    worse = results[::2]
    ids = sorted(image["id"] for image in annotations["images"])
    drawn = [ids[i] for i in np.random.default_rng(seed).integers(len(ids), size=len(ids))]
    assert len(set(drawn)) < len(drawn)
    data = coco(redrawn(annotations["annotations"], drawn), range(len(ids)))
    expected = (
        keypoint_ap(data, redrawn(results, drawn)).ap - keypoint_ap(data, redrawn(worse, drawn)).ap
    )
    _, low, high = bootstrap_difference(annotations, results, worse, samples=1, seed=seed)
    assert low == high == pytest.approx(expected, abs=1e-9)


def test_the_interval_of_two_images() -> None:
    # A finds both people, B one of two: recall 0.5 is reached, 51 of 101 recall points. Half of
    # the draws take both images; a quarter takes twice the first (no difference), a quarter twice
    # the second (A 1, B 0).
    annotations = coco([person(1, POSE), person(2, POSE)], [1, 2])
    a = [result(1, POSE, 0.9), result(2, POSE, 0.8)]
    found = bootstrap_difference(annotations, a, a[:1], samples=200)
    assert found == pytest.approx((50 / 101, 0, 1))
    opposite = bootstrap_difference(annotations, a[:1], a, samples=200)
    assert opposite == pytest.approx((-50 / 101, -1, 0))
    only = bootstrap_difference(annotations, a, a[:1], samples=20, image_ids=[2])
    assert only == pytest.approx((1, 1, 1))


def test_results_that_are_equal_do_not_differ() -> None:
    annotations, results = scene(0)
    assert bootstrap_difference(annotations, results, list(results), samples=20) == (0, 0, 0)


def test_draws_without_people_do_not_count() -> None:
    annotations = coco([person(1, POSE)], [1, 2, 3, 4])
    found = bootstrap_difference(annotations, [result(1, POSE, 0.9)], [], samples=50)
    assert found == pytest.approx((1, 1, 1))


def test_a_bootstrap_needs_people_and_samples() -> None:
    with pytest.raises(DataError, match="nothing to evaluate"):
        bootstrap_difference(coco([], [1]), [], [])
    with pytest.raises(InputError, match="at least 1 sample"):
        bootstrap_difference(coco([person(1, POSE)], [1]), [], [], samples=0)


def test_any_skeleton() -> None:
    """As the two images above, with three keypoints; 51 numbers do not fit them."""
    cup = Skeleton("cup", ("rim", "foot", "handle"), sigmas=(0.05, 0.05, 0.1))
    pose = np.array([[10, 10, 2], [10, 80, 2], [60, 40, 2]], float)
    annotations = coco([person(1, pose), person(2, pose)], [1, 2])
    a = [result(1, pose, 0.9), result(2, pose, 0.8)]
    found = bootstrap_difference(annotations, a, a[:1], samples=200, skeleton=cup)
    assert found == pytest.approx((50 / 101, 0, 1))
    with pytest.raises(DataError, match="finite numbers"):
        bootstrap_difference(annotations, a, a[:1], samples=1)
