"""The segmentations of one tomogram as classes: of each voxel, which output is highest."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.volume_files import VolumeReader, look_into_stores, open_volume, read_segmentation
from pom.project.listing import list_files
from pom.project.names import UNKNOWN
from pom.project.paths import Project
from pom.volumes.normalise import full_scale

CHUNK_VOXELS = 1 << 23
"""Of one output that are read at a time."""


class Segmented:
    """Reads the outputs of the joint network in a tomogram; a context manager.

    Classes are 0..n - 1 for the n ontologies of the configuration and n for Unknown. An ontology is named where it is
    higher than all others and than Unknown; of ontologies equally high the first.

    Args:
        project: whose.
        name: the tomogram's.
        outputs: the files of other ontologies than the configuration's, and of Unknown, or files that lie elsewhere.

    Attributes:
        ontologies: in the order of their classes.
        readers: of the outputs, by ontology, and of Unknown.
        shape: (z, y, x).
        voxel_size: (z, y, x) in Angstrom, by the configuration along axes where the header has none.

    Raises:
        PomError: on opening, an output is missing, damaged, or of another shape than the others.
    """

    def __init__(self, project: Project, name: str, outputs: Mapping[str, Path] | None = None) -> None:
        if outputs is None:
            outputs = {title: project.output(name, title) for title in (*project.ontologies, UNKNOWN)}
        self.ontologies = tuple(title for title in outputs if title != UNKNOWN)
        with ExitStack() as files:
            self.readers: Mapping[str, VolumeReader] = {
                title: files.enter_context(open_volume(path)) for title, path in outputs.items()
            }
            first = self.readers[UNKNOWN].header
            for reader in self.readers.values():
                if reader.header.shape != first.shape:
                    raise PomError(
                        f"{reader.header.path} has the shape {reader.header.shape} but {first.path} has {first.shape}"
                        " (z, y, x): segment the tomogram again (pom shared process)."
                    )
            self._files = files.pop_all()
        self.shape = first.shape
        self.voxel_size = first.voxel_size_or(project.voxel_size(is_output=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def read(self, z_start: int, z_stop: int) -> NDArray[np.uint8]:
        """The classes of slices ``z_start`` to ``z_stop`` - 1, (z, y, x).

        Raises:
            PomError: an output cannot be read, or holds what no output of its type does.
        """
        highest = read_probability(self.readers[UNKNOWN], z_start, z_stop)
        classes = np.full(highest.shape, len(self.ontologies), np.uint8)
        for label, ontology in enumerate(self.ontologies):
            probability = read_probability(self.readers[ontology], z_start, z_stop)
            classes[probability > highest] = label
            np.maximum(highest, probability, out=highest)
        return classes

    def read_all(self) -> NDArray[np.uint8]:
        """All classes, (z, y, x); the outputs themselves are never in memory whole."""
        classes = np.empty(self.shape, np.uint8)
        for start, stop in chunks(self.shape):
            classes[start:stop] = self.read(start, stop)
        return classes


def list_outputs(folder: Path) -> frozenset[str]:
    """The names of the files in a folder of outputs, and those that the outputs in its OME-Zarrs go by.

    As ``look_through``; damaged OME-Zarrs hold nothing.
    """
    return look_through(folder)[0]


def look_through(folder: Path) -> tuple[frozenset[str], dict[str, str]]:
    """What ``list_outputs`` gives; and by the name of an OME-Zarr that is damaged, what is wrong with it.

    The folder is listed, and a look is taken into every OME-Zarr; no MRC file is opened.

    Raises:
        PomError: the folder cannot be read.
    """
    in_stores, damaged = look_into_stores(folder)
    return list_files(folder) | in_stores, damaged


def chunks(shape: tuple[int, int, int], multiple: int = 1) -> Iterator[tuple[int, int]]:
    """Divides the slices of a volume (z, y, x): (start, stop), of so many slices that ``multiple`` divides."""
    step = max(1, CHUNK_VOXELS // (shape[1] * shape[2] * multiple)) * multiple
    for start in range(0, shape[0], step):
        yield start, min(start + step, shape[0])


def read_probability(reader: VolumeReader, z_start: int, z_stop: int) -> NDArray[np.float32]:
    """Slices ``z_start`` to ``z_stop`` - 1 of a segmentation as 0..1, (z, y, x), whatever type they are stored in.

    Raises:
        PomError: the file cannot be read, or holds what no output of its type does.
    """
    stored = read_segmentation(reader, z_start, z_stop)
    probability = stored.astype(np.float32)
    if stored.dtype.kind != "f":
        probability /= np.float32(full_scale(stored.dtype))
    return probability
