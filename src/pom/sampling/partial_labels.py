"""What the boxes say of every pixel: what it is, or what it is not."""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from pom.errors import PomError
from pom.sampling.patches import PatchSet

MOST_CLASSES = 64


def allowed_classes(patches: PatchSet, own: NDArray[np.int64], n_classes: int) -> NDArray[np.uint64]:
    """The classes that each pixel may be, by all boxes of its section together.

    In a box of an ontology a drawn pixel is that one, and another one is not. Where boxes of several ontologies
    overlap, or one lies in the surroundings of another, what all of them say holds. A pixel that was drawn as two
    ontologies may be either.

    Args:
        patches: n patches; those of a validation tomogram tell nothing of others, since sections do not overlap.
        own: (n,), the class of each patch's ontology.
        n_classes: how many there are.

    Returns:
        (n, y, x), bit k is set where class k is possible; all bits where nothing is known.

    Raises:
        PomError: there are too many classes.
    """
    if n_classes > MOST_CLASSES:
        raise PomError(
            f"'pom shared train --direct' knows at most {MOST_CLASSES - 1} ontologies, and the configuration has"
            f" {n_classes - 1}: use 'pom shared initialize' and 'pom shared train'."
        )
    sections: dict[tuple[str, int, bool], list[int]] = defaultdict(list)
    for index, (tomogram, corner) in enumerate(zip(patches.tomograms.tolist(), patches.corners, strict=True)):
        # Boxes of one tomogram may be divided between training and validation; neither tells the other.
        sections[tomogram, int(corner[0]), bool(patches.validation[index])].append(index)
    bits = np.uint64(1) << own.astype(np.uint64)
    everything = np.uint64(2**n_classes - 1)
    drawn, excluded = (np.zeros(patches.drawn.shape, np.uint64) for _ in range(2))
    for members in sections.values():
        for into in members:
            for teller in members:
                here, there = _overlap(patches, into, teller)
                boxed, is_drawn = patches.boxed[teller][there], patches.drawn[teller][there]
                drawn[into][here] |= np.where(boxed & is_drawn, bits[teller], np.uint64(0))
                excluded[into][here] |= np.where(boxed & ~is_drawn, bits[teller], np.uint64(0))
    return np.where(drawn != 0, drawn, everything & ~excluded)


def _overlap(patches: PatchSet, one: int, other: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The pixels that two patches of one section share, as slices into each."""
    side = patches.images.shape[2:]
    offset = (patches.corners[other] - patches.corners[one])[1:].tolist()
    here = tuple(slice(max(0, o), max(0, min(n, n + o))) for o, n in zip(offset, side, strict=True))
    there = tuple(slice(max(0, -o), max(0, min(n, n - o))) for o, n in zip(offset, side, strict=True))
    return (here[0], here[1]), (there[0], there[1])
