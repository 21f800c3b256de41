"""Flat pictures of all tomograms: the density, and the segmentations as seen along z and along y."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.mrc import MrcReader
from pom.io.ome_zarr import CHUNK
from pom.io.volume_files import open_volume, stored_at
from pom.measure.composition import inner_slices, top_of
from pom.project.names import UNKNOWN
from pom.project.paths import Project
from pom.render.files import fingerprint, source, write_png
from pom.render.projections import count_voxels, density_picture, draw_counts
from pom.words import counted, listed
from pom.workflow.feature_volumes import feature_file
from pom.workflow.pictures import Drawing, Drawn, PictureReport, draw_all, pictured_tomograms
from pom.workflow.segmented import chunks

log = logging.getLogger(__name__)

FORM = 1
"""Of the pictures; a change makes all of them anew."""


@dataclass(frozen=True)
class Wanted:
    """A tomogram to draw. ``is_here``: in the folder of tomograms; otherwise only what is segmented can be drawn."""

    name: str
    is_here: bool


def draw_projections(project: Project, processes: int = 1, overwrite: bool = False) -> PictureReport:
    """Draws what is not drawn yet, or was drawn from files or settings that have changed since.

    Args:
        project: whose tomograms; of those that are not there, what is segmented is drawn.
        processes: so many at a time.
        overwrite: draw all anew.

    Raises:
        PomError: there are neither tomograms nor segmentations, or as ``draw_all``.
    """
    names, absent = pictured_tomograms(project, (*project.ontologies, UNKNOWN))
    if absent:
        log.warning(
            "%s not in %s, so that only what is segmented of %s is drawn, and no density: %s.",
            counted(len(absent), "tomogram is", "tomograms are"),
            project.tomogram_dir,
            "it" if len(absent) == 1 else "them",
            listed(sorted(absent)),
        )
    wanted = [Wanted(name, name not in absent) for name in names]
    return draw_all(
        partial(draw_tomogram, project, overwrite), wanted, lambda one: one.name, processes, "Projected tomograms"
    )


def draw_tomogram(project: Project, overwrite: bool, wanted: Wanted) -> Drawn:
    """Draws the density of a tomogram, and the ontologies and Unknown as far as they are segmented.

    Pictures of ontologies that are no longer segmented are removed, and those of volumes that cannot be read. That of
    the density stays where the tomogram itself is not there.

    Raises:
        PomError: a picture cannot be written.
    """
    drawing = Drawing(overwrite)
    if wanted.is_here:
        _add_density(drawing, project, wanted.name)
    _add_segmentations(drawing, project, wanted.name)
    return drawing.result()


def _add_density(drawing: Drawing, project: Project, name: str) -> None:
    settings, path = project.configuration, project.density_picture(name)
    made_from = fingerprint([FORM, settings.z_sum, settings.image_size], [source(project.tomogram(name))])

    def make() -> None:
        with MrcReader(project.tomogram(name)) as reader:
            n_slices = reader.header.shape[0]
            middle = n_slices // 2
            slab = reader.read(max(0, middle - settings.z_sum), min(n_slices, middle + settings.z_sum + 1))
        write_png(path, density_picture(slab, settings.image_size), made_from)

    drawing.draw([path], made_from, make)


def _add_segmentations(drawing: Drawing, project: Project, name: str) -> None:
    settings = project.configuration
    files = {ontology: feature_file(project, name, ontology) for ontology in (*project.ontologies, UNKNOWN)}
    pictures = {o: [project.projection(name, o, side=side) for side in (False, True)] for o in files}
    drawing.remove([path for ontology in files if files[ontology] is None for path in pictures[ontology]])
    there = {ontology: path for ontology, path in files.items() if path is not None}
    # Before anything is read: what is made again meanwhile may be drawn as it was, but never passes for the new.
    sources = {ontology: source(stored_at(path)) for ontology, path in there.items()}

    def made_from(ontologies: Iterable[str]) -> str:
        looks = [FORM, settings.z_margin_summary, settings.image_size]
        return fingerprint(looks, [sources[ontology] for ontology in ontologies])

    # All of a tomogram's belong together, since they are as bright as each other.
    if drawing.keep([path for ontology in there for path in pictures[ontology]], made_from(there)):
        return
    counts = {}
    for ontology, path in there.items():
        try:
            counts[ontology] = count_voxels(_chunks(path, settings.z_margin_summary))
        except PomError as error:
            drawing.fail(pictures[ontology], error)
    # Without those that cannot be read, so that all are drawn anew when these can be.
    readable = made_from(counts)

    def make() -> None:
        for side in (False, True):
            drawn = draw_counts({ontology: pair[side] for ontology, pair in counts.items()}, settings.image_size)
            for ontology, picture in drawn.items():
                write_png(pictures[ontology][side], picture, readable)

    drawing.draw([path for ontology in counts for path in pictures[ontology]], readable, make)


def _chunks(path: Path, margin: float) -> Iterator[NDArray[np.float32]]:
    """An output between its margins, some slices at a time: (z, y, x), 0..1.

    Raises:
        PomError: it cannot be read, or holds what no output does.
    """
    with open_volume(path) as reader:
        inner = first, last = inner_slices(reader.header.shape[0], margin)
        for start, stop in chunks(reader.header.shape, CHUNK[0]):
            if start < last and stop > first:
                stored = reader.read(max(start, first), min(stop, last))
                ends = float(stored.min()), float(stored.max())
                top = top_of(reader, inner, ends, may_be_mask=False)
                probability = stored.astype(np.float32)
                probability *= np.float32(1 / top)
                yield probability
