from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pcr_rt import InputError
from pcr_rt.skeleton import COCO17, Skeleton, keypoint_similarity, shipped_skeletons

SIZES = {
    "aic14": 14,
    "ap10k17": 17,
    "coco17": 17,
    "coco_wholebody133": 133,
    "crowdpose14": 14,
    "halpe26": 26,
    "hand21": 21,
}


def test_cocos_flip_swaps_sides() -> None:
    # The published order of COCO's flip pairs.
    assert COCO17.flip.tolist() == [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]


def test_cocos_sigmas_are_those_of_pycocotools() -> None:
    from pycocotools.cocoeval import Params

    np.testing.assert_allclose(COCO17.sigma_array, Params("keypoints").kpt_oks_sigmas)


def test_cocos_limbs_join_a_tree_of_all_keypoints() -> None:
    assert {joint for limb in COCO17.limb_array.tolist() for joint in limb} == set(range(17))


def test_cocos_upper_half_ends_above_the_hips() -> None:
    assert COCO17.keypoints[: len(COCO17.upper)] == COCO17.upper
    assert COCO17.keypoints[len(COCO17.upper)] == "left_hip"


def test_shipped_skeletons_have_the_sizes_of_their_publications() -> None:
    assert {name: len(Skeleton.load(name)) for name in shipped_skeletons()} == SIZES


@pytest.mark.parametrize("name", SIZES)
def test_a_shipped_skeleton_is_whole(name: str) -> None:
    skeleton = Skeleton.load(name)
    assert skeleton.name == name
    assert len(skeleton.sigma_array) == len(skeleton.sigmas) == len(skeleton)
    np.testing.assert_array_equal(skeleton.flip[skeleton.flip], np.arange(len(skeleton)))
    for keypoint, side in zip(skeleton.keypoints, skeleton.sides, strict=True):
        for wanted in ("left", "right"):
            if keypoint.startswith(f"{wanted}_"):
                assert side == wanted
    assert len(set(map(frozenset, skeleton.limbs))) == len(skeleton.limbs)


def test_a_hand_has_no_sides_and_is_its_own_mirror_image() -> None:
    hand = Skeleton.load("hand21")
    np.testing.assert_array_equal(hand.flip, np.arange(21))
    assert set(hand.sides) == {"centre"}
    assert hand.category == "hand"


def test_faces_swap_as_those_of_300w_do() -> None:
    body = Skeleton.load("coco_wholebody133")
    face = body.flip[23:91] - 23
    # The mirrored order that 300-W's users publish: jaw, brows, nose, eyes, mouth.
    mirrored = [
        *range(16, -1, -1),
        *range(26, 16, -1),
        *range(27, 31),
        *range(35, 30, -1),
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
        *range(54, 47, -1),
        *range(59, 54, -1),
        *range(64, 59, -1),
        *range(67, 64, -1),
    ]
    assert face.tolist() == mirrored
    # A face seen from the front has the person's right on the image's left, where the jaw begins.
    assert body.sides[23:40] == ("right",) * 8 + ("centre",) + ("left",) * 8


def test_halpe_begins_with_cocos_keypoints() -> None:
    assert Skeleton.load("halpe26").keypoints[:17] == COCO17.keypoints
    assert Skeleton.load("coco_wholebody133").keypoints[:17] == COCO17.keypoints


def test_slots_marks_unknown_keypoints() -> None:
    assert COCO17.slots(["left_knee", "neck", "nose"]).tolist() == [13, -1, 0]


def test_pairs_are_found_by_name() -> None:
    skeleton = Skeleton("toy", ("tip", "right_wing", "left_wing", "left_eye"))
    assert skeleton.pairs == (("left_wing", "right_wing"),)
    assert skeleton.flip.tolist() == [0, 2, 1, 3]
    assert skeleton.sides == ("centre", "right", "left", "centre")


def test_without_pairs_nothing_is_mirrored_silently() -> None:
    skeleton = Skeleton("box", ("a", "b", "c"))
    assert skeleton.pairs is None
    with pytest.raises(InputError, match=r"'box' does not say which .* mirror images"):
        _ = skeleton.flip
    assert dataclasses.replace(skeleton, pairs=()).flip.tolist() == [0, 1, 2]


def test_without_sigmas_each_keypoint_has_a_twentieth() -> None:
    assert Skeleton("box", ("a", "b")).sigma_array.tolist() == [0.05, 0.05]


def test_arrays_cannot_be_changed() -> None:
    for array in (COCO17.flip, COCO17.sigma_array, COCO17.limb_array):
        assert not array.flags.writeable


def test_tables_travel_through_json_and_pickle() -> None:
    for name in SIZES:
        skeleton = Skeleton.load(name)
        again = Skeleton.from_table(json.loads(json.dumps(skeleton.to_table())), "x.onnx")
        assert again == skeleton
        assert hash(again) == hash(skeleton)
        assert pickle.loads(pickle.dumps(skeleton)) == skeleton


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "arrow.toml"
    path.write_text(
        'name = "arrow"\nkeypoints = ["tip", "tail"]\nlimbs = [["tip", "tail"]]\n'
        'sigmas = [0.1, 1]\ncategory = "sign"\n'
    )
    expected = Skeleton(
        "arrow", ("tip", "tail"), (("tip", "tail"),), sigmas=(0.1, 1), category="sign"
    )
    assert Skeleton.load(path) == Skeleton.load(str(path)) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": []}, "'toy' has no keypoints"),
        ({"keypoints": ["a", "b", "a"]}, "'toy' has the keypoint 'a' twice"),
        ({"limbs": [["a", "z"]]}, "A limb of the skeleton 'toy' names 'z'.* a, b, c"),
        ({"pairs": [["a", "z"]]}, "A pair of the skeleton 'toy' names 'z'.* a, b, c"),
        ({"upper": ["z"]}, "The upper half of the skeleton 'toy' names 'z'"),
        ({"pairs": [["a", "b"], ["b", "c"]]}, "'b' in two pairs"),
        ({"pairs": [["a", "a"]]}, "'a' in two pairs"),
        ({"sigmas": [0.1]}, "3 keypoints, but 1 sigmas"),
        ({"sigmas": [0.1, 0, 0.1]}, "the sigma 0 for 'b': give a number above 0"),
        ({"sigmas": [0.1, 0.1, -1]}, "the sigma -1 for 'c'"),
        ({"sigmas": [float("nan"), 0.1, 0.1]}, "the sigma nan for 'a'"),
        ({"sigmas": [0.1, 10**400, 0.1]}, "the sigma 10{11} for 'b'"),
        ({"sigmas": "0.1"}, "toy.toml must have a list of numbers under 'sigmas'"),
        ({"sigmas": [True, 1, 1]}, "a list of numbers under 'sigmas'"),
        ({"keypoints": "abc"}, "a list of keypoints' names under 'keypoints'"),
        ({"limbs": ["ab"]}, "pairs of keypoints' names under 'limbs'"),
        ({"limbs": [["a", "b", "c"]]}, "pairs of keypoints' names under 'limbs'"),
        ({"limbs": None}, "pairs of keypoints' names under 'limbs'"),
        ({"category": ""}, "a name under 'category'"),
        ({"colour": "red"}, "toy.toml has no key 'colour'; allowed are name, keypoints"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], message: str) -> None:
    table = {"name": "toy", "keypoints": ["a", "b", "c"], **change}
    with pytest.raises(InputError, match=message):
        Skeleton.from_table(table, "toy.toml")


def test_a_missing_key_is_named() -> None:
    with pytest.raises(InputError, match="needs the key 'keypoints'"):
        Skeleton.from_table({"name": "toy"}, "toy.toml")


def test_unknown_skeletons_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no skeleton 'coco18'; shipped are aic14, .*hand21"):
        Skeleton.load("coco18")
    with pytest.raises(InputError, match=r"absent\.toml cannot be read"):
        Skeleton.load(tmp_path / "absent.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(InputError, match=r"broken\.toml cannot be read"):
        Skeleton.load(broken)


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
