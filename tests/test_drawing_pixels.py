"""Every pixel of small scenes, against OpenCV's own calls with numbers worked out by hand.

A frame 720 high has the scale 1, one of 2160 the scale 3, one of 180 a quarter.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pcr_rt.drawing import contact_sheet
from pcr_rt.poses import Poses
from pcr_rt.skeleton import KEYPOINTS

Image = NDArray[np.uint8]

LEFT, RIGHT, CENTRE = (0, 159, 230), (233, 180, 86), (66, 228, 240)
DARK, LIGHT = (32, 32, 32), (240, 240, 240)
FONT = cv2.FONT_HERSHEY_SIMPLEX
HD, SMALL, LARGE = (720, 1280), (180, 320), (2160, 3840)


def grey(size: tuple[int, int]) -> Image:
    return np.full((*size, 3), 90, np.uint8)


def people(boxes: list[Any], *, scores: Any = 0.8, **joints: tuple[float, float]) -> Poses:
    """Make people with these boxes and joints, of which all others have the score 0."""
    keypoints, seen = np.zeros((len(boxes), 17, 2)), np.zeros((len(boxes), 17))
    for name, place in joints.items():
        keypoints[:, KEYPOINTS.index(name)] = place
        seen[:, KEYPOINTS.index(name)] = 0.5
    return Poses(keypoints, seen, boxes, np.broadcast_to(scores, len(boxes)))


def skeleton(poses: Poses, size: tuple[int, int] = HD, threshold: float = 0.3) -> Image:
    return poses.draw(grey(size), colours="sides", boxes=False, keypoint_threshold=threshold)


def line(image: Image, *ends: tuple[float, float], colour: Any, width: int, smooth: bool) -> None:
    """Draw a line, or a dot of one end; places in sixteenths of a pixel."""
    points = np.rint(np.array([ends[0], ends[-1]]) * 16).astype(np.int32)
    kind = cv2.LINE_AA if smooth else cv2.LINE_8
    cv2.polylines(image, [points], False, colour, width, kind, 4)


@pytest.mark.parametrize(
    ("box", "size", "width", "outline"),
    [
        ([100, 80, 250, 320], HD, 3, 3),  # 240 / 80
        ([100, 300, 220, 350], HD, 2, 2),  # 120 / 80, rounded
        ([300, 100, 350, 220], HD, 2, 2),
        ([0, 0, 640, 700], HD, 4, 3),  # at most 4 at the scale 1
        ([0, 0, 300, 170], SMALL, 2, 2),  # small frames have up to 2 too
        ([0, 0, 320, 160], (630, 928), 4, 3),  # the scale is 0.875, so 3.5
        ([0, 0, 320, 160], (628, 928), 3, 3),
        ([0, 0, 500, 100], LARGE, 6, 4),  # 500 / 80, the outline is 1 + 6 / 2
        ([0, 0, 900, 2000], LARGE, 12, 7),
    ],
)
def test_a_limb_is_a_line_with_an_outline_and_two_dots(
    box: list[int], size: tuple[int, int], width: int, outline: int
) -> None:
    shoulder, elbow = (60.5, 40.25), (103.25, 122.75)
    drawn = skeleton(people([box], left_shoulder=shoulder, left_elbow=elbow), size)
    wanted = grey(size)
    line(wanted, shoulder, elbow, colour=DARK, width=width + outline, smooth=False)
    line(wanted, shoulder, elbow, colour=LEFT, width=width, smooth=True)
    for smooth, colour, dot in ((False, DARK, 2 * width + outline), (True, LEFT, 2 * width)):
        for joint in (shoulder, elbow):
            line(wanted, joint, colour=colour, width=dot, smooth=smooth)
    np.testing.assert_array_equal(drawn, wanted)


@pytest.mark.parametrize(
    ("box", "size", "width", "dot"),
    [
        ([100, 80, 110, 199], HD, 1, 2),  # below 120 pixels
        ([100, 80, 219, 90], HD, 1, 2),
        ([100, 80, 110, 130], HD, 1, 2),
        ([100, 80, 110, 439], LARGE, 4, 8),  # below 3 x 120, 359 / 80
        ([100, 80, 110, 230], LARGE, 3, 6),  # at least the scale
        ([0, 0, 20, 119], SMALL, 1, 2),  # in small frames no less than at 720p
    ],
)
def test_small_people_have_no_outline(
    box: list[int], size: tuple[int, int], width: int, dot: int
) -> None:
    shoulder, elbow = (60.5, 40.25), (103.25, 122.75)
    joints = {"left_shoulder": shoulder, "left_elbow": elbow, "nose": (30.5, 80.25)}
    wanted = grey(size)
    line(wanted, shoulder, elbow, colour=LEFT, width=width, smooth=True)
    line(wanted, joints["nose"], colour=CENTRE, width=width, smooth=True)
    for joint in (shoulder, elbow):
        line(wanted, joint, colour=LEFT, width=dot, smooth=True)
    np.testing.assert_array_equal(skeleton(people([box], **joints), size), wanted)


@pytest.mark.parametrize(
    ("box", "size", "width"),
    [([100, 80, 110, 129], HD, 1), ([9, 9, 40, 158], LARGE, 3), ([9, 9, 58, 20], SMALL, 1)],
)
def test_the_smallest_are_seen_through_their_skeleton(
    box: list[int], size: tuple[int, int], width: int
) -> None:
    """Below 50 pixels at 720p lines are half opaque and joints no wider than limbs."""
    shoulder, elbow = (60.5, 40.25), (103.25, 122.75)
    drawn = skeleton(people([box], left_shoulder=shoulder, left_elbow=elbow), size)
    wanted = grey(size)
    for ends in ((shoulder, elbow), (shoulder,), (elbow,)):
        line(wanted, *ends, colour=LEFT, width=width, smooth=True)
    np.testing.assert_allclose(drawn, (wanted.astype(float) + 90) / 2, atol=0.51)


def test_people_have_the_colours_of_their_ids() -> None:
    """Left 3/5 of the id's colour and 2/5 white, right 3/4 of it; id 2 is sky blue."""
    shoulders, elbows = [(60.5, 40.25), (40.25, 40.5)], [(103.25, 122.75), (20, 122.25)]
    poses = people(
        [[10, 10, 90, 250]],
        left_shoulder=shoulders[0],
        right_shoulder=shoulders[1],
        left_elbow=elbows[0],
        right_elbow=elbows[1],
    ).replace(ids=[2])
    drawn = poses.draw(grey(HD), boxes=False, ids=False, keypoint_threshold=0.3)
    wanted = grey(HD)
    left, right = (242, 210, 154), (175, 135, 64)  # 0.6 x 86 + 0.4 x 255 = 153.6 and so on
    ends = list(zip(shoulders, elbows, strict=True))
    for one in (*ends, shoulders):
        line(wanted, *one, colour=DARK, width=6, smooth=False)
    for one, colour in zip((*ends, shoulders), (left, right, RIGHT), strict=True):
        line(wanted, *one, colour=colour, width=3, smooth=True)
    for joints in (shoulders, elbows):
        for joint in joints:
            line(wanted, joint, colour=DARK, width=9, smooth=False)
    for joints in (shoulders, elbows):
        for joint, colour in zip(joints, (left, right), strict=True):
            line(wanted, joint, colour=colour, width=6, smooth=True)
    np.testing.assert_array_equal(drawn, wanted)


@pytest.mark.parametrize(
    ("name", "colour", "dot"),
    [
        ("nose", CENTRE, 4),
        ("right_eye", RIGHT, 4),
        ("right_ear", RIGHT, 4),
        ("left_shoulder", LEFT, 6),
        ("right_ankle", RIGHT, 6),
    ],
)
def test_dots_of_the_face_are_smaller(name: str, colour: Any, dot: int) -> None:
    drawn = skeleton(people([[10, 10, 90, 250]], **{name: (50.25, 60.5)}))
    wanted = grey(HD)
    line(wanted, (50.25, 60.5), colour=DARK, width=dot + 3, smooth=False)
    line(wanted, (50.25, 60.5), colour=colour, width=dot, smooth=True)
    np.testing.assert_array_equal(drawn, wanted)


def test_places_are_rounded_to_sixteenths_of_a_pixel() -> None:
    """OpenCV would draw 0.03 pixels with 5 bits, and none with 4."""
    box = [[10, 10, 90, 250]]
    near = skeleton(people(box, left_shoulder=(50.03, 60), left_elbow=(90.03, 83)))
    exact = skeleton(people(box, left_shoulder=(50, 60), left_elbow=(90, 83)))
    np.testing.assert_array_equal(near, exact)


def test_keypoints_fade_below_the_threshold() -> None:
    """In quarters of opacity: the square of score / threshold, rounded down."""
    poses = people([[10, 10, 90, 250]], nose=(50, 60))  # a score of 0.5
    full = skeleton(poses, threshold=0.5).astype(float)
    assert (full != 90).any()
    for threshold, opacity in ((0.2, 1), (0.501, 0.75), (0.7, 0.5), (0.99, 0.25), (1.01, 0)):
        faded = skeleton(poses, threshold=threshold)
        np.testing.assert_allclose(faded, 90 + opacity * (full - 90), atol=1)


@pytest.mark.parametrize(("size", "width"), [(SMALL, 1), (HD, 1), (LARGE, 3)])
def test_boxes_have_a_shadow(size: tuple[int, int], width: int) -> None:
    poses = people([[20.4, 30.4, 99.6, 149.6]])
    for colours, colour in (("people", LEFT), ("sides", LIGHT)):  # the first is orange
        drawn = poses.draw(grey(size), colours=colours)  # type: ignore[arg-type]
        wanted = grey(size)
        cv2.rectangle(wanted, (21, 31), (101, 151), DARK, width)
        cv2.rectangle(wanted, (20, 30), (100, 150), colour, width)
        np.testing.assert_array_equal(drawn, wanted)


class Labels:
    """Labels of a score at one frame size: their width and height, and how they look."""

    def __init__(self, size: tuple[int, int], scale: float, thickness: int) -> None:
        self.image, self._style = grey(size), (scale, thickness)
        (width, height), self._descent = cv2.getTextSize("0.80", FONT, scale, thickness)
        self._pad = max(2, height // 4)
        self.width = width + 2 * self._pad
        self.height = height + self._descent + 2 * self._pad

    def add(self, left: int, bottom: int) -> None:
        corner = (left + self.width, bottom - self.height)
        cv2.rectangle(self.image, (left, bottom), corner, DARK, cv2.FILLED)
        origin = (left + self._pad, bottom - self._descent - self._pad)
        scale, thickness = self._style
        cv2.putText(self.image, "0.80", origin, FONT, scale, LIGHT, thickness, cv2.LINE_AA)

    def equal(self, boxes: list[tuple[int, int]]) -> None:
        """Compare with what is drawn at the left upper corners of boxes, the best first."""
        full = [[x, y, x + 40, y + 90] for x, y in boxes]
        # Scores that all read 0.80.
        poses = people(full, scores=0.8 - 1e-4 * np.arange(len(boxes)))
        frame = grey(self.image.shape[:2])
        drawn = poses.draw(frame, colours="sides", boxes=False, scores=True)
        np.testing.assert_array_equal(drawn, self.image)


@pytest.mark.parametrize(
    ("size", "scale", "thickness"),
    [(SMALL, 0.4, 1), (HD, 0.5, 1), ((1440, 2560), 1.0, 1), (LARGE, 1.5, 2)],
)
def test_a_label_lies_on_its_box(size: tuple[int, int], scale: float, thickness: int) -> None:
    labels = Labels(size, scale, thickness)
    labels.add(50, 120)
    labels.equal([(50, 120)])


@pytest.mark.parametrize(
    ("number", "tag", "text"), [(2, RIGHT, DARK), (7, (178, 114, 0), LIGHT), (9, RIGHT, DARK)]
)
def test_a_label_has_the_colour_of_its_id(number: int, tag: Any, text: Any) -> None:
    """Sky blue is bright and so has dark letters, blue has light ones."""
    drawn = people([[50, 120, 90, 210]]).replace(ids=[number]).draw(grey(HD), boxes=False)
    wanted = grey(HD)
    (width, height), descent = cv2.getTextSize(f"#{number}", FONT, 0.5, 1)
    pad = max(2, height // 4)
    corner = (50 + width + 2 * pad, 120 - height - descent - 2 * pad)
    cv2.rectangle(wanted, (50, 120), corner, tag, cv2.FILLED)
    origin = (50 + pad, 120 - descent - pad)
    cv2.putText(wanted, f"#{number}", origin, FONT, 0.5, text, 1, cv2.LINE_AA)
    np.testing.assert_array_equal(drawn, wanted)


def test_labels_of_boxes_outside_lie_at_the_border() -> None:
    labels = Labels(HD, 0.5, 1)
    labels.add(0, labels.height)
    labels.add(1280 - labels.width, 720)
    labels.equal([(-30, -20), (1270, 900)])


def test_labels_that_touch_stay_where_they_are() -> None:
    labels = Labels(HD, 0.5, 1)
    wide, high = labels.width, labels.height
    places = [(300, 300), (300 + wide, 300), (300 - wide, 300), (300, 300 + high)]
    places.append((300, 300 - high))
    for place in places:
        labels.add(*place)
    labels.equal(places)


def test_labels_that_would_cover_others_move_above_them_all() -> None:
    labels = Labels(HD, 0.5, 1)
    high = labels.height
    for step in range(4):
        labels.add(300, 300 - step * high)
    labels.equal([(300, 300)] * 4)


def test_labels_that_find_no_room_above_lie_on_the_others() -> None:
    labels = Labels(HD, 0.5, 1)
    high = labels.height
    for bottom in (2 * high, high, 2 * high):  # the second just fits, the third does not
        labels.add(300, bottom)
    labels.equal([(300, 2 * high)] * 3)


def test_labels_beside_or_below_others_are_in_nobodys_way() -> None:
    labels = Labels(HD, 0.5, 1)
    places = [(300, 300), (700, 300), (300, 600), (305, 200)]
    for place in places:
        labels.add(*place)
    labels.equal(places)


def textured(height: int, width: int) -> Image:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_contact_sheet_pixels() -> None:
    """Cells of 80x40 with strips of 24, two a row, in images twice as large and half as large."""
    wide, tall, small, thin = (
        textured(30, 160),
        textured(80, 40),
        textured(20, 20),
        textured(4, 999),
    )
    captions = ["a", "b", "c", "d"]
    sheet = contact_sheet([wide, tall, small, thin], 2, (80, 40), captions)
    wanted = np.full((128, 160, 3), 32, np.uint8)
    wanted[12:27, 0:80] = cv2.resize(wide, (80, 15), interpolation=cv2.INTER_AREA)
    wanted[0:40, 110:130] = cv2.resize(tall, (20, 40), interpolation=cv2.INTER_AREA)
    wanted[64:104, 20:60] = cv2.resize(small, (40, 40), interpolation=cv2.INTER_LINEAR)
    wanted[83:84, 80:160] = cv2.resize(thin, (80, 1), interpolation=cv2.INTER_AREA)
    for text, origin in zip(captions, [(8, 56), (88, 56), (8, 120), (88, 120)], strict=True):
        cv2.putText(wanted, text, origin, FONT, 0.45, LIGHT, 1, cv2.LINE_AA)
    np.testing.assert_array_equal(sheet, wanted)


def test_contact_sheet_enlarges_a_little_smoothly() -> None:
    image = textured(20, 40)
    sheet = contact_sheet([image], 3, (60, 30))
    wanted = cv2.resize(image, (60, 30), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(sheet, wanted)
