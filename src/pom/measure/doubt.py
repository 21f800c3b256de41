"""Where networks doubt: places in a slice that are neither yes nor no, or that two ontologies claim."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pom.volumes.binning import bin_mean

CELLS = 8
"""A window is moved by this part of its side."""


@dataclass(frozen=True)
class Doubt:
    """A window in a slice.

    Attributes:
        y, x: its centre, in pixels of the slice.
        score: 0..1; the mean over the window, see ``most_doubtful``.
        ontologies: the one that is doubted, or the two that contradict each other, by index.
    """

    y: float
    x: float
    score: float
    ontologies: tuple[int, ...]


def most_doubtful(probabilities: NDArray[np.float32], side: int) -> Doubt:
    """The square window of a slice in which there is most doubt.

    A pixel's doubt about one ontology is 1 at a probability of a half and 0 at 0 and 1. The contradiction in a pixel
    is 1 where two ontologies have the probability 1, and 0 where no two have more than a half. A window counts by the
    mean of the one or of the other.

    Args:
        probabilities: (ontology, y, x), 0..1.
        side: of the window, in pixels; it lies in the slice where it is not larger.

    Returns:
        The best window; of a doubt and a contradiction that are equal the contradiction.
    """
    cell = max(1, side // CELLS)
    n_cells = max(1, round(side / cell))
    claims = 2 * probabilities - 1  # -1 for no, 1 for yes
    doubts = _windows(1 - bin_mean(np.abs(claims), (cell, cell)), n_cells)
    index, row, column = np.unravel_index(int(doubts.argmax()), doubts.shape)
    best = float(doubts[index, row, column])
    found: tuple[int, ...] = (int(index),)
    if len(probabilities) > 1:
        second = _second(claims)
        contradictions = _windows(bin_mean(second, (cell, cell))[None], n_cells)[0]
        if contradictions.max() > 0 and contradictions.max() >= best:
            row, column = np.unravel_index(int(contradictions.argmax()), contradictions.shape)
            best = float(contradictions[row, column])
            rows, columns = (slice(k * cell, (k + n_cells) * cell) for k in (int(row), int(column)))
            window = (slice(None), rows, columns)
            disputed = (np.maximum(claims[window], 0) * (second[window[1:]] > 0)).sum(axis=(1, 2))
            found = tuple(sorted(int(k) for k in np.argsort(-disputed, kind="stable")[:2]))
    height, width = probabilities.shape[1:]
    y, x = (_centre(int(k), cell, n_cells, size) for k, size in ((row, height), (column, width)))
    return Doubt(y, x, min(best, 1.0), found)


def _second(claims: NDArray[np.float32]) -> NDArray[np.float32]:
    """The second highest claim of each pixel, but never below 0, (y, x)."""
    first, second = (np.zeros(claims.shape[1:], np.float32) for _ in range(2))
    for claim in claims:
        np.maximum(second, np.minimum(first, claim), out=second)
        np.maximum(first, claim, out=first)
    return second


def _windows(cells: NDArray[np.float32], n: int) -> NDArray[np.float64]:
    """Means over all windows of n x n cells, or as many as there are, (..., y, x)."""
    sums = cells.astype(np.float64)
    for axis in (-2, -1):
        size = min(n, sums.shape[axis])
        total = np.cumsum(sums, axis=axis)
        # the sum up to a window's end, less the sum up to its start
        ends = np.take(total, range(size - 1, total.shape[axis]), axis=axis)
        starts = np.take(total, range(total.shape[axis] - size), axis=axis)
        padding = [(0, 0)] * sums.ndim
        padding[axis] = (1, 0)
        sums = (ends - np.pad(starts, padding)) / size
    return sums


def _centre(first_cell: int, cell: int, n_cells: int, size: int) -> float:
    start, stop = first_cell * cell, min((first_cell + n_cells) * cell, size)
    return (start + stop) / 2
