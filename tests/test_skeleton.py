from __future__ import annotations

import numpy as np

from pcr_rt.skeleton import (
    FLIP,
    KEYPOINTS,
    LIMBS,
    SIGMAS,
    UPPER_BODY,
    keypoint_similarity,
    slots_by_name,
)


def test_flip_swaps_sides_and_is_its_own_inverse() -> None:
    # The published order of COCO's flip pairs.
    assert FLIP.tolist() == [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    np.testing.assert_array_equal(FLIP[FLIP], np.arange(17))


def test_sigmas_are_those_of_pycocotools() -> None:
    from pycocotools.cocoeval import Params

    np.testing.assert_allclose(SIGMAS, Params("keypoints").kpt_oks_sigmas)


def test_similarity_falls_to_1_over_e_at_two_sigma_times_the_root_of_twice_the_area() -> None:
    a = np.zeros((17, 2), np.float32)
    b = a.copy()
    b[1, 0] = 20 * 0.05 * 2**0.5  # the left eye's sigma is 0.025
    found = keypoint_similarity(a, b, 400.0)
    np.testing.assert_allclose(found[1], np.exp(-1), rtol=1e-6)
    np.testing.assert_array_equal(np.delete(found, 1), 1)


def test_similarity_of_every_pair_of_people() -> None:
    a = np.zeros((2, 17, 2))
    a[1, 0] = (5.2, 0)  # nose: 2 sigma = 0.052, one deviation at a scale of 100 pixels
    found = keypoint_similarity(a[:, None], a[None], np.array([[1e4, 1e4], [1e4, 0]]))
    assert found.shape == (2, 2, 17)
    np.testing.assert_allclose(found[0, 1, 0], np.exp(-0.5))
    np.testing.assert_allclose(found[1, 0, 0], np.exp(-0.5))
    np.testing.assert_array_equal(found[1, 1], 1)  # without an area, but in the same place
    np.testing.assert_array_equal(keypoint_similarity(a[0], a[1], 0.0)[:2], [0, 1])


def test_limbs_join_a_tree_of_all_keypoints() -> None:
    assert {joint for limb in LIMBS for joint in limb} == set(range(17))


def test_halves() -> None:
    assert [KEYPOINTS[i] for i in np.flatnonzero(~UPPER_BODY)] == [
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    ]


def test_slots_by_name_marks_unknown_joints() -> None:
    assert slots_by_name(["left_knee", "neck", "nose"]).tolist() == [13, -1, 0]
