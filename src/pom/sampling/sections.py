"""What a person said of an ontology in each annotated slice, on the grid that the networks answer on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pom.io.scns import Feature
from pom.sampling.boxes import bin_drawn, tiles_of, whole_pixels


@dataclass(frozen=True, eq=False)
class Section:
    """One annotated slice: z before binning; drawn and boxed, (y, x) binned; nothing is drawn outside the boxes."""

    z: int
    drawn: NDArray[np.bool_]
    boxed: NDArray[np.bool_]


def annotated_sections(
    features: Sequence[Feature], full_shape: tuple[int, int, int], binning: tuple[int, int, int]
) -> Iterator[Section]:
    """The slices with a box of one ontology, rising, by the rules by which patches are cut.

    A binned pixel is drawn where at least half of it is, and boxed only where all of it lies in one box. Boxes that
    overlap count once.

    Args:
        features: of the ontology; usually one, but two can bear its title.
        full_shape: (z, y, x) of the tomogram, before binning.
        binning: (z, y, x).

    Yields:
        One section a slice; none where no whole binned pixel is boxed.
    """
    sections: dict[int, Section] = {}
    for feature in features:
        for z, boxed in _boxed(feature, full_shape, binning).items():
            section = sections.setdefault(z, Section(z, np.zeros_like(boxed), np.zeros_like(boxed)))
            section.boxed[boxed] = True
            if z in feature.slices:
                section.drawn[boxed & bin_drawn(feature.slices[z], binning)] = True
    return iter([sections[z] for z in sorted(sections)])


def _boxed(
    feature: Feature, full_shape: tuple[int, int, int], binning: tuple[int, int, int]
) -> dict[int, NDArray[np.bool_]]:
    """By slice, the binned pixels (y, x) in the boxes of a feature; slices without any are left out."""
    n_slices, height, width = full_shape
    rows, columns = -(-height // binning[1]), -(-width // binning[2])
    boxed: dict[int, NDArray[np.bool_]] = {}
    # Not by the size of a patch: the pieces of a large box would only be joined again.
    for tile in tiles_of(feature, feature.box_size, binning):
        if 0 <= tile.z < n_slices:
            y = whole_pixels(tile.y0, tile.y1, height, binning[1], 0, rows)
            x = whole_pixels(tile.x0, tile.x1, width, binning[2], 0, columns)
            if y.any() and x.any():
                boxed.setdefault(tile.z, np.zeros((rows, columns), np.bool_))[np.ix_(y, x)] = True
    return boxed
