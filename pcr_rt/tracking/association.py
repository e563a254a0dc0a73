"""Which of the people found is which of those known: weighted OKS, likeness and assignment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.poses import Poses
from pcr_rt.skeleton import keypoint_similarity
from pcr_rt.tracking.appearance import difference
from pcr_rt.tracking.people import People, areas
from pcr_rt.tracking.track import SEARCH_S, Track, displacements, predicted_boxes

__all__ = ["assign", "cross_oks", "doubles", "match"]

Float = NDArray[np.floating[Any]]

TOLERANCE_S = 0.15
"""OKS's sigmas double when a person has not been seen for so long."""
MAX_TOLERANCE = 4.0
RETURNED_DIFFERENCE = 2.0
"""Who was away gets their id back only if they look no more different than this, in deviations."""
STRANGER_DIFFERENCE = 3.0
"""Who looks so different is somebody else, unless the joints lie where they are expected."""
EXPECTED_OKS = 0.5
DIFFERENCE_SCALE = 2.0
"""A person who looks so different counts by exp(-1/2); so does one of unknown appearance."""
LEAST_LIKENESS = 0.2
"""Joints decide first: appearance takes no more than this from their similarity."""
DUPLICATE_OKS = 0.6


def cross_oks(
    known: Float,
    known_scores: Float,
    found: Float,
    found_scores: Float,
    areas: Float,
    tolerance: Float,
    sigmas: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Give the OKS (n, m) of n known people with m found ones; keypoints count by their scores.

    known: (n, K, 2) and found: (m, K, 2) in frame pixels; their scores (n, K), (m, K); areas:
    (n, m) in square pixels; tolerance: (n,) factor on the sigmas (K,). A keypoint's weight is the
    product of its two scores; pairs without any weight have OKS 0.
    """
    spread = areas * tolerance[:, None] ** 2  # as if the sigmas were larger
    similarity = keypoint_similarity(known[:, None], found[None], spread, sigmas)
    weighted = np.einsum("nmk,nk,mk->nm", similarity, known_scores, found_scores)
    oks: NDArray[np.float64] = weighted / np.maximum(known_scores @ found_scores.T, 1e-9)
    return oks


def assign(similarity: Float, threshold: float) -> list[tuple[int, int]]:
    """List pairs (row, column) of a similarity (n, m), best first, each row and column once.

    Only pairs of at least ``threshold``; equal ones in row-major order.
    """
    pairs: list[tuple[int, int]] = []
    rows, columns = np.nonzero(similarity >= threshold)
    order = np.argsort(-similarity[rows, columns], kind="stable")
    used_rows: set[int] = set()
    used_columns: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in used_rows and column not in used_columns:
            used_rows.add(row)
            used_columns.add(column)
            pairs.append((row, column))
    return pairs


def doubles(poses: Poses, rows: Sequence[int], known: Sequence[int] = ()) -> list[int]:
    """List those of ``rows`` who show the person of an earlier one of them, or of ``known``.

    rows, known: row numbers in poses. Two tracks cannot be one person.
    """
    everybody = [*known, *rows]
    if not rows or len(everybody) < 2:
        return []
    keypoints, scores = poses.keypoints[everybody], poses.keypoint_scores[everybody]
    area = areas(poses.boxes[everybody])
    larger = np.maximum(area[:, None], area)
    tolerance, sigmas = np.ones(len(everybody)), poses.skeleton.sigma_array
    oks = cross_oks(keypoints, scores, keypoints, scores, larger, tolerance, sigmas).tolist()
    kept, dropped = list(range(len(known))), []
    for index, row in enumerate(rows, len(known)):
        if any(oks[index][other] > DUPLICATE_OKS for other in kept):
            dropped.append(row)
        else:
            kept.append(index)
    return dropped


def match(
    tracks: Sequence[Track],
    people: People,
    now: float,
    *,
    start_score: float,
    min_oks: float,
    camera_moves: bool = False,
) -> dict[int, Track]:
    """Find the track of each row of ``people`` that has one.

    The similarity of the joints to those predicted decides first; appearance speaks for one or
    the other of those near by. People sure enough to start a track come first, with everybody who
    is known, so that somebody who is back is not taken for their neighbour; then unsure ones, who
    only continue tracks that are being looked for; then those who are back where they were last
    seen; last, the tracks that nobody has been shown yet. Who walked out of the image must be back
    close to where they left, unless the camera moves.
    """
    poses = people.poses
    if not tracks or not len(poses):
        return {}
    gone = np.array([now - track.seen for track in tracks])
    lost = gone > SEARCH_S
    tolerance = np.minimum(1 + gone / TOLERANCE_S, MAX_TOLERANCE)
    if lost.any() and poses.image_size is not None and not camera_moves:
        # Near where somebody walked out, others come in.
        tolerance[lost & _outside(predicted_boxes(tracks, now), poses.image_size)] = 1
    last = np.array([track.keypoints for track in tracks])
    # The smaller one's area: people of other sizes are others.
    area = np.minimum(areas(np.array([t.box for t in tracks]))[:, None], areas(people.boxes))
    scores = np.array([track.keypoint_scores for track in tracks])

    def similarity(places: Float) -> Float:
        found = people.keypoints, people.keypoint_scores
        return cross_oks(places, scores, *found, area, tolerance, poses.skeleton.sigma_array)

    predicted = similarity(last + displacements(tracks, now)[:, None])
    # As of a density, the wider the lower: else a wide guess wins over a near neighbour.
    worth = _likeness(tracks, people, predicted, lost) * poses.scores / tolerance[:, None]
    shown = np.array([track.id > 0 for track in tracks])
    sure = people.present & (poses.scores >= start_score)
    stages = [(predicted, shown, sure), (predicted, shown & ~lost, people.present)]
    if lost.any():
        stages.append((similarity(last), lost, sure))
    stages.append((predicted, ~shown, sure))
    matched: dict[int, int] = {}
    value: dict[int, float] = {}
    for oks, known, found in stages:
        if len(matched) == len(poses):  # nobody is left
            break
        free = np.where(known[:, None] & found & (oks >= min_oks), oks * worth, 0)
        free[:, list(matched)] = 0
        free[list(matched.values())] = 0
        for index, row in assign(free, 1e-9):
            matched[row], value[row] = index, free[index, row]
    # Two regions may show one person; two of the detector's boxes have been through OKS-NMS.
    touching = [row for row in matched if people.contact[row]]
    best_first = sorted(touching, key=lambda row: -value[row])
    boxes = [row for row in best_first if row < people.from_detector]
    regions = [row for row in best_first if row >= people.from_detector]
    for row in doubles(poses, regions, boxes):
        del matched[row]
    return {row: tracks[index] for row, index in matched.items()}


def _outside(boxes: Float, image_size: tuple[int, int]) -> NDArray[np.bool_]:
    """Tell which boxes (n, 4) have their middle outside an image of (width, height)."""
    middles, last = (boxes[:, :2] + boxes[:, 2:]) / 2, np.array(image_size) - 1
    outside: NDArray[np.bool_] = np.any((middles < 0) | (middles > last), axis=1)
    return outside


def _likeness(
    tracks: Sequence[Track], people: People, predicted: Float, lost: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Factors (tracks, people) that say how well appearances agree."""
    unlike = difference(np.array([track.appearance for track in tracks]), people.looks)
    unlike[np.isnan(unlike)] = DIFFERENCE_SCALE
    likeness: NDArray[np.float64] = np.exp(-0.5 * (unlike / DIFFERENCE_SCALE) ** 2)
    likeness = likeness.clip(min=LEAST_LIKENESS)
    likeness[(unlike > STRANGER_DIFFERENCE) & (predicted < EXPECTED_OKS)] = 0
    likeness[lost[:, None] & (unlike > RETURNED_DIFFERENCE)] = 0
    return likeness
