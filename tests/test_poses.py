from __future__ import annotations

import builtins
import copy
import json
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pcr_rt.errors import InputError, MissingDependencyError
from pcr_rt.poses import Poses
from pcr_rt.skeleton import COCO17, Skeleton


def three(**fields: Any) -> Poses:
    """Person k has all joints at (10 k + 0.123, 20 k + 0.456), joint j with the score j / 100."""
    k = np.arange(3.0)
    keypoints = np.stack([10 * k + 0.123, 20 * k + 0.456], axis=1)
    return Poses(
        keypoints=np.repeat(keypoints[:, None], 17, axis=1),
        keypoint_scores=np.tile(np.arange(17) / 100, (3, 1)),
        boxes=np.stack([k, k + 1, k + 5, k + 9], axis=1),
        scores=np.array([0.9, 0.87654321, 0.5]),
        **fields,
    )


def test_arrays_are_float32_copies_that_cannot_be_changed() -> None:
    boxes = np.array([[1.0, 2.0, 3.0, 4.0]])
    poses = Poses(np.zeros((1, 17, 2)), np.zeros((1, 17)), boxes, [0.5], ids=[7])  # type: ignore
    boxes[:] = 0
    np.testing.assert_array_equal(poses.boxes, [[1, 2, 3, 4]])
    assert poses.ids is not None
    assert poses.ids.dtype == np.int64
    for array in (poses.keypoints, poses.keypoint_scores, poses.boxes, poses.scores):
        assert array.dtype == np.float32
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(AttributeError):
        poses.scores = np.zeros(1)  # type: ignore
    with pytest.raises((AttributeError, TypeError)):
        poses.note = "x"  # type: ignore
    assert not hasattr(poses, "__dict__")


def test_replace_checks_what_changes_and_shares_the_rest() -> None:
    poses = three(ids=[4, 5, 6], source=1)
    moved = np.ones((3, 17, 2), np.float64)
    changed = poses.replace(keypoints=moved, timestamp=0.5)
    moved[:] = 9
    np.testing.assert_array_equal(changed.keypoints, np.ones((3, 17, 2)))
    assert changed.keypoints.dtype == np.float32
    assert not changed.keypoints.flags.writeable
    assert changed.boxes is poses.boxes
    assert (changed.source, changed.timestamp, poses.timestamp) == (1, 0.5, None)
    assert changed.replace(ids=None).ids is None
    with pytest.raises(ValueError, match=r"ids has shape \(2,\), not \(3,\)"):
        poses.replace(ids=[1, 2])
    with pytest.raises(TypeError, match="'name'"):
        poses.replace(name="x")


def test_chosen_people_are_read_only_copies() -> None:
    poses = three(ids=[4, 5, 6])
    for chosen in (poses[1], poses[1:2], poses[[1]], poses[[False, True, False]]):
        np.testing.assert_array_equal(chosen.boxes, [[1, 2, 6, 10]])
        assert chosen.ids is not None
        assert chosen.ids.tolist() == [5]
        for array in (chosen.keypoints, chosen.keypoint_scores, chosen.boxes, chosen.ids):
            assert not array.flags.writeable
            assert not np.shares_memory(array, poses.boxes)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("keypoints", (3, 16, 2)),
        ("keypoints", (3, 17, 3)),
        ("keypoint_scores", (2, 17)),
        ("boxes", (3, 5)),
        ("boxes", (4,)),
        ("ids", (2,)),
    ],
)
def test_wrong_shapes_are_an_internal_fault(name: str, shape: tuple[int, ...]) -> None:
    fields: dict[str, Any] = {
        "keypoints": np.zeros((3, 17, 2)),
        "keypoint_scores": np.zeros((3, 17)),
        "boxes": np.zeros((3, 4)),
        "scores": np.zeros(3),
        name: np.zeros(shape),
    }
    with pytest.raises(ValueError, match=name) as caught:
        Poses(**fields)
    assert not isinstance(caught.value, InputError)


def test_empty_has_the_right_shapes() -> None:
    poses = Poses.empty((640, 480))
    assert len(poses) == 0
    assert poses.keypoints.shape == (0, 17, 2)
    assert poses.keypoint_scores.shape == (0, 17)
    assert poses.boxes.shape == (0, 4)
    assert poses.scores.shape == (0,)
    assert poses.image_size == (640, 480)
    assert poses.to_coco(1) == []
    assert poses.to_openpose() == {"version": 1.3, "people": []}
    assert len(Poses.from_dict(json.loads(poses.to_json()))) == 0


@pytest.mark.parametrize(
    ("index", "people"),
    [
        (1, [1]),
        (-1, [2]),
        (np.int64(0), [0]),
        (slice(1, None), [1, 2]),
        (slice(None, None, -1), [2, 1, 0]),
        (np.array([2, 0, 0]), [2, 0, 0]),
        ([2, 0], [2, 0]),
        ([], []),
        (np.array([True, False, True]), [0, 2]),
        ([False, False, False], []),
    ],
)
def test_indexing_keeps_poses(index: Any, people: list[int]) -> None:
    chosen = three(ids=[10, 11, 12], image_size=(64, 48), frame_index=5, timestamp=0.5)[index]
    np.testing.assert_array_equal(chosen.ids, [10 + k for k in people])
    np.testing.assert_array_equal(chosen.boxes[:, 0], people)
    assert chosen.keypoints.shape == (len(people), 17, 2)
    assert chosen.keypoint_scores.shape == (len(people), 17)
    assert (chosen.image_size, chosen.frame_index, chosen.timestamp) == ((64, 48), 5, 0.5)


@pytest.mark.parametrize("index", [3, np.array([True, False])])
def test_indexes_beyond_the_people_are_refused(index: Any) -> None:
    with pytest.raises(IndexError):
        three()[index]


def test_json_is_one_line_with_rounded_numbers() -> None:
    poses = three(
        ids=[4, 5, 6], image_size=(64, 48), source=1, frame_index=2, timestamp=1 / 3, age_ms=12.3456
    )
    line = poses.to_json()
    assert "\n" not in line
    table = json.loads(line)
    assert table == poses.to_dict()
    person = table["people"].pop(1)
    assert len(table.pop("people")) == 2
    assert table == {
        "format": "pcr-rt.poses/1",
        "scores": "raw",
        "skeleton": "coco17",
        "image_size": [64, 48],
        "source": 1,
        "frame_index": 2,
        "timestamp": 0.3333,
        "age_ms": 12.35,
    }
    assert person["keypoints"][3] == [10.12, 20.46, 0.03]
    assert len(person.pop("keypoints")) == 17
    assert person == {"id": 5, "score": 0.8765, "box": [1.0, 2.0, 6.0, 10.0]}


def test_numbers_are_rounded_each_to_its_own_unit() -> None:
    thirds = np.full((1, 17, 3), 1 / 3)
    poses = Poses(thirds[..., :2], thirds[..., 2], thirds[:, 0, [0, 1, 0, 1]], thirds[:, 0, 0])
    (person,) = poses.to_dict()["people"]
    assert person["keypoints"] == [[0.33, 0.33, 0.3333]] * 17
    assert person["box"] == [0.33] * 4
    assert person["score"] == 0.3333


def test_equal_people_are_two_poses() -> None:
    """Arrays have no one answer to ==, so that of Poses is about the object."""
    poses = three()
    assert poses != three()
    assert len({poses, three(), poses}) == 2


def test_single_images_have_no_stream_fields() -> None:
    assert set(three().to_dict()) == {"format", "scores", "skeleton", "image_size", "people"}
    assert "id" not in three().to_dict()["people"][0]


def test_json_never_holds_what_json_has_not() -> None:
    poses = Poses(np.full((1, 17, 2), np.nan), np.zeros((1, 17)), np.zeros((1, 4)), np.zeros(1))
    with pytest.raises(ValueError, match="JSON"):
        poses.to_json()


def test_from_dict_reads_what_was_written() -> None:
    poses = three(ids=[4, 5, 6], image_size=(64, 48), source=0, frame_index=2, timestamp=0.25)
    again = Poses.from_dict(json.loads(poses.to_json()))
    np.testing.assert_allclose(again.keypoints, poses.keypoints, atol=0.0051)
    np.testing.assert_allclose(again.keypoint_scores, poses.keypoint_scores, atol=0.000051)
    np.testing.assert_array_equal(again.boxes, poses.boxes)
    np.testing.assert_array_equal(again.ids, [4, 5, 6])
    assert again.to_json() == poses.to_json()
    assert Poses.from_dict(three().to_dict()).ids is None


def _without(key: str) -> dict[str, Any]:
    return {k: v for k, v in three().to_dict().items() if k != key}


def _with_people(**changed: Any) -> dict[str, Any]:
    table = three(ids=[1, 2, 3]).to_dict()
    table["people"][1] = {**table["people"][1], **changed}
    return table


def _with_one_id_missing() -> dict[str, Any]:
    table = three(ids=[1, 2, 3]).to_dict()
    del table["people"][0]["id"]
    return table


@pytest.mark.parametrize(
    "table",
    [
        {},
        {**three().to_dict(), "format": "pcr-rt.poses/2"},
        _without("people"),
        _without("image_size"),
        _with_people(keypoints=[[1, 2, 0.5]] * 16),
        _with_people(box=[1, 2, 3]),
        _with_people(score="high"),
        _with_people(keypoints=None),
        _with_one_id_missing(),
        {**three().to_dict(), "people": 3},
    ],
)
def test_from_dict_refuses_other_tables(table: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Poses.from_dict(table)


def test_coco_results_are_read_by_pycocotools() -> None:
    keypoints = np.random.default_rng(0).uniform(0, 100, (1, 17, 2))
    poses = Poses(keypoints, np.full((1, 17), 0.75), np.array([[10, 20, 90, 80]]), np.array([0.5]))
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": 42, "width": 100, "height": 100}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 42,
                "category_id": 1,
                "iscrowd": 0,
                "num_keypoints": 17,
                "area": 4000.0,
                "bbox": [10.0, 20.0, 80.0, 60.0],
                "keypoints": np.dstack([keypoints, np.full((1, 17), 2)]).ravel().tolist(),
            }
        ],
    }
    truth.createIndex()
    results = poses.to_coco(42)
    assert results[0]["keypoints"][2::3] == [0.75] * 17
    evaluation = COCOeval(truth, truth.loadRes(results), "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)


def test_openpose_people_are_17_triples() -> None:
    people = three(ids=[4, 5, 6]).to_openpose()["people"]
    assert [person["person_id"] for person in people] == [[4], [5], [6]]
    assert [person["person_id"] for person in three().to_openpose()["people"]] == [[-1]] * 3
    triples = np.reshape(people[2]["pose_keypoints_2d"], (17, 3))
    np.testing.assert_allclose(triples[16], [20.123, 40.456, 0.16], rtol=1e-6)
    json.dumps(people)


def test_supervision_takes_them() -> None:
    supervision = pytest.importorskip("supervision")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as for a field of an older release
        points = three(ids=[4, 5, 6]).to_supervision()
    assert len(three()[1].to_supervision()) == 1
    assert isinstance(points, supervision.KeyPoints)
    np.testing.assert_array_equal(points.xy, three().keypoints)
    confidence = getattr(points, "keypoint_confidence", None)
    if confidence is None:
        confidence = points.confidence
    np.testing.assert_array_equal(confidence, three().keypoint_scores)
    if hasattr(points, "detection_confidence"):
        np.testing.assert_array_equal(points.detection_confidence, three().scores)
    np.testing.assert_array_equal(points.data["tracker_id"], [4, 5, 6])
    assert "tracker_id" not in three().to_supervision().data
    assert len(points[np.array([True, False, True])]) == 2
    frame = np.zeros((100, 100, 3), np.uint8)
    assert supervision.VertexAnnotator().annotate(frame.copy(), points).any()
    points.xy[:] = 0  # their arrays are their own
    empty = Poses.empty().to_supervision()
    assert isinstance(empty, supervision.KeyPoints)
    assert len(empty) == 0


def test_supervision_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "supervision":
            raise ModuleNotFoundError("No module named 'supervision'")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingDependencyError, match="pip install supervision"):
        three().to_supervision()


def test_poses_pass_between_processes() -> None:
    poses = three(ids=[1, 2, 3], source=2)
    for again in (pickle.loads(pickle.dumps(poses)), copy.deepcopy(poses)):
        np.testing.assert_array_equal(again.keypoints, poses.keypoints)
        np.testing.assert_array_equal(again.ids, poses.ids)
        assert again.source == 2


def test_json_tells_the_kind_of_scores() -> None:
    table = three(score_kind="probability").to_dict()
    assert table["scores"] == "probability"
    assert Poses.from_dict(table).score_kind == "probability"
    assert Poses.empty((4, 3), "probability").to_dict()["scores"] == "probability"
    del table["scores"]  # as files from before have it
    assert Poses.from_dict(table).score_kind == "raw"
    with pytest.raises(InputError, match="odds"):
        Poses.from_dict({**table, "scores": "odds"})


def hands(count: int = 2) -> Poses:
    hand = Skeleton.load("hand21")
    return Poses(
        keypoints=np.arange(count * 42, dtype=np.float32).reshape(count, 21, 2),
        keypoint_scores=np.full((count, 21), 0.5),
        boxes=np.tile([0, 0, 50, 50], (count, 1)),
        scores=np.full(count, 0.9),
        skeleton=hand,
    )


def test_poses_follow_their_skeleton() -> None:
    poses = hands()
    assert poses[:1].skeleton is poses.replace(timestamp=1.0).skeleton is poses.skeleton
    again = Poses.from_dict(json.loads(poses.to_json()))
    assert again.skeleton == poses.skeleton
    np.testing.assert_array_equal(again.keypoints, poses.keypoints)
    nobody = Poses.empty(skeleton=poses.skeleton)
    assert nobody.keypoints.shape == (0, 21, 2)
    assert nobody.to_dict()["skeleton"] == "hand21"
    assert len(Poses.from_dict(nobody.replace(image_size=(4, 3)).to_dict())) == 0
    assert len(poses.to_coco(1)[0]["keypoints"]) == 63


def test_keypoints_that_are_not_the_skeletons() -> None:
    with pytest.raises(ValueError, match=r"keypoints has shape \(2, 21, 2\), not \(2, 17, 2\)"):
        hands().replace(skeleton=COCO17)
    table = {**hands().to_dict(), "skeleton": "coco17"}
    with pytest.raises(InputError, match="no PCR-RT poses JSON"):
        Poses.from_dict(table)


def test_a_skeleton_of_ones_own_is_given_back_by_the_reader() -> None:
    own = Skeleton("mine", tuple(f"p{i}" for i in range(21)))
    table = hands().replace(skeleton=own).to_dict()
    assert Poses.from_dict(table, own).skeleton is own
    with pytest.raises(InputError, match="no skeleton 'mine'"):
        Poses.from_dict(table)
    with pytest.raises(InputError, match="of 'mine', not of 'coco17'"):
        Poses.from_dict(table, COCO17)


def test_openpose_needs_cocos_keypoints() -> None:
    halpe = Skeleton.load("halpe26")
    points = np.arange(52, dtype=np.float32).reshape(1, 26, 2)
    poses = Poses(points, np.ones((1, 26)), [[0, 0, 1, 1]], [1.0], skeleton=halpe)  # type: ignore[arg-type]
    written = poses.to_openpose()["people"][0]["pose_keypoints_2d"]
    np.testing.assert_array_equal(np.reshape(written, (17, 3))[:, :2], points[0, :17])
    with pytest.raises(InputError, match="'hand21' lacks 'nose'"):
        hands().to_openpose()
