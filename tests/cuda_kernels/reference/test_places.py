"""Places of crops, by hand."""

from __future__ import annotations

import numpy as np

from pcr_rt.cuda_kernels import reference

BOXES = np.array([[10.0, 20, 30, 100], [0, 0, 60, 20], [5, 5, 6, 7]])
"""Areas 1600 and 1200; the third is a place without a person."""


def test_crops_reach_from_edge_to_edge_of_the_padded_region() -> None:
    places = reference.place_people(
        BOXES, [0, 1, 2], size=(24, 32), transform="msra", padding=1.5, grid=(12, 16)
    )
    np.testing.assert_array_equal(places.frame_index, [0, 1, 0])
    np.testing.assert_allclose(places.areas, [1600, 1200, 0])
    # 20 x 80 grows to 60 x 80, then to 90 x 120 about (20, 60); 24 x 32 pixels of 3.75.
    np.testing.assert_allclose(places.crops[0, 0], [[3.75, 0, -25], [0, 3.75, 0]])
    # 60 x 20 grows to 60 x 80, then to 90 x 120 about (30, 10).
    np.testing.assert_allclose(places.crops[0, 1], [[3.75, 0, -15], [0, 3.75, -50]])
    # A heatmap has half as many samples, so a sample is two pixels.
    np.testing.assert_allclose(places.to_frame[0], [[7.5, 0, -25], [0, 7.5, 0]])
    assert places.crops.shape == (1, 3, 2, 3)


def test_under_udp_first_and_last_pixel_lie_on_the_region_s_borders() -> None:
    places = reference.place_people(
        BOXES[:1], [0, 1], size=(25, 33), transform="udp", padding=1.0, grid=(13, 17), mirrored=True
    )
    # 20 x 80 grows to 80 * 25 / 33 x 80 about (20, 60).
    half = 40 * 25 / 33
    for u, x in ((0, 20 - half), (24, 20 + half)):
        np.testing.assert_allclose(places.crops[0, 0] @ [u, 0, 1], [x, 20])
        np.testing.assert_allclose(places.crops[1, 0] @ [24 - u, 32, 1], [x, 100])
    np.testing.assert_allclose(places.to_frame[0] @ [12, 16, 1], [20 + half, 100])


def test_places_without_a_person_are_outside_every_frame() -> None:
    places = reference.place_people(
        BOXES, [0, 0, 0], size=(24, 32), transform="udp", padding=1.25, grid=(6, 8), mirrored=True
    )
    corners = places.crops @ np.array([[0, 23], [0, 31], [1, 1]])
    assert (corners < -1).all()
    assert not places.areas.any()


def test_simcc_is_decoded_in_input_pixels() -> None:
    places = reference.place_people(BOXES, [0, 3], size=(24, 32), transform="msra", padding=1.25)
    np.testing.assert_array_equal(places.to_frame, places.crops[0])
