"""How far the surfaces of what was named lie from those of what is there.

The mean is the average symmetric surface distance (Heimann et al., IEEE Transactions on Medical Imaging 28, 2009):
over the surface voxels of both, the distance to the nearest one of the other. The 95th percentile is the larger of
the two directions' (the robust Hausdorff distance of Taha and Hanbury, BMC Medical Imaging 15:29, 2015, and Nikolov
et al., Journal of Medical Internet Research 23:e26151, 2021).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

DECIMALS = 4
"""Of the distances, which so are few different ones; a thousandth of the smallest voxel is no news."""


@dataclass(frozen=True, eq=False)
class Spread:
    """A set of distances: the different ones, rising, (n,) float64, and how often each occurs, (n,) int64."""

    values: NDArray[np.float64]
    counts: NDArray[np.int64]

    def percentile(self, percent: float) -> float:
        """The smallest distance that at least so many percent do not exceed."""
        reached = np.cumsum(self.counts)
        return float(self.values[np.searchsorted(reached, percent / 100 * reached[-1])])


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Between two surfaces: from what was named to what is there, and back; in the unit of the voxel size."""

    to_truth: Spread
    to_prediction: Spread

    @property
    def mean(self) -> float:
        """The average symmetric surface distance."""
        both = (self.to_truth, self.to_prediction)
        distance = sum(float(spread.values @ spread.counts) for spread in both)
        return distance / sum(int(spread.counts.sum()) for spread in both)

    def percentile(self, percent: float) -> float:
        """The larger of the two directions' percentiles."""
        return max(self.to_truth.percentile(percent), self.to_prediction.percentile(percent))


def surface_distances(
    predicted: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    known: NDArray[np.bool_] | None,
    voxel_size: tuple[float, float, float],
) -> SurfaceDistances | None:
    """The distances between the surfaces of two masks.

    Args:
        predicted: (z, y, x), what was named.
        truth: (z, y, x), what is there.
        known: (z, y, x), where ``truth`` says something; without it everywhere.
        voxel_size: (z, y, x), in the unit that the distances come in.

    Returns:
        None where either mask has no surface.
    """
    from scipy.spatial import KDTree

    # Trees and not distance maps: these take 12 bytes or more for every voxel of the volume.
    points = [np.argwhere(surface(mask, known)) * np.asarray(voxel_size) for mask in (predicted, truth)]
    if not all(len(places) for places in points):
        return None
    trees = [KDTree(places) for places in points]
    return SurfaceDistances(
        to_truth=_spread(trees[1].query(points[0], workers=-1)[0]),
        to_prediction=_spread(trees[0].query(points[1], workers=-1)[0]),
    )


def surface(mask: NDArray[np.bool_], known: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """The voxels of a mask with a neighbour, across a face, outside of it.

    Where the volume ends nothing is known to be outside, so that what is cut off there has no surface there; the
    same holds towards voxels that are not ``known``.

    Args:
        mask: (z, y, x).
        known: (z, y, x); without it all are.

    Returns:
        (z, y, x).
    """
    inside = mask if known is None else mask | ~known
    surrounded = inside.copy()
    for axis in range(mask.ndim):
        target, source = np.moveaxis(surrounded, axis, 0), np.moveaxis(inside, axis, 0)
        target[1:] &= source[:-1]
        target[:-1] &= source[1:]
    found: NDArray[np.bool_] = mask & ~surrounded
    return found if known is None else found & known


def together(parts: Sequence[SurfaceDistances]) -> SurfaceDistances | None:
    """The distances of several volumes as one set; None where there are none."""
    if not parts:
        return None
    return SurfaceDistances(_merge([part.to_truth for part in parts]), _merge([part.to_prediction for part in parts]))


def _spread(distances: ArrayLike) -> Spread:
    values, counts = np.unique(np.asarray(distances, np.float64).round(DECIMALS), return_counts=True)
    return Spread(values, counts)


def _merge(spreads: Sequence[Spread]) -> Spread:
    values, places = np.unique(np.concatenate([spread.values for spread in spreads]), return_inverse=True)
    counts = np.zeros(len(values), np.int64)
    np.add.at(counts, places, np.concatenate([spread.counts for spread in spreads]))
    return Spread(values, counts)
