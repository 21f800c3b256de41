"""Label volumes and masks that say what is where in a tomogram, on the grid of its segmentations."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.mrc import MrcHeader, MrcReader
from pom.measure.dice import majority_labels
from pom.project.listing import TOMOGRAM, list_files
from pom.project.names import SEPARATOR
from pom.volumes.normalise import segmentation_top
from pom.words import counted
from pom.workflow.segmented import chunks

log = logging.getLogger(__name__)

LABELS = "labels"
"""Stands in a label volume's file name where an ontology stands in a mask's."""
NOT_JUDGED = 255
"""In a label volume, as is any negative label: nobody says what is there."""


@dataclass
class TruthFiles:
    """What there is of one tomogram: a label volume, which goes first, or masks by ontology."""

    labels: Path | None = None
    masks: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Grid:
    """Where the segmentations of a tomogram lie.

    Attributes:
        shape: (z, y, x) of the segmentations.
        binning: (z, y, x) by which they are smaller than the tomogram.
        full_shape: (z, y, x) of the tomogram, where that is there.
    """

    shape: tuple[int, int, int]
    binning: tuple[int, int, int]
    full_shape: tuple[int, int, int] | None


@dataclass(frozen=True, eq=False)
class ClassTruth:
    """Of one class (0..n - 1 for the ontologies, n for Unknown): where it is, and where one knows; (z, y, x)."""

    label: int
    there: NDArray[np.bool_]
    known: NDArray[np.bool_] | None


def find_truths(folder: Path, ontologies: Sequence[str]) -> dict[str, TruthFiles]:
    """The truths in a folder by tomogram, sorted: ``NAME__labels.mrc``, ``NAME__Ontology.mrc``.

    Raises:
        PomError: there is no such folder, or nothing of the kind in it.
    """
    if not folder.is_dir():
        raise PomError(f"There is no folder {folder}: give --truth the folder with the label volumes.")
    truths: dict[str, TruthFiles] = {}
    strange = []
    for file in sorted(file for file in list_files(folder) if file.endswith(TOMOGRAM)):
        name, _, kind = file.removesuffix(TOMOGRAM).partition(SEPARATOR)
        if kind not in (LABELS, *ontologies):
            strange.append(file)
            continue
        truth = truths.setdefault(name, TruthFiles())
        if kind == LABELS:
            truth.labels = folder / file
        else:
            truth.masks[kind] = folder / file
    if not truths:
        raise PomError(
            f"{folder} holds no truth: put label volumes NAME{SEPARATOR}{LABELS}{TOMOGRAM} there, or masks such as"
            f" NAME{SEPARATOR}{ontologies[0]}{TOMOGRAM}, NAME being the tomogram's."
        )
    if strange:
        are = counted(len(strange), "file is", "files are")
        log.warning("%s: %s no truth, by the name, such as %s.", folder, are, strange[0])
    return truths


def read_truth(files: TruthFiles, ontologies: Sequence[str], grid: Grid) -> Iterator[ClassTruth]:
    """What is known of each class of one tomogram; one at a time, so that one mask is in memory.

    Of a label volume that is every class. Of masks it is each ontology that has one, and Unknown where all have.

    Raises:
        PomError: a file cannot be read, fits neither the segmentations nor the tomogram, or holds values that
            are none of its kind.
    """
    if files.labels is not None:
        yield from _of_labels(files.labels, len(ontologies), grid)
    else:
        yield from _of_masks(files.masks, ontologies, grid)


def _of_labels(path: Path, n_ontologies: int, grid: Grid) -> Iterator[ClassTruth]:
    not_judged = n_ontologies + 1

    def convert(chunk: NDArray[Any]) -> NDArray[np.uint8]:
        ignored = (chunk < 0) | (chunk == NOT_JUDGED)
        allowed = ignored | (chunk <= n_ontologies)  # NaN is neither
        if chunk.dtype.kind == "f":
            allowed &= chunk == np.rint(chunk)
        if not allowed.all():
            raise PomError(
                f"{path} holds the label {chunk[~allowed][0]:g}: labels are 0 for Unknown, 1 to {n_ontologies} for the"
                f" ontologies as the configuration lists them, and {NOT_JUDGED} or below 0 where nothing is judged."
            )
        return np.where(ignored, not_judged, chunk).astype(np.uint8)

    labels = _read(path, grid, convert, not_judged + 1)
    known = None if (labels != not_judged).all() else labels != not_judged
    for label in range(n_ontologies):
        yield ClassTruth(label, labels == label + 1, known)
    yield ClassTruth(n_ontologies, labels == 0, known)


def _of_masks(masks: Mapping[str, Path], ontologies: Sequence[str], grid: Grid) -> Iterator[ClassTruth]:
    claimed = np.zeros(grid.shape, np.bool_)
    for label, ontology in enumerate(ontologies):
        if ontology in masks:
            mask = _read_mask(masks[ontology], grid)
            claimed |= mask
            yield ClassTruth(label, mask, None)
    if len(masks) == len(ontologies):
        yield ClassTruth(len(ontologies), ~claimed, None)


def _read_mask(path: Path, grid: Grid) -> NDArray[np.bool_]:
    """Above half of what stands for 1: which that is takes a look at all values before."""
    with MrcReader(path) as reader:
        _binning_of(reader.header, grid)  # a wrong size is said before gigabytes are read
        dtype = reader.header.dtype
        parts = (reader.read(start, stop) for start, stop in chunks(reader.header.shape))
        ranges = np.array([(part.min(), part.max()) for part in parts], np.float64)
    low, high = float(ranges[:, 0].min()), float(ranges[:, 1].max())
    top = segmentation_top(dtype, low, high)
    if top is None:
        raise PomError(
            f"{path} has values from {low:g} to {high:g}, which a mask of {dtype.name} cannot have: save it as 0 and 1,"
            " as uint8 or uint16 from 0 to 255, int8 from 0 to 127, or float from 0 to 1."
        )
    return _read(path, grid, lambda chunk: (chunk > top / 2).astype(np.uint8), 2).view(np.bool_)


def _read(
    path: Path, grid: Grid, convert: Callable[[NDArray[Any]], NDArray[np.uint8]], n_labels: int
) -> NDArray[np.uint8]:
    """A volume as labels 0..``n_labels`` - 1 on the grid of the segmentations; of each bin the most frequent."""
    found = np.empty(grid.shape, np.uint8)
    with MrcReader(path) as reader:
        binning = _binning_of(reader.header, grid)
        for start, stop in chunks(reader.header.shape, multiple=binning[0]):
            labels = convert(reader.read(start, stop))
            if binning != (1, 1, 1):
                labels = majority_labels(labels, binning, n_labels)
            found[start // binning[0] : start // binning[0] + len(labels)] = labels
    return found


def _binning_of(header: MrcHeader, grid: Grid) -> tuple[int, int, int]:
    """The binning from a volume to the grid.

    Raises:
        PomError: it is of neither size.
    """
    if header.shape == grid.shape:
        return 1, 1, 1
    binned = tuple(-(-n // factor) for n, factor in zip(header.shape, grid.binning, strict=True))
    if binned == grid.shape and grid.full_shape in (None, header.shape):
        return grid.binning
    tomogram = f" and the tomogram {grid.full_shape}" if grid.full_shape else ""
    raise PomError(
        f"{header.path} has the shape {header.shape} (z, y, x), but the segmentations have {grid.shape}{tomogram}:"
        " give a truth of one of these sizes."
    )
