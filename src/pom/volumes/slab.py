"""The slab: the mean over neighbouring slices, as weights."""

import numpy as np
from numpy.typing import NDArray


def slab_weights(n_slices: int, z_sum: int, z_bin: int) -> NDArray[np.float32]:
    """What each slice of a volume counts in each preprocessed slice.

    The slab at z is the mean over the slices z - z_sum to z + z_sum that exist (clipped at top and bottom).
    A preprocessed slice is the mean over ``z_bin`` neighbouring slabs, the last one over those that exist.

    Args:
        n_slices: slices of the volume, at least 1.
        z_sum: slices on either side that belong to a slab, at least 0; may exceed the volume.
        z_bin: binning along z, at least 1.

    Returns:
        (ceil(n_slices / z_bin), n_slices) float32, zero outside a band, each row summing to 1. Its product with
        a volume (z, y, x) along z is the preprocessed volume, since means over slices and over pixels commute.
    """
    if n_slices < 1 or z_sum < 0 or z_bin < 1:
        raise ValueError(f"no slab over {n_slices} slices with z_sum {z_sum} and z_bin {z_bin}")
    weights = np.zeros((-(-n_slices // z_bin), n_slices), np.float64)
    for z in range(n_slices):
        k = z // z_bin
        n_binned = min((k + 1) * z_bin, n_slices) - k * z_bin
        bottom, top = max(z - z_sum, 0), min(z + z_sum + 1, n_slices)
        weights[k, bottom:top] += 1 / (n_binned * (top - bottom))
    return weights.astype(np.float32)
