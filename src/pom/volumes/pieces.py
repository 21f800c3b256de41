"""Where a mask is true, and in how many pieces."""

import numpy as np
from numpy.typing import NDArray


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


def _extent(line: NDArray[np.bool_] | np.bool_, margin: int) -> slice | None:
    places = np.flatnonzero(line)
    return slice(max(0, int(places[0]) - margin), int(places[-1]) + 1 + margin) if len(places) else None
