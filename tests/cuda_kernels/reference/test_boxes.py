from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from pcr_rt.cuda_kernels.reference import box_nms, boxes, decode_boxes
from pcr_rt.errors import ModelError
from pcr_rt.layouts import LAYOUTS

SIZES = np.array([(100, 80)])
ONE = np.array([1.0])


def rtmdet_maps(*people, batch=1, dtype=np.float32):
    """Maps for a 32x32 input: strides 8, 16, 32; people are (map, row, column, values, image)."""
    maps = [np.zeros((batch, side, side, 5), dtype) for side in (4, 2, 1)]
    for one in maps:
        one[..., 0] = -100
    for level, row, column, values, image in people:
        maps[level][image, row, column] = values
    return maps


def decode(outputs, layout="rtmdet", scales=ONE, sizes=SIZES, threshold=0.25, **options):
    return decode_boxes(
        outputs,
        layout,
        scales,
        sizes,
        input_size=(32, 32),
        score_threshold=threshold,
        **options,
    )


def dets(*rows):
    return [np.array([rows], np.float32)]


def test_rtmdet_boxes_are_distances_from_grid_points():
    maps = rtmdet_maps(
        (0, 1, 2, (0.0, 1, 2, 3, 4), 0),  # the point (16, 8), score 1/2
        (1, 0, 1, (np.log(3), -1, 5, 9, 6), 0),  # the point (16, 0), score 3/4
        (2, 0, 0, (np.log(4), 0, 0, 40, 30), 0),  # the point (0, 0), score 4/5
    )
    ((boxes, scores),) = decode(maps)
    np.testing.assert_allclose(boxes, [(0, 0, 40, 30), (17, 0, 25, 6), (15, 6, 19, 12)])
    np.testing.assert_allclose(scores, [0.8, 0.75, 0.5], rtol=1e-6)
    assert boxes.dtype == scores.dtype == np.float32


def test_each_frame_has_its_scale_and_its_borders():
    person = (0.0, 4, 4, 12, 12)
    maps = rtmdet_maps((0, 1, 1, person, 0), (0, 1, 1, person, 1), batch=3)
    sizes = np.array([(64, 64), (35, 128), (64, 64)])
    first, second, third = decode(maps, scales=np.array([0.5, 0.25, 1.0]), sizes=sizes)
    np.testing.assert_allclose(first[0], [(8, 8, 40, 40)])
    np.testing.assert_allclose(second[0], [(16, 16, 35, 80)])
    assert third[0].shape == (0, 4)
    assert third[1].shape == (0,)


def test_half_precision_and_extreme_logits():
    maps = rtmdet_maps((0, 0, 0, (6e4, 0, 0, 9, 9), 0), dtype=np.float16)
    maps[0][0, 1, 1, 0] = -6e4
    with np.errstate(all="raise"):
        ((boxes, scores),) = decode(maps)
    np.testing.assert_allclose(boxes, [(0, 0, 9, 9)])
    np.testing.assert_allclose(scores, [1])


def test_yolox_grid_is_decoded():
    output = np.zeros((1, 21, 85), np.float32)  # 4 * 4 + 2 * 2 + 1 cells
    output[0, 6, :6] = (0.5, -0.25, np.log(2), np.log(1.5), 0.8, 0.9)  # stride 8, cell (2, 1)
    output[0, 18, :6] = (0.0, 0.5, 0.0, 0.0, 0.6, 0.5)  # stride 16, cell (0, 1)
    output[0, 19, 4:7] = (0.9, 0.1, 0.9)  # class 1 is no person
    ((boxes, scores),) = decode([output], "yolox")
    # centre (20, 6), size (16, 12); centre (0, 24), size (16, 16)
    np.testing.assert_allclose(boxes, [(12, 0, 28, 12), (0, 16, 8, 32)], atol=1e-5)
    np.testing.assert_allclose(scores, [0.72, 0.3], rtol=1e-6)


def test_yolox_sizes_beyond_floating_point_cover_the_frame():
    output = np.zeros((1, 21, 85), np.float16)
    output[0, 6, :6] = (0, 0, 6e4, 100, 1, 1)
    with np.errstate(all="raise"):
        ((boxes, _),) = decode([output], "yolox")
    np.testing.assert_array_equal(boxes, [(0, 0, 100, 80)])


def test_yolox_of_another_size_is_refused():
    with pytest.raises(ModelError, match="25 boxes where YOLOX gives 21 at 32x32"):
        decode([np.zeros((1, 25, 85), np.float32)], "yolox")


@pytest.mark.parametrize(("labels", "kept"), [(None, [0.9, 0.8]), ([[3, 0, 0]], [0.8])])
def test_dets_are_people_where_labels_say_so(labels, kept):
    outputs = dets((1, 2, 3, 4, 0.9), (5, 6, 7, 8, 0.8), (0, 0, 0, 0, 0.0))
    if labels is not None:
        outputs.append(np.array(labels))
    ((boxes, scores),) = decode(outputs, "dets")
    np.testing.assert_allclose(scores, kept, rtol=1e-6)
    np.testing.assert_allclose(boxes[-1], (5, 6, 7, 8))


def test_order_threshold_and_limit():
    rows = [(i, 0, i + 5, 5, score) for i, score in enumerate((0.5, 0.75, 0.25, 0.75, 0.125))]
    ((boxes, scores),) = decode(dets(*rows), "dets")
    np.testing.assert_array_equal(scores, [0.75, 0.75, 0.5, 0.25])
    np.testing.assert_array_equal(boxes[:, 0], [1, 3, 0, 2])
    ((boxes, _),) = decode(dets(*rows), "dets", max_candidates=2)
    np.testing.assert_array_equal(boxes[:, 0], [1, 3])


def test_equal_scores_keep_the_order_of_the_network():
    rows = [(i, 0, i + 5, 5, 0.5 + 0.25 * (i % 2)) for i in range(90)]
    ((boxes, _),) = decode(dets(*rows), "dets")
    np.testing.assert_array_equal(boxes[:, 0], [*range(1, 90, 2), *range(0, 90, 2)])


@pytest.mark.parametrize(
    "row",
    [
        (np.nan, 0, 5, 5, 0.9),
        (0, 0, 5, 5, np.nan),
        (0, 0, 5, 5, np.inf),
        (5, 0, 5, 5, 0.9),
        (9, 0, 5, 5, 0.9),
        (101, 0, 120, 5, 0.9),
        (0, -9, 5, -3, 0.9),
    ],
)
def test_unusable_boxes_are_left_out_before_the_limit(row):
    good = (1, 1, 9, 9, 0.5)
    ((boxes, scores),) = decode(dets(row, good), "dets", max_candidates=1)
    np.testing.assert_array_equal(boxes, [good[:4]])
    np.testing.assert_array_equal(scores, [0.5])


def test_unbounded_boxes_are_cut_at_the_frame():
    ((boxes, _),) = decode(dets((-np.inf, -5, 1e30, np.inf, 0.5)), "dets")
    np.testing.assert_array_equal(boxes, [(0, 0, 100, 80)])


# IoU of the squares: 0-1 1/3, 0-2 0, 1-2 1/7; the last is half of the first.
SQUARES = np.array([(0, 0, 4, 4), (2, 0, 6, 4), (5, 0, 9, 4), (0, 0, 4, 2)], np.float32)


@pytest.mark.parametrize(
    ("scores", "threshold", "max_boxes", "expected"),
    [
        ((0.9, 0.8, 0.7, 0.6), 0.6, 9, [0, 1, 2, 3]),
        ((0.9, 0.8, 0.7, 0.6), 0.3, 9, [0, 2]),
        ((0.6, 0.9, 0.7, 0.8), 0.3, 9, [1, 3, 2]),
        ((0.6, 0.7, 0.8, 0.9), 0.1, 9, [3, 2]),
        ((0.9, 0.8, 0.7, 0.6), 0.5, 9, [0, 1, 2, 3]),  # an IoU of just 0.5 is not above it
        ((0.9, 0.8, 0.7, 0.6), 0.49, 9, [0, 1, 2]),
        ((0.5, 0.5, 0.5, 0.5), 0.49, 9, [0, 1, 2]),
        ((0.5, 0.7, 0.5, 0.7), 0.6, 9, [1, 3, 0, 2]),
        ((0.9, 0.8, 0.7, 0.6), 0.6, 2, [0, 1]),
        ((0.9, 0.8, 0.7, 0.6), 0.6, 0, []),
    ],
)
def test_nms_by_hand(scores, threshold, max_boxes, expected):
    keep = box_nms(SQUARES, np.array(scores, np.float32), threshold, max_boxes)
    assert keep.dtype == np.intp
    assert keep.tolist() == expected


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.7])
def test_nms_agrees_with_opencv(threshold):
    rng = np.random.default_rng(0)
    corner, size = rng.uniform(0, 60, (300, 2)), rng.uniform(10, 40, (300, 2))
    scores = rng.choice(np.linspace(0.1, 0.9, 50), 300).astype(np.float32)
    boxes = np.concatenate([corner, corner + size], axis=1)
    rectangles = np.concatenate([corner, size], axis=1).tolist()
    expected = cv2.dnn.NMSBoxes(rectangles, scores.tolist(), 0.0, threshold)
    keep = box_nms(boxes, scores, threshold, 300)
    assert 5 < len(keep) < 300
    np.testing.assert_array_equal(keep, np.asarray(expected).ravel())


def test_nms_of_no_boxes():
    keep = box_nms(np.empty((0, 4)), np.empty(0), 0.5, 10)
    assert keep.shape == (0,)
    assert keep.dtype == np.intp


def test_every_layout_has_a_decoder_and_a_number_in_the_kernel() -> None:
    source = (Path(boxes.__file__).parent.parent / "decode_boxes.cu").read_text()
    members = re.search(r"enum BoxLayout \{ ([A-Z, ]+) \}", source)
    assert members is not None
    assert list(LAYOUTS) == list(boxes._DECODERS)
    on_device = [name for name, layout in LAYOUTS.items() if layout.on_device]
    assert on_device == members[1].lower().split(", ") == list(LAYOUTS)[: len(on_device)]


def decoded(outputs: list[np.ndarray], layout: str, **options: int) -> tuple[list, list]:
    ((found, scores),) = decode_boxes(
        outputs,
        layout,
        np.ones(1),
        np.array([(640, 640)]),
        input_size=(640, 640),
        score_threshold=0.3,
        **options,
    )
    return found.tolist(), scores.tolist()


def test_yolov8_and_its_transpose() -> None:
    # A person at (200, 100) to (400, 500), a chair (class 56) at (10, 20) to (30, 60).
    rows = np.zeros((1, 84, 8400), np.float32)
    rows[0, :5, 100] = [300, 300, 200, 400, 0.75]
    rows[0, [0, 1, 2, 3, 60], 200] = [20, 40, 20, 40, 0.5]
    for output in (rows, rows.swapaxes(1, 2)):
        assert decoded([output], "yolov8") == ([[200, 100, 400, 500]], [0.75])
        assert decoded([output], "yolov8", class_index=56) == ([[10, 20, 30, 60]], [0.5])
        with pytest.raises(ModelError, match="80 classes, counted from 0: there is no class 80"):
            decoded([output], "yolov8", class_index=80)


def test_pixels_among_the_scores_are_keypoints() -> None:
    rows = np.zeros((1, 5 + 3 * 21, 8400), np.float32)  # YOLO-pose of 21 keypoints
    rows[0, :8, 100] = [300, 300, 200, 400, 0.75, 310, 290, 0.9]
    for output in (rows, rows.swapaxes(1, 2)):
        with pytest.raises(ModelError, match="one-stage pose models"):
            decoded([output], "yolov8")
    rows[0, 5:8, 100] = [-12, 0, 0.9]  # left of the image
    with pytest.raises(ModelError, match="one-stage pose models"):
        decoded([rows], "yolov8")


def test_yolo_with_its_nms_inside() -> None:
    rows = np.zeros((1, 300, 6), np.float32)
    rows[0, 0] = [200, 100, 400, 500, 0.75, 0]
    rows[0, 1] = [10, 20, 30, 60, 0.5, 56]
    assert decoded([rows], "yolov8") == ([[200, 100, 400, 500]], [0.75])
    assert decoded([rows], "yolov8", class_index=56) == ([[10, 20, 30, 60]], [0.5])


def test_decoded_yolox_is_told_by_its_values() -> None:
    rows = np.zeros((1, 8400, 85), np.float32)
    rows[0, 7, [0, 1, 2, 3, 4, 5]] = [300, 300, 200, 400, 1, 0.75]
    rows[0, 8, [0, 1, 2, 3, 4, 5 + 56]] = [20, 40, 20, 40, 1, 0.5]
    assert decoded([rows], "yolox") == ([[200, 100, 400, 500]], [0.75])
    assert decoded([rows], "yolox", class_index=56) == ([[10, 20, 30, 60]], [0.5])


def test_classes_of_detections_with_labels() -> None:
    dets = np.array([[[1, 2, 30, 40, 0.5], [5, 6, 70, 80, 0.75]]], np.float32)
    labels = np.array([[0, 16]])
    assert decoded([dets, labels], "dets", class_index=16) == ([[5, 6, 70, 80]], [0.75])
    with pytest.raises(ModelError, match="1 class, counted from 0: there is no class 16"):
        decoded([dets], "dets", class_index=16)
