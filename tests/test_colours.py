from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pcr_rt.colours import Colouring, person_shades

# Okabe and Ito 2008, as BGR: orange, sky blue, yellow.
LEFT, RIGHT, CENTRE = (0, 159, 230), (233, 180, 86), (66, 228, 240)
OKABE_ITO = {  # without black, as BGR
    *[LEFT, RIGHT, CENTRE, (115, 158, 0), (178, 114, 0), (0, 94, 213), (167, 121, 204)]
}

# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
COLOUR_BLINDNESS = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
    "none": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
}


@pytest.mark.parametrize("kind", COLOUR_BLINDNESS)
def test_sides_can_be_told_apart_by_everybody(kind: str) -> None:
    lab = seen_by(kind, person_shades(1, "sides")[:3])
    for one, other in ((0, 1), (0, 2), (1, 2)):
        # CIE76: 2.3 is just noticeable, side by side.
        assert np.linalg.norm(lab[one] - lab[other]) > 15


def seen_by(kind: str, colours: Any) -> NDArray[np.float32]:
    """What colours (N, 3), BGR, are to someone, in CIE L*a*b*."""
    rgb = np.array(colours)[:, ::-1] / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = (linear @ np.array(COLOUR_BLINDNESS[kind]).T).clip(0, 1)
    encoded = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    return np.asarray(cv2.cvtColor(encoded[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0])


def test_each_id_has_one_of_seven_colours_and_keeps_it() -> None:
    assert {person_shades(number).centre for number in range(1, 8)} == OKABE_ITO
    for number in range(7):
        shades = person_shades(number)
        assert shades == person_shades(number + 7) == person_shades(number + 700)
        assert shades.centre == shades.tag == shades.box


def test_sides_are_a_light_and_a_dark_shade() -> None:
    """2/5 white for the left side, 3/4 of the colour for the right one; id 2 is sky blue."""
    shades = person_shades(2)
    assert shades.centre == RIGHT
    assert shades.left == (242, 210, 154)  # 0.6 x 86 + 0.4 x 255 = 153.6 and so on
    assert shades.right == (175, 135, 64)


def test_sides_have_their_colours_on_request() -> None:
    for number in (0, 1, 9):
        assert person_shades(number, "sides")[:3] == (LEFT, RIGHT, CENTRE)


@pytest.mark.parametrize("kind", COLOUR_BLINDNESS)
def test_ids_and_sides_can_be_told_apart_by_everybody(kind: str) -> None:
    colours = seen_by(kind, [person_shades(number).centre for number in range(7)])
    for one in range(7):
        for other in range(one):
            assert np.linalg.norm(colours[one] - colours[other]) > 15
        left, right = seen_by(kind, person_shades(one)[:2])
        assert left[0] - right[0] > 20  # of 100 of lightness


def luminance(colour: Any) -> float:
    """WCAG's relative luminance of a colour in BGR."""
    share = np.array(colour) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.0722, 0.7152, 0.2126])


@pytest.mark.parametrize("colours", ["people", "sides"])
@pytest.mark.parametrize("number", range(7))
def test_labels_can_be_read_on_every_colour(number: int, colours: Colouring) -> None:
    """WCAG's contrast for large text is 3."""
    shades = person_shades(number, colours)
    darker, lighter = sorted(map(luminance, (shades.tag, shades.text)))
    assert (lighter + 0.05) / (darker + 0.05) > 4
