"""What of a tomogram and its segmentations goes into an OME-Zarr, whoever writes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pom.io.mrc import MrcReader, resolve_voxel_size
from pom.io.ome_zarr import Contents, write_ome_zarr
from pom.io.ome_zarr_metadata import Colour
from pom.project.names import UNKNOWN
from pom.project.paths import Project
from pom.volumes.pyramid import Factors
from pom.workflow.feature_library import complete_library, load_library
from pom.workflow.segmented import Segmented

UNBINNED = (1, 1, 1)


@dataclass(frozen=True)
class Form:
    """What a store holds.

    ``probabilities``: whether it holds the outputs themselves, and ``quantised``: then of float32 as uint8.
    ``density_bins``: (z, y, x) by which the image of the tomogram in it is binned.
    """

    probabilities: bool
    quantised: bool = True
    density_bins: Factors = UNBINNED


def write_store(
    project: Project, name: str, folder: Path, form: Form, made_from: Mapping[str, Any], outputs: Mapping[str, Path]
) -> None:
    """Writes a tomogram and its segmentations into an empty folder as OME-Zarr.

    In the label image 0 stands for Unknown, 1 for the first of the other outputs, and so on.

    Args:
        project: whose tomogram.
        name: the tomogram's.
        folder: where to; empty.
        form: what of them.
        made_from: what tells whether the store must be made again; JSON.
        outputs: the files of the ontologies, in the order of their labels, and of Unknown.

    Raises:
        PomError: a volume is missing or damaged, or the disk is full.
    """
    with MrcReader(project.tomogram(name)) as density, Segmented(project, name, outputs) as segmented:

        def labels(start: int, stop: int) -> NDArray[np.uint8]:
            classes = segmented.read(start, stop)
            return np.where(classes == len(segmented.ontologies), 0, classes + 1).astype(np.uint8)

        contents = Contents(
            name=name,
            density=density,
            voxel_size=resolve_voxel_size(density.header, project.configuration.apix),
            density_bins=form.density_bins,
            outputs=segmented.readers,
            output_voxel_size=segmented.voxel_size,
            labels=labels,
            titles=dict(enumerate((UNKNOWN, *segmented.ontologies))),
            colours=colours(project, list(outputs)),
            probabilities=form.probabilities,
            quantised=form.quantised,
            made_from=made_from,
        )
        write_ome_zarr(folder, contents)


def colours(project: Project, names: Sequence[str]) -> dict[str, Colour]:
    """The colours of outputs, as in the pictures: those of the project's feature library, or free ones."""
    library = complete_library(project, load_library(project), names)
    return {name: preset.colour for name in names if (preset := library.get(name)) is not None}
