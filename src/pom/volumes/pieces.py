"""Where a mask is true, in how many pieces, and which of them are dust."""

import numpy as np
from numpy.typing import NDArray

FEW_LABELS = 4096
"""Up to so many pieces are counted a slice at a time; of more, several slices at a time."""


def bounding_box(mask: NDArray[np.bool_], margin: int = 0) -> tuple[slice, slice, slice] | None:
    """The smallest box that holds all of a mask (z, y, x), and so many voxels more round it; None where it is empty.

    A margin may end beyond the mask, never before it.
    """
    z = _extent(mask.any(axis=(1, 2)), margin)
    if z is None:
        return None
    image = np.asarray(mask[z].any(axis=0))
    y, x = _extent(image.any(axis=1), margin), _extent(image.any(axis=0), margin)
    return None if y is None or x is None else (z, y, x)


def label_pieces(mask: NDArray[np.bool_]) -> tuple[NDArray[np.integer], int]:
    """Numbers the connected pieces of a mask (z, y, x); voxels that share a face, an edge or a corner are connected.

    Returns:
        Labels (z, y, x), 0 where the mask is false and 1 to n in the pieces, and n.
    """
    import cc3d

    # cc3d (4.1) makes too little room for the labels of a single line of voxels.
    is_line = sorted(mask.shape)[1] == 1
    room = np.pad(mask, ((0, 1), (0, 1), (0, 1))) if is_line else mask
    labels, n = cc3d.connected_components(room, connectivity=26, binary_image=True, return_N=True)
    return labels[tuple(slice(size) for size in mask.shape)], int(n)


def least_voxels(dust: float, voxel: float) -> float:
    """How many voxels a piece must have so as not to be dust.

    Args:
        dust: the volume from which on a piece counts, in nm^3.
        voxel: the volume of a voxel, in nm^3.
    """
    # A billionth less, since a piece may be exactly as large as what is dust.
    return dust / voxel * (1 - 1e-9)


def large_pieces(mask: NDArray[np.bool_], least: float) -> tuple[NDArray[np.integer], NDArray[np.bool_]]:
    """Numbers the connected pieces of a mask (z, y, x), and tells those of at least so many voxels.

    Returns:
        Labels as ``label_pieces`` gives them, and bool (n + 1,): whether the piece of each label is large; of label 0,
        which is no piece, false.
    """
    labels, n = label_pieces(mask)
    is_large = np.ones(n + 1, np.bool_) if least <= 1 else _sizes(labels, n) >= least
    is_large[0] = False
    return labels, is_large


def _sizes(labels: NDArray[np.integer], n: int) -> NDArray[np.int64]:
    """The voxels of labels 0 to ``n``."""
    sizes = np.zeros(n + 1, np.int64)
    step = 1 + n // FEW_LABELS
    for start in range(0, len(labels), step):
        # Runs of one label are far fewer than voxels.
        flat = labels[start : start + step].reshape(-1)
        ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]), flat.size - 1)
        lengths = np.diff(ends, prepend=-1)
        sizes += np.bincount(flat[ends], weights=lengths, minlength=n + 1).astype(np.int64)
    return sizes


def _extent(line: NDArray[np.bool_] | np.bool_, margin: int) -> slice | None:
    places = np.flatnonzero(line)
    return slice(max(0, int(places[0]) - margin), int(places[-1]) + 1 + margin) if len(places) else None
