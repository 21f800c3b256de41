"""The kinds of pictures that a project has."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pom.project.listing import list_folders
from pom.project.names import DENSITY_PICTURES, PROJECTION, UNKNOWN, name_fault
from pom.project.paths import Project

SIDE = "_side"


@dataclass(frozen=True)
class Kind:
    """One kind of picture.

    ``id``: what it goes by in addresses. ``path``: its file, by the tomogram's name. ``upright``: whether the file has
    the row at y = 0 on top, so that it is turned over for the screen, where y grows upwards.
    """

    id: str
    title: str
    path: Callable[[str], Path]
    upright: bool = False


def kinds_of(project: Project, compositions: Sequence[str]) -> dict[str, Kind]:
    """The kinds of which there is a folder, by their id.

    Compositions come first, those of ``gallery_categories`` in its order; then the density; then the projections in the
    order of the ontologies; then other folders, such as that of a composition which bore another name. A folder that
    could not be a composition's is passed over, such as that of the projections of an ontology that is no more.

    Args:
        project: the project.
        compositions: the names of those that it has now.
    """
    folders = {each for each in list_folders(project.image_dir) if name_fault(each) is None}
    drawn = {each for each in folders if each != DENSITY_PICTURES and not each.endswith(PROJECTION)}
    wanted = dict.fromkeys((*project.configuration.gallery_categories, *compositions))
    first = [each for each in wanted if each in drawn]
    kinds = [_composition(project, each) for each in first]
    if DENSITY_PICTURES in folders:
        kinds.append(Kind(DENSITY_PICTURES, "Density", project.density_picture, upright=True))
    for ontology in (*project.ontologies, UNKNOWN):
        if f"{ontology}{PROJECTION}" in folders:
            kinds += _projections(project, ontology)
    kinds += [_composition(project, each) for each in sorted(drawn.difference(first))]
    return {kind.id: kind for kind in kinds}


def _composition(project: Project, title: str) -> Kind:
    return Kind(title, title, lambda name: project.picture(name, title))


def _projections(project: Project, ontology: str) -> tuple[Kind, Kind]:
    plain = Kind(
        f"{ontology}{PROJECTION}", f"{ontology}, along z", lambda name: project.projection(name, ontology), upright=True
    )
    side = Kind(
        f"{ontology}{PROJECTION}{SIDE}", f"{ontology}, along y",
        lambda name: project.projection(name, ontology, side=True), upright=True,
    )  # fmt: skip
    return plain, side
