from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pcr_rt.drawing import contact_sheet
from pcr_rt.errors import InputError
from pcr_rt.poses import Poses
from pcr_rt.skeleton import KEYPOINTS

# Okabe and Ito 2008, as BGR: orange, sky blue, yellow.
LEFT, RIGHT, CENTRE = (0, 159, 230), (233, 180, 86), (66, 228, 240)

# A person from the front, about 200 pixels high: (x, y) of the 17 joints.
STANDING = np.array(
    [
        *[(160, 40), (168, 32), (152, 32), (178, 36), (142, 36)],
        *[(195, 75), (125, 75), (215, 115), (105, 115), (225, 155), (95, 155)],
        *[(180, 150), (140, 150), (184, 190), (136, 190), (188, 230), (132, 230)],
    ],
    dtype=np.float32,
)
BOX = np.array([85, 20, 235, 240], np.float32)
GREY = 90


def people(n: int = 1, *, step: float = 0.0, **changed: Any) -> Poses:
    shift = np.arange(n)[:, None] * [step, 0.0]
    fields = {
        "keypoints": STANDING + shift[:, None],
        "keypoint_scores": np.full((n, 17), 0.9),
        "boxes": BOX + np.tile(shift, 2),
        "scores": np.full(n, 0.8),
        **changed,
    }
    return Poses(**fields)


def canvas(height: int = 260, width: int = 320) -> NDArray[np.uint8]:
    return np.full((height, width, 3), GREY, np.uint8)


def skeleton_only(poses: Poses, frame: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    frame = canvas() if frame is None else frame
    return poses.draw(frame, colours="sides", boxes=False, ids=False)


def test_joints_have_the_colour_of_their_side() -> None:
    drawn = skeleton_only(people())
    for name, (x, y) in zip(KEYPOINTS, STANDING.astype(int), strict=True):
        side = name.split("_")[0]
        wanted = {"left": LEFT, "right": RIGHT}.get(side, CENTRE)
        np.testing.assert_allclose(drawn[y, x], wanted, atol=12, err_msg=name)


def test_limbs_have_the_colour_of_their_side() -> None:
    drawn = skeleton_only(people())
    for y, x, wanted in [
        (75, 160, CENTRE),  # between the shoulders
        (135, 220, LEFT),  # left forearm
        (135, 100, RIGHT),
        (170, 182, LEFT),  # left thigh
        (170, 138, RIGHT),
    ]:
        np.testing.assert_allclose(drawn[y, x], wanted, atol=12)


def test_ids_have_colours_and_those_without_an_id_that_of_their_place() -> None:
    """Ids 1 and 8 are orange, 2 is sky blue; the nose has the colour itself."""
    for drawn, colour in (
        (people(ids=[8]).draw(canvas()), LEFT),
        (people(ids=[2]).draw(canvas()), RIGHT),
        (people().draw(canvas()), LEFT),
        (people(2, step=400.0)[[1, 0]].draw(canvas()), RIGHT),
    ):
        np.testing.assert_allclose(drawn[40, 160], colour, atol=12)


def test_other_colours_are_refused() -> None:
    with pytest.raises(InputError, match="'people', 'sides'"):
        people().draw(canvas(), colours="rainbow")  # type: ignore[arg-type]


def test_what_is_far_from_the_skeleton_stays() -> None:
    drawn = skeleton_only(people())
    changed = (drawn != GREY).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert rows.min() > 20
    assert rows.max() < 245
    assert columns.min() > 85
    assert columns.max() < 235
    assert 0.01 < changed.mean() < 0.2


@pytest.mark.parametrize("inplace", [False, True])
def test_a_copy_is_drawn_on_unless_asked(inplace: bool) -> None:
    frame = canvas()
    drawn = people().draw(frame, inplace=inplace)
    assert (drawn is frame) == inplace
    assert (frame != GREY).any() == inplace
    assert (drawn.shape, drawn.dtype) == (frame.shape, np.uint8)


def test_nobody_draws_nothing() -> None:
    np.testing.assert_array_equal(Poses.empty().draw(canvas()), canvas())


@pytest.mark.parametrize(
    ("share", "opacity"),
    [(1.5, 1), (1, 1), (0.99, 0.75), (0.8, 0.5), (0.6, 0.25), (0.49, 0), (0, 0), (np.nan, 0)],
)
def test_unsure_joints_and_their_limbs_fade(share: float, opacity: float) -> None:
    # Quarters of the share's square, rounded down: 0.99^2 is above 3/4, 0.6^2 above 1/4.
    scores = np.full((1, 17), 0.9)
    scores[0, KEYPOINTS.index("left_elbow")] = 0.4 * share
    drawn = people(keypoint_scores=scores).draw(
        canvas(), colours="sides", keypoint_threshold=0.4, boxes=False
    )
    expected = (1 - opacity) * GREY + opacity * np.array(LEFT)
    for y, x in [(115, 215), (95, 205), (135, 220)]:  # elbow, upper arm, forearm
        np.testing.assert_allclose(drawn[y, x], expected, atol=12)
    np.testing.assert_allclose(drawn[155, 225], LEFT, atol=12)  # the wrist is sure
    np.testing.assert_array_equal(drawn[:20], GREY)


@pytest.mark.parametrize(("kind", "solid"), [("probability", 0.8), ("raw", 0.3)])
def test_what_is_sure_depends_on_the_kind_of_scores(kind: Any, solid: float) -> None:
    def drawn(score: float) -> NDArray[np.uint8]:
        return skeleton_only(people(keypoint_scores=np.full((1, 17), score), score_kind=kind))

    np.testing.assert_allclose(drawn(solid)[115, 215], LEFT, atol=12)
    assert np.abs(drawn(solid - 0.01)[115, 215].astype(int) - LEFT).max() > 12


def test_a_faint_limb_reaches_over_the_border() -> None:
    scores = np.full((1, 17), 0.24)
    drawn = skeleton_only(people(keypoints=STANDING[None] - [150, 40], keypoint_scores=scores))
    np.testing.assert_allclose(drawn[35, 45], (GREY + np.array(LEFT)) / 2, atol=12)
    outside = skeleton_only(people(keypoints=STANDING[None] - [1500, 40], keypoint_scores=scores))
    np.testing.assert_array_equal(outside, GREY)


def test_boxes_are_lines_along_the_border() -> None:
    drawn = people(keypoint_scores=np.zeros((1, 17))).draw(canvas())
    assert (drawn[20, 85:236] == LEFT).all()
    assert (drawn[20:241, 235] == LEFT).all()
    np.testing.assert_array_equal(drawn[30:230, 95:225], GREY)


@pytest.mark.parametrize("colours", ["people", "sides"])
def test_labels_name_the_id_and_on_request_the_score(colours: Any) -> None:
    plain = people(ids=[12]).draw(canvas(), colours=colours, boxes=False, ids=False)
    untracked = people().draw(canvas(), colours=colours, boxes=False)
    assert (untracked[:20] == GREY).all()
    widths = []
    for ids, scores in ((True, False), (False, True), (True, True)):
        drawn = people(ids=[12]).draw(
            canvas(), colours=colours, boxes=False, ids=ids, scores=scores
        )
        label = (drawn != plain).any(axis=2)
        rows, columns = np.nonzero(label)
        assert rows.max() <= 26  # on the box's upper edge
        assert columns.min() == 85
        widths.append(np.ptp(columns))
    assert max(widths[:2]) < widths[2] - 15


@pytest.mark.parametrize("corner", [(-50, -50), (300, 250), (0, 0), (310, -20)])
def test_labels_stay_inside_of_the_frame(corner: tuple[int, int]) -> None:
    x, y = corner
    moved = people(keypoint_scores=np.zeros((1, 17)), boxes=[[x, y, x + 80, y + 80]])
    with_label = moved.draw(canvas(), scores=True)
    without = moved.draw(canvas())
    rows, columns = np.nonzero((with_label != without).any(axis=2))
    assert np.ptp(rows) >= 8
    assert np.ptp(columns) >= 20


def thickness(height: float, frame: NDArray[np.uint8]) -> int:
    """Count pixels across the thigh of a person of a height, the dark outline included."""
    scale = height / 220
    drawn = skeleton_only(people(keypoints=[STANDING * scale], boxes=[BOX * scale]), frame)
    row = drawn[round(170 * scale), round(170 * scale) : round(200 * scale)]
    return int((row != GREY).any(axis=1).sum())


def test_labels_of_neighbours_do_not_cover_each_other() -> None:
    frame = canvas(400, 400)
    boxes = np.array([[150, 200, 200, 380], [160, 202, 215, 380], [170, 199, 230, 380]], np.float32)
    scores = np.array([0.9, 0.8, 0.7])

    def label(rows: list[int]) -> NDArray[np.bool_]:
        poses = people(3, boxes=boxes, scores=scores, ids=np.array([11, 22, 33]))[rows]
        return (poses.draw(frame) != poses.draw(frame, ids=False)).any(axis=2)

    alone = sum(int(label([row]).sum()) for row in range(3))
    assert int(label([0, 1, 2]).sum()) > 0.9 * alone
    # The best keeps its place: there the image is what it is without the others.
    poses = people(3, boxes=boxes, scores=scores, ids=np.array([11, 22, 33]))
    best, everybody = (p.draw(frame, boxes=False)[label([0])] for p in (poses[[0]], poses))
    assert (best == everybody).mean() > 0.9


def test_lines_grow_with_the_person_and_the_frame() -> None:
    large = canvas(1400, 1600)
    assert thickness(80, large) < thickness(300, large) < thickness(1000, large)
    assert thickness(300, large) == thickness(300, canvas(700, 1600))
    # A person who fills a small frame does not hide behind the lines.
    assert thickness(230, canvas()) < thickness(1000, large)


def test_people_far_outside_or_unknown_do_no_harm() -> None:
    wild = np.tile(STANDING, (3, 1, 1))
    wild[0] += 1e9
    wild[1, 3] = np.nan
    wild[2, 5] = -np.inf
    boxes = np.array([[-1e9, -1e9, 1e9, 1e9], [np.nan] * 4, BOX])
    drawn = people(3, keypoints=wild, boxes=boxes).draw(canvas(), colours="sides")
    np.testing.assert_allclose(drawn[155, 95], RIGHT, atol=12)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((20, 20), np.uint8),
        np.zeros((20, 20, 4), np.uint8),
        np.zeros((20, 20, 3), np.float32),
    ],
)
def test_other_arrays_are_refused(frame: NDArray[Any]) -> None:
    with pytest.raises(InputError, match="uint8"):
        people().draw(frame)


def test_views_are_copied_but_not_drawn_on_in_place() -> None:
    view = np.asfortranarray(canvas())
    np.testing.assert_array_equal(people().draw(view), people().draw(canvas()))
    with pytest.raises(InputError, match="copy"):
        people().draw(view, inplace=True)
    locked = canvas()
    locked.flags.writeable = False
    with pytest.raises(InputError, match="copy"):
        people().draw(locked, inplace=True)


def test_contact_sheet_shows_each_image_whole() -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    sizes = [(50, 100), (400, 200), (30, 60)]
    images = [np.full((*s, 3), c, np.uint8) for s, c in zip(sizes, colours, strict=True)]
    sheet = contact_sheet(images, 2, (80, 40))
    assert sheet.shape == (80, 160, 3)
    np.testing.assert_array_equal(sheet[0:40, 0:80], np.full((40, 80, 3), colours[0]))
    # 200x400 in a cell of 80x40 becomes 20x40 in its middle.
    np.testing.assert_array_equal(sheet[0:40, 110:130], np.full((40, 20, 3), colours[1]))
    assert not (sheet[0:40, 80:110] == colours[1]).all(axis=2).any()
    np.testing.assert_array_equal(sheet[40:80, 0:80], np.full((40, 80, 3), colours[2]))
    assert (sheet[40:80, 80:160] == sheet[79, 159]).all()


def test_contact_sheet_with_captions(sample_image: Path) -> None:
    image = cv2.imread(str(sample_image))
    plain = contact_sheet([image], 4, (192, 144))
    captioned = contact_sheet([image], 4, (192, 144), ["a street"])
    assert plain.shape == (144, 192, 3)
    np.testing.assert_array_equal(captioned[:144], plain)
    strip = captioned[144:]
    assert strip.shape[0] >= 10
    assert strip.max() > 200


def test_contact_sheet_needs_images_and_a_caption_each() -> None:
    with pytest.raises(InputError, match="at least one"):
        contact_sheet([], 2, (80, 40))
    with pytest.raises(ValueError, match="captions"):
        contact_sheet([canvas()], 2, (80, 40), ["a", "b"])
