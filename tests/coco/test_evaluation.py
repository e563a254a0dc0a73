from __future__ import annotations

import contextlib
import copy
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pcr_rt.coco.evaluation import KeypointAP, bootstrap_difference, keypoint_ap
from pcr_rt.errors import DataError, MissingDependencyError
from pcr_rt.skeleton import COCO17, Skeleton

FIGURES = ["ap", "ap50", "ap75", "ap_medium", "ap_large"]
FIGURES += ["ar", "ar50", "ar75", "ar_medium", "ar_large"]


def official(annotations: dict[str, Any], results: list[dict[str, Any]]) -> list[float]:
    """What pycocotools says, used as its own documentation does."""
    truth = COCO()
    truth.dataset = copy.deepcopy(annotations)
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), "keypoints")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return [float(value) for value in run.stats]


def figures(result: KeypointAP) -> list[float]:
    return [getattr(result, name) for name in FIGURES]


def person(number: int, image_id: int, keypoints: Any, **fields: Any) -> dict[str, Any]:
    points = np.asarray(keypoints, dtype=float).reshape(17, 3)
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "bbox": [*low.tolist(), *(high - low).tolist()],
        "area": float((high - low).prod() / 2),
        "iscrowd": 0,
        "keypoints": points.ravel().tolist(),
        "num_keypoints": int((points[:, 2] > 0).sum()),
        **fields,
    }


def result(image_id: int, keypoints: Any, score: float, **fields: Any) -> dict[str, Any]:
    values = np.asarray(keypoints, dtype=float).ravel().tolist()
    return {"image_id": image_id, "category_id": 1, "keypoints": values, "score": score, **fields}


def coco(people: list[dict[str, Any]], image_ids: Any) -> dict[str, Any]:
    return {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in image_ids],
        "annotations": people,
        "categories": [{"id": 1, "name": "person"}],
    }


def scene(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """People of all kinds and results near and far, with many equal scores."""
    rng = np.random.default_rng(seed)
    ids = [int(i) for i in rng.permutation(200)[:12]]
    people: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image_id in ids:
        for _ in range(rng.integers(0, 5)):
            size = rng.uniform(20, 300)
            points = np.column_stack([rng.uniform(0, size, (17, 2)) + 50, rng.integers(0, 3, 17)])
            kind = rng.choice(["plain", "crowd", "unlabelled"], p=[0.7, 0.1, 0.2])
            if kind == "unlabelled":
                points[:, 2] = 0
            people.append(person(len(people) + 1, image_id, points, iscrowd=int(kind == "crowd")))
            for _ in range(rng.integers(0, 3)):
                near = points + np.append(rng.normal(0, 0.04 * size, 2), 0)
                results.append(result(image_id, near, round(rng.uniform(), 1)))
        for _ in range(rng.choice([0, 1, 25], p=[0.5, 0.4, 0.1])):
            score = round(rng.uniform(0, 0.5), 1)
            results.append(result(image_id, rng.uniform(0, 300, (17, 3)), score))
    return coco(people, ids), results


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("fields", [{}, {"bbox": [0, 0, 60, 60]}], ids=["plain", "boxes"])
def test_ap_is_that_of_pycocotools(seed: int, fields: dict[str, Any]) -> None:
    annotations, results = scene(seed)
    results = [one | fields for one in results]
    found = keypoint_ap(annotations, results)
    assert figures(found) == pytest.approx(official(annotations, results), abs=1e-12)
    assert found.results == len(results)
    assert found.people == sum(
        p["num_keypoints"] > 0 and not p["iscrowd"] for p in annotations["annotations"]
    )


@pytest.mark.parametrize("name", ["coco17", "halpe26", "coco_wholebody133", "cup"])
@pytest.mark.parametrize("seed", range(3))
def test_ap_of_any_skeleton_is_that_of_pycocotools(seed: int, name: str) -> None:
    from pycocotools.cocoeval import COCOeval

    own = Skeleton("cup", tuple("abcde"), sigmas=(0.02, 0.05, 0.1, 0.03, 0.2), category="cup")
    skeleton = own if name == "cup" else Skeleton.load(name)
    count, rng = len(skeleton), np.random.default_rng(seed)
    labels, results = [], []
    for image in range(1, 9):
        for _ in range(3):
            points = np.column_stack([rng.uniform(0, 300, (count, 2)), rng.integers(0, 3, count)])
            number = len(labels) + 1
            labels.append(
                {
                    "id": number,
                    "image_id": image,
                    "category_id": 1,
                    "bbox": [0, 0, 300, 300],
                    "area": 40000.0,
                    "iscrowd": 0,
                    "num_keypoints": int((points[:, 2] > 0).sum()),
                    "keypoints": points.ravel().tolist(),
                }
            )
            points[:, :2] += rng.normal(0, rng.choice([2, 10, 30]), (count, 2))
            results.append(
                {
                    "image_id": image,
                    "category_id": 1,
                    "keypoints": points.ravel().tolist(),
                    "score": float(rng.random()),
                }
            )
    category = {"id": 1, "name": skeleton.category, "keypoints": list(skeleton.keypoints)}
    data = {
        "images": [{"id": i} for i in range(1, 9)],
        "annotations": labels,
        "categories": [category],
    }
    found = keypoint_ap(data, results, skeleton=skeleton)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(data)
        truth.createIndex()
        theirs = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), "keypoints")
        theirs.params.kpt_oks_sigmas = np.array(skeleton.sigmas)
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    assert figures(found) == pytest.approx(list(theirs.stats), abs=1e-6)
    assert 0.05 < found.ap < 0.95


def test_labels_and_results_of_another_skeleton_are_named() -> None:
    hand = Skeleton.load("hand21")
    data = coco([person(1, 4, POSE)], [4])
    data["categories"] = [{"id": 1, "name": "person", "keypoints": list(COCO17.keypoints)}]
    with pytest.raises(DataError, match=r"name the 17 keypoints nose, .* the 21 of hand21 in its"):
        keypoint_ap(data, [], skeleton=hand)
    with pytest.raises(DataError, match="63 numbers as 'keypoints': coco17 has 51"):
        keypoint_ap(coco([person(1, 4, POSE)], [4]), [result(4, np.zeros((21, 3)), 1.0)])


def test_some_images_only() -> None:
    annotations, results = scene(1)
    chosen = [image["id"] for image in annotations["images"]][:7]
    part = {
        **annotations,
        "images": [i for i in annotations["images"] if i["id"] in chosen],
        "annotations": [a for a in annotations["annotations"] if a["image_id"] in chosen],
    }
    kept = [r for r in results if r["image_id"] in chosen]
    found = keypoint_ap(annotations, results, chosen)
    assert figures(found) == pytest.approx(official(part, kept), abs=1e-12)
    assert found.results == len(kept)


POSE = np.column_stack([np.linspace(10, 90, 17), np.linspace(20, 180, 17), np.full(17, 2.0)])
NOSE = np.array([[50.0, 60.0, 2.0]] + [[0.0, 0.0, 0.0]] * 16)


def test_an_exact_pose_has_ap_1() -> None:
    found = keypoint_ap(coco([person(1, 4, POSE, area=5000)], [4]), [result(4, POSE, 0.3)])
    assert figures(found) == pytest.approx([1, 1, 1, 1, -1, 1, 1, 1, 1, -1])
    names = [*FIGURES, "people", "results"]
    assert found.to_dict() == dict(zip(names, [*figures(found), 1, 1], strict=True))


def test_a_known_distance_passes_a_known_share_of_the_thresholds() -> None:
    # OKS of a nose 4.215 px off on an area of 10000: exp(-4.215^2 / (2 * 10000 * 0.052^2)) = 0.72,
    # which is above 0.50, 0.55, 0.60, 0.65, 0.70 and below the other five thresholds.
    annotations = coco([person(1, 4, NOSE, area=10000)], [4])
    found = keypoint_ap(annotations, [result(4, NOSE + np.array([4.215, 0, 0]), 1.0)])
    assert figures(found) == pytest.approx([0.5, 1, 0, -1, 0.5, 0.5, 1, 0, -1, 0.5])


def test_a_missing_area_is_a_share_of_the_box() -> None:
    # 0.53 of 100 x 100: OKS exp(-3.07^2 / (2 * 5300 * 0.052^2)) = 0.72; the whole box gives 0.84.
    labelled = person(1, 4, NOSE, bbox=[0, 0, 100, 100])
    del labelled["area"]
    found = keypoint_ap(coco([labelled], [4]), [result(4, NOSE + np.array([3.07, 0, 0]), 1.0)])
    assert found.ap == pytest.approx(0.5)
    assert (found.ap_medium, found.ap_large) == pytest.approx((0.5, -1))


def test_fields_that_can_be_derived_may_be_missing() -> None:
    annotations, results = scene(2)
    for labelled in annotations["annotations"]:
        labelled["iscrowd"] = 0
    expected = official(annotations, results)
    del annotations["categories"]
    for labelled in annotations["annotations"]:
        del labelled["iscrowd"], labelled["num_keypoints"], labelled["category_id"]
    for one in results:
        del one["category_id"]
    assert figures(keypoint_ap(annotations, results)) == pytest.approx(expected, abs=1e-12)


def test_ids_that_confuse_pycocotools_do_not_matter() -> None:
    # It takes the id 0 for "not matched" and keeps one of two annotations that share an id.
    people = [person(0, 4, POSE), person(0, 5, POSE), person(3, 6, POSE)]
    annotations = coco(people, [4, 5, 6])
    results = [result(i, POSE, 0.9) for i in (4, 5, 6)]
    assert official(annotations, results)[0] < 0.9
    assert keypoint_ap(annotations, results).ap == pytest.approx(1)
    # A result is a person, whatever number the file gives to that category.
    data = coco([one | {"category_id": 7} for one in people], [4, 5, 6])
    data["categories"] = [{"id": 7, "name": "person"}, {"id": 1, "name": "dog"}]
    assert keypoint_ap(data, results).ap == pytest.approx(1)


def test_no_results() -> None:
    found = keypoint_ap(coco([person(1, 4, POSE, area=5000)], [4, 5]), [])
    assert figures(found) == [0, 0, 0, 0, -1, 0, 0, 0, 0, -1]
    assert (found.people, found.results) == (1, 0)


def test_nobody_labelled() -> None:
    nobody = [person(1, 4, POSE * [1, 1, 0]), person(2, 4, POSE, iscrowd=1)]
    for people in (nobody, []):
        words = f"1 evaluated images hold {len(people)} annotations of people and none"
        with pytest.raises(DataError, match=words):
            keypoint_ap(coco(people, [4]), [result(4, POSE, 0.5)])
    with pytest.raises(DataError, match="0 evaluated images"):
        keypoint_ap(coco([person(1, 4, POSE)], [4]), [], [])


def test_it_is_quiet_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    annotations, results = scene(4)
    before = copy.deepcopy((annotations, results))
    keypoint_ap(annotations, results)
    bootstrap_difference(annotations, results, results[::2], samples=2)
    assert (annotations, results) == before
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (result(9, POSE, 0.5), "Result 1 .* image 9"),
        (result(4, POSE[:5], 0.5), "Result 1 .* has 15 numbers .* coco17 has 51"),
        (result(4, POSE * np.nan, 0.5), "Result 1 .* 'keypoints' must be finite"),
        (result(4, POSE, float("nan")), "Result 1 .* 'score' must be finite"),
        ({"image_id": 4, "keypoints": POSE.ravel().tolist()}, "'score' is missing"),
        ("keypoints", "Result 1 .* not a COCO result"),
    ],
)
def test_wrong_results_are_named(wrong: Any, message: str) -> None:
    annotations = coco([person(1, 4, POSE)], [4])
    with pytest.raises(DataError, match=message):
        keypoint_ap(annotations, [result(4, POSE, 1.0), wrong])


def test_wrong_annotations_are_refused() -> None:
    with pytest.raises(DataError, match="the lists 'images' and 'annotations'"):
        keypoint_ap({"images": []}, [])
    with pytest.raises(DataError, match="no image with id 8"):
        keypoint_ap(coco([person(1, 4, POSE)], [4]), [], [8])


def test_pycocotools_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools.cocoeval", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "\.\[eval\]"'):
        keypoint_ap(coco([person(1, 4, POSE)], [4]), [])


@pytest.mark.shared
def test_coco_val_with_noise_equals_pycocotools(shared: Path) -> None:
    annotations = json.loads((shared / "data" / "coco_val.json").read_text())
    rng = np.random.default_rng(0)

    def noisy(noise: float) -> list[dict[str, Any]]:
        results = []
        for labelled in annotations["annotations"]:
            points = np.array(labelled["keypoints"], dtype=float).reshape(17, 3)
            points[:, :2] += rng.normal(0, noise * labelled["area"] ** 0.5, (17, 2))
            results.append(result(labelled["image_id"], points, float(rng.uniform())))
        return results

    good, bad = noisy(0.05), noisy(0.08)
    expected = [official(annotations, results) for results in (good, bad)]
    for results, stats in zip((good, bad), expected, strict=True):
        found = keypoint_ap(annotations, results)
        assert figures(found) == pytest.approx(stats, abs=1e-12)
        assert 0.05 < found.ap < 0.95
        assert found.people == 408
    difference, low, high = bootstrap_difference(annotations, good, bad, samples=20)
    assert difference == pytest.approx(expected[0][0] - expected[1][0], abs=1e-9)
    assert low < difference < high
