"""Flat pictures of all tomograms: the density, and the segmentations as seen along z and along y."""

from functools import partial

from pom.io.mrc import MrcReader
from pom.io.volume_files import stored_at
from pom.project.names import UNKNOWN
from pom.project.paths import Project
from pom.render.files import fingerprint, is_made_from, write_png
from pom.render.projections import count_voxels, density_picture, draw_counts
from pom.workflow.feature_volumes import feature_file, read_feature
from pom.workflow.pictures import Drawn, PictureReport, draw_all

FORM = 1
"""Of the pictures; a change makes all of them anew."""


def draw_projections(project: Project, processes: int = 1, overwrite: bool = False) -> PictureReport:
    """Draws what is not drawn yet, or was drawn from files or settings that have changed since.

    Args:
        project: whose tomograms.
        processes: so many at a time.
        overwrite: draw all anew.
    """
    names = project.tomogram_names()
    work = partial(draw_tomogram, project, overwrite)
    return draw_all(work, names, lambda name: name, processes, "Projected tomograms")


def draw_tomogram(project: Project, overwrite: bool, name: str) -> Drawn:
    """Draws the density of a tomogram, and the ontologies and Unknown as far as they are segmented.

    Raises:
        PomError: a volume is damaged, or a picture cannot be written.
    """
    density = _draw_density(project, overwrite, name)
    segmented = _draw_segmentations(project, overwrite, name)
    return Drawn(density.drawn + segmented.drawn, density.kept + segmented.kept)


def _draw_density(project: Project, overwrite: bool, name: str) -> Drawn:
    settings, path = project.configuration, project.density_picture(name)
    source = project.tomogram(name)
    made_from = fingerprint([FORM, settings.z_sum, settings.image_size], [source])
    if not overwrite and is_made_from(path, made_from):
        return Drawn(kept=1)
    with MrcReader(source) as reader:
        n_slices = reader.header.shape[0]
        middle = n_slices // 2
        slab = reader.read(max(0, middle - settings.z_sum), min(n_slices, middle + settings.z_sum + 1))
    write_png(path, density_picture(slab, settings.image_size), made_from)
    return Drawn(drawn=1)


def _draw_segmentations(project: Project, overwrite: bool, name: str) -> Drawn:
    settings = project.configuration
    files = {ontology: feature_file(project, name, ontology) for ontology in (*project.ontologies, UNKNOWN)}
    sources = {ontology: stored_at(path) for ontology, path in files.items() if path is not None}
    # All of a tomogram's are made together, since they are as bright as each other.
    made_from = fingerprint([FORM, settings.z_margin_summary, settings.image_size], list(sources.values()))
    pictures = {(o, side): project.projection(name, o, side=side) for o in sources for side in (False, True)}
    if not overwrite and all(is_made_from(path, made_from) for path in pictures.values()):
        return Drawn(kept=len(pictures))
    counts = {ontology: count_voxels(read_feature(project, name, ontology).probability) for ontology in sources}
    for side in (False, True):
        drawn = draw_counts({ontology: pair[side] for ontology, pair in counts.items()}, settings.image_size)
        for ontology, picture in drawn.items():
            write_png(pictures[ontology, side], picture, made_from)
    return Drawn(drawn=len(pictures))
