"""How alike compositions are.

The Hellinger distance of two compositions p and q, each of sum 1, is sqrt(1 - sum(sqrt(p q))): 0 where they are the
same, 1 where they have nothing in common. Unlike the Euclidean distance it minds the rare as well as the abundant, and
what both lack makes no two alike. (E. Hellinger, J. reine angew. Math. 136, 210-271, 1909; for compositions of samples
P. Legendre and E. D. Gallagher, Oecologia 129, 271-280, 2001.)
"""

import numpy as np
from numpy.typing import NDArray

BLOCK = 512
"""Rows that are compared with all others at a time."""


def distances_to(shares: NDArray[np.float64], row: int) -> NDArray[np.float64]:
    """The Hellinger distances of all compositions to one of them.

    Args:
        shares: (n, k), not negative, of any sum; NaN where not known. Of two compositions those parts count that are
            known of both.
        row: of the one.

    Returns:
        (n,), 0..1; NaN where two compositions have no part known of both, or nothing of them.
    """
    known = np.isfinite(shares) & np.isfinite(shares[row])
    # A float output may overshoot 0 a little.
    parts = np.maximum(shares, 0.0)
    others = np.where(known, parts, 0.0)
    one = np.where(known, parts[row], 0.0)
    return _distance(np.sqrt(others * one).sum(axis=1), others.sum(axis=1) * one.sum(axis=1))


def nearest_distances(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each composition the Hellinger distance to the nearest other.

    Args:
        shares: (n, k), as in ``distances_to``.

    Returns:
        (n,), 0..1; NaN where it can be compared with none.
    """
    known = np.isfinite(shares).astype(np.float64)
    filled = np.where(known > 0, np.maximum(shares, 0.0), 0.0)
    roots = np.sqrt(filled)
    nearest = np.full(len(shares), np.nan)
    for start in range(0, len(shares), BLOCK):
        rows = slice(start, min(start + BLOCK, len(shares)))
        # What one lacks must not count in the other's sum either.
        sums = (filled[rows] @ known.T) * (known[rows] @ filled.T)
        distances = _distance(roots[rows] @ roots.T, sums)
        distances[np.arange(rows.stop - start), np.arange(start, rows.stop)] = np.nan
        comparable = np.isfinite(distances).any(axis=1)
        nearest[rows][comparable] = np.nanmin(distances[comparable], axis=1)
    return nearest


def _distance(overlap: NDArray[np.float64], sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """The distance of compositions from the sum of roots of their products, and the product of their sums."""
    with np.errstate(invalid="ignore", divide="ignore"):
        affinity = np.where(sums > 0, overlap / np.sqrt(sums), np.nan)
    distance: NDArray[np.float64] = np.sqrt(np.clip(1.0 - affinity, 0.0, 1.0))
    return distance
