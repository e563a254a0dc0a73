"""A person who is followed: where they are and go, and what they look like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pcr_rt.tracking.people import People

__all__ = ["SEARCH_S", "Track", "displacements", "predicted_boxes", "search_regions"]

Float = NDArray[np.float64]

SEARCH_S = 0.5
"""A person who is not seen is looked for around the predicted place for so long."""
DAMPING_S = 1.0
"""A person who is not seen slows down with this time constant."""
VELOCITY_S = 0.15
"""Time constant of the mean over measured velocities."""
CONTACT_SLOWER = 4.0
"""In contact, keypoints jump to the other person: velocities are trusted so much less."""
GROW_S, SHRINK_S = 0.2, 0.5
"""Time constants with which a box grows and shrinks."""
MIXED_S = 0.15
"""Time constant with which a box follows keypoints that may be partly another person's."""
MIXED_SLOWER = 4.0
"""Such a box grows and shrinks so much slower."""
OUTWARD = np.array([-1, -1, 1, 1])
"""Signs of the sides of a box, seen from its middle."""
REACH = 0.85
"""A box reaches at least so far of the way from the torso to the frame's own: it cuts no limb."""


@dataclass(eq=False)
class Track:
    """A person; ``id`` is 0 until they have been seen often enough to be shown.

    keypoints (K, 2), keypoint_scores (K,), box (4,) and velocity (2,), in pixels a second, are
    those of the time ``seen``, the last one; ``born`` was the first. extent: (4,) how far the box
    reaches from the torso to each side.
    """

    keypoints: Float
    keypoint_scores: Float
    box: Float
    extent: Float
    velocity: Float
    appearance: Float
    born: float
    seen: float
    id: int = 0
    hits: int = 1
    missed: bool = False

    @classmethod
    def begin(cls, people: People, row: int, now: float) -> Track:
        """Make the track of a person who is seen for the first time."""
        box = people.boxes[row]
        return cls(
            keypoints=people.keypoints[row],
            keypoint_scores=people.keypoint_scores[row],
            box=box,
            extent=np.abs(box - people.centres[row]),
            velocity=np.zeros(2),
            appearance=people.looks[row],
            born=now,
            seen=now,
        )

    def follow(self, people: People, row: int, now: float, *, mixed: bool = False) -> None:
        """Take over where the person is now.

        mixed: whether a known person who is not seen should be in the same place. The keypoints
        may then be partly theirs, so the box keeps to where the person was going.
        """
        if mixed:
            expected = predicted_boxes([self], now)[0] - self.extent * OUTWARD
        keypoints, scores = people.keypoints[row], people.keypoint_scores[row]
        contact = bool(people.contact[row])
        elapsed = now - self.seen
        if elapsed > 0:
            weights = np.maximum(np.minimum(scores, self.keypoint_scores), 1e-6)
            step = weights @ (keypoints - self.keypoints) / weights.sum()
            share = -math.expm1(-elapsed / (VELOCITY_S * (CONTACT_SLOWER if contact else 1)))
            self.velocity += share * (step / elapsed - self.velocity)
        self.keypoints, self.keypoint_scores = keypoints, scores
        centre = people.centres[row]
        extent = np.abs(people.boxes[row] - centre)
        slower = MIXED_SLOWER if mixed else 1
        grown, shrunk = (-math.expm1(-elapsed / (t * slower)) for t in (GROW_S, SHRINK_S))
        change = extent - self.extent
        self.extent = self.extent + np.where(change > 0, grown, shrunk) * change
        if mixed:
            centre = expected - math.expm1(-elapsed / MIXED_S) * (centre - expected)
        else:
            self.extent = np.maximum(self.extent, REACH * extent)
        self.box = centre + self.extent * OUTWARD
        self.seen, self.missed = now, False
        self.hits += 1


def displacements(tracks: Sequence[Track], now: float) -> Float:
    """Predict how far (n, 2) each person has gone since last seen, slowing down."""
    gone = np.array([now - track.seen for track in tracks])
    reach = DAMPING_S * -np.expm1(-gone / DAMPING_S)
    moved: Float = np.array([track.velocity for track in tracks]) * reach[:, None]
    return moved


def predicted_boxes(tracks: Sequence[Track], now: float) -> Float:
    """Predict the boxes (n, 4) of people."""
    moved = displacements(tracks, now)
    last = np.array([track.box for track in tracks])
    boxes: Float = last + np.concatenate([moved, moved], axis=1)
    return boxes


def search_regions(tracks: Sequence[Track], now: float, frame: NDArray[np.uint8]) -> Float:
    """Give boxes (M, 4) around the predicted places of tracks, as far as they lie in the frame."""
    if not tracks:
        return np.zeros((0, 4))
    height, width = frame.shape[:2]
    boxes = predicted_boxes(tracks, now).clip(0, (width - 1, height - 1, width - 1, height - 1))
    return boxes[np.all(boxes[:, 2:] - boxes[:, :2] >= 2, axis=1)]
