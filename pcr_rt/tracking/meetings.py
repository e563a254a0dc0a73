"""People who exchanged their ids where they hid each other, and get them back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pcr_rt.geometry import box_iou
from pcr_rt.tracking.appearance import difference
from pcr_rt.tracking.association import RETURNED_DIFFERENCE
from pcr_rt.tracking.people import CONTACT_IOU, People
from pcr_rt.tracking.track import Track, predicted_boxes

__all__ = ["Meetings"]

MEMORY_S = 1.0
"""So long after contact two people are compared."""
CERTAIN = 4.0
"""Their ids are exchanged if the looks since then speak for it by so many deviations in sum."""


@dataclass
class _Meeting:
    """Two people in contact: when they last were, and how much speaks for an exchange of ids."""

    last: float
    doubt: float = 0.0


class Meetings:
    """Who met whom in the last second, and what their looks have said since.

    Where people hide each other, place may give each the other's id. Single looks are uncertain,
    so what they say is summed up, as in Page's cumulative sum test (1954): looks that speak
    against an exchange count as well, but a sum below 0 is forgotten.
    """

    def __init__(self) -> None:
        self._meetings: dict[frozenset[Track], _Meeting] = {}

    def update(
        self, matched: Mapping[int, Track], tracks: Sequence[Track], people: People, now: float
    ) -> None:
        """Look at the people of a frame; two tracks at most exchange their ids and appearances.

        matched: row in people -> its track; tracks: everybody who is known.
        """
        rows = {track: row for row, track in matched.items() if track.id}
        self._note_contacts(rows, tracks, people, now)
        if not self._meetings:
            return
        met = list(frozenset.union(*self._meetings))
        looks = np.array([track.appearance for track in met])
        unlike = dict(zip(met, difference(looks, people.looks).tolist(), strict=True))
        for pair, meeting in self._meetings.items():
            one, other = pair
            gains = []
            for own, another in ((one, other), (other, one)):
                if own not in rows:
                    continue
                other_unlike = unlike[another][rows[own]]
                if another not in rows and not other_unlike <= RETURNED_DIFFERENCE:
                    other_unlike = math.nan  # the looks of a third person
                gains.append(unlike[own][rows[own]] - other_unlike)
            if not gains or math.isnan(sum(gains)):
                continue
            meeting.doubt = max(0.0, meeting.doubt + sum(gains) / len(gains))
            if meeting.doubt > CERTAIN:
                one.id, other.id = other.id, one.id
                one.appearance, other.appearance = other.appearance, one.appearance
                meeting.doubt = 0.0
                return

    def _note_contacts(
        self, rows: Mapping[Track, int], tracks: Sequence[Track], people: People, now: float
    ) -> None:
        """Note who overlaps whom, or the place where somebody was lost or should be by now."""
        seen = list(rows)
        own = [rows[track] for track in seen]
        pairs = [(seen, people.touching[own][:, own])]
        lost = [track for track in tracks if track.id and track not in rows]
        if lost:
            last = np.array([track.box for track in lost])
            places = np.concatenate([last, predicted_boxes(lost, now)])
            pairs.append(([*lost, *lost], box_iou(places, people.boxes[own]) > CONTACT_IOU))
        for others, contact in pairs:
            for index, column in np.argwhere(contact).tolist():
                pair = frozenset((others[index], seen[column]))
                self._meetings.setdefault(pair, _Meeting(now)).last = now
        known = set(tracks)
        self._meetings = {
            pair: meeting
            for pair, meeting in self._meetings.items()
            if now - meeting.last <= MEMORY_S and pair <= known
        }
