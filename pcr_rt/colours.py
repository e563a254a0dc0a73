"""The colours in which people are drawn, on images and on the live page."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["DARK", "LIGHT", "Colour", "Colouring", "Shades", "person_shades"]

Colour = tuple[int, int, int]
"""BGR."""
Colouring = Literal["people", "sides"]

# The seven colours of Okabe and Ito (2008), which stay apart under every common colour blindness,
# as BGR; the first two ids get the two that differ most.
PEOPLE: tuple[Colour, ...] = (
    (178, 114, 0),  # blue
    (0, 159, 230),  # orange
    (233, 180, 86),  # sky blue
    (115, 158, 0),  # bluish green
    (167, 121, 204),  # reddish purple
    (66, 228, 240),  # yellow
    (0, 94, 213),  # vermilion
)
DARK: Colour = (32, 32, 32)
LIGHT: Colour = (240, 240, 240)


class Shades(NamedTuple):
    """The colours of one person; ``text`` is written on ``tag``."""

    left: Colour
    right: Colour
    centre: Colour
    tag: Colour
    text: Colour
    box: Colour


SIDES = Shades(PEOPLE[1], PEOPLE[2], PEOPLE[5], DARK, LIGHT, LIGHT)


def person_shades(number: int, colours: Colouring = "people") -> Shades:
    """Give the colours of a person with this id, which are always the same."""
    return SIDES if colours == "sides" else _shades_of(number % len(PEOPLE))


@lru_cache(maxsize=len(PEOPLE))
def _shades_of(number: int) -> Shades:
    """Light for the left side, dark for the right one, the colour itself for all else."""
    colour = np.array(PEOPLE[number])
    left, right = 0.6 * colour + 0.4 * 255, 0.75 * colour
    own, bright = PEOPLE[number], colour @ (0.114, 0.587, 0.299) > 100
    return Shades(_rounded(left), _rounded(right), own, own, DARK if bright else LIGHT, own)


def _rounded(colour: NDArray[np.float64]) -> Colour:
    blue, green, red = np.rint(colour).astype(int).tolist()
    return blue, green, red
