from __future__ import annotations

import numpy as np
import pytest
from reliability import separation


def test_separation_by_hand() -> None:
    # Of six pairs (seen, occluded) five are in order and one is a tie, which counts half.
    found = separation(np.array([0.9, 0.5, 0.8]), np.array([0.5, 0.2]))
    assert found["auc"] == pytest.approx(5.5 / 6, abs=1e-4)
    # From 0.51 on two of three seen ones pass and no occluded one does: (2/3 + 1) / 2.
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2, abs=1e-4)
    assert 0.5 < found["threshold"] <= 0.8
