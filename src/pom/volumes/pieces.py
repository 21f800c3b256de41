"""Where a mask is true, in how many pieces, and which of them are dust."""

import numpy as np
from numpy.typing import NDArray

FEW_LABELS = 4096
"""Up to so many pieces are counted a slice at a time; of more, several slices at a time."""
SLAB = 32
"""Slices in which ``PieceCounter`` looks for pieces at a time."""


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


class PieceCounter:
    """Measures the connected pieces of a mask that comes some slices at a time, from one end to the other.

    Pieces are as in ``label_pieces``. Memory grows with the size of a slice and the number of pieces, not with the
    number of slices.
    """

    def __init__(self) -> None:
        self._waiting: list[NDArray[np.bool_]] = []
        self._n_waiting = 0
        self._last: tuple[NDArray[np.bool_], NDArray[np.int64]] | None = None
        """The slice (y, x) before those that wait, and the numbers of the parts in it."""
        # Pieces are put together from parts, one or more a slab, which are numbered from 0 as they are found.
        self._sizes: list[NDArray[np.int64]] = []
        self._joined: list[NDArray[np.int64]] = []
        self._n_parts = 0

    def add(self, mask: NDArray[np.bool_]) -> None:
        """Takes the next slices, (z, y, x); they must not be changed afterwards."""
        self._waiting.append(mask)
        self._n_waiting += len(mask)
        if self._n_waiting >= SLAB:
            self._label()

    def sizes(self) -> NDArray[np.int64]:
        """The voxels of every piece of what was taken, in no particular order."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        self._label()
        if not self._n_parts:
            return np.zeros(0, np.int64)
        one, other = np.concatenate(self._joined, axis=1) if self._joined else np.zeros((2, 0), np.int64)
        graph = coo_array((np.ones(len(one), np.bool_), (one, other)), shape=(self._n_parts, self._n_parts))
        n, piece = connected_components(graph, directed=False)
        return np.bincount(piece, weights=np.concatenate(self._sizes), minlength=n).astype(np.int64)

    def _label(self) -> None:
        """Finds the parts in the slices that wait, together with the slice before them, where parts meet."""
        if not self._waiting:
            return
        before = [] if self._last is None else [self._last[0][None]]
        mask = np.concatenate([*before, *self._waiting])
        self._waiting, self._n_waiting = [], 0
        n_before = len(before)
        inside = bounding_box(mask)
        if inside is None:
            self._last = None
            return
        z, y, x = inside
        labels, n = label_pieces(mask[inside])
        n_known = max(0, n_before - z.start)  # of the labelled slices
        self._sizes.append(_sizes(labels[n_known:], n)[1:])
        if n_known and self._last is not None:
            there = mask[0, y, x]
            pairs = np.stack([self._last[1][y, x][there], labels[0][there].astype(np.int64) + (self._n_parts - 1)])
            # Runs of one pair are far fewer than voxels.
            changes = np.append(True, (pairs[:, 1:] != pairs[:, :-1]).any(axis=0))
            self._joined.append(pairs[:, changes])
        if z.stop < len(mask):
            self._last = None
        else:
            parts = np.full(mask.shape[1:], -1, np.int64)
            parts[y, x] = labels[-1].astype(np.int64) + (self._n_parts - 1)
            self._last = mask[-1], parts
        self._n_parts += n


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
