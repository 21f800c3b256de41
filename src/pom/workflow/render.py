"""Three-dimensional pictures of all tomograms, a picture per composition."""

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.atomic import write_text
from pom.io.feature_library import FeatureLibrary, Preset, parse_ais_library
from pom.io.volume_files import stored_at
from pom.project.configuration import Configuration
from pom.project.names import UNKNOWN
from pom.project.paths import Project
from pom.project.render_configuration import (
    Composition,
    configuration_text,
    default_compositions,
    read_compositions,
)
from pom.render.camera import look_at_box
from pom.render.clouds import Cloud, coarse
from pom.render.files import fingerprint, is_made_from, source, write_movie, write_png
from pom.render.picture import Outlines, Scene, Solid, draw_scene, window_side
from pom.render.surfaces import Surface, surface
from pom.render.window import Window
from pom.words import counted, listed
from pom.workflow.atlas import Atlas
from pom.workflow.feature_library import complete_library, load_library
from pom.workflow.feature_volumes import FeatureVolume, feature_file, known_features, read_feature
from pom.workflow.pictures import Drawing, Drawn, PictureReport, draw_all

log = logging.getLogger(__name__)

FORM = 3
"""Of the pictures; a change makes all of them anew."""
FRAMES = 36
MOVIE_SIDE = 512
"""Pixels, at most."""
MOST_TRIANGLES = 2_500_000
"""Of a feature in a picture: noise has many more, of which none is seen."""
VOXELS_PER_PIXEL = 0.75
"""Along the longest side; of more, voxels are binned."""


@dataclass(frozen=True)
class Look:
    """What holds for all pictures."""

    project: Project
    library: FeatureLibrary
    """With a preset for each feature."""
    overwrite: bool = False
    spin: bool = False
    """Turning movies too."""


@dataclass(frozen=True)
class Wanted:
    """The pictures of one tomogram: by composition, its features."""

    name: str
    features: Mapping[str, tuple[str, ...]]


def render(
    project: Project,
    names: Sequence[str],
    compositions: Sequence[Composition],
    library: FeatureLibrary,
    processes: int = 1,
    overwrite: bool = False,
    spin: bool = False,
) -> PictureReport:
    """Draws what is not drawn yet, or was drawn from files or settings that have changed since.

    Args:
        project: whose configuration says how.
        names: of the tomograms.
        compositions: a picture each.
        library: how the features look; those that it lacks get colours of their own.
        processes: so many at a time.
        overwrite: draw all anew.
        spin: draw turning movies too.

    Raises:
        PomError: a composition goes by ranks, and nothing was summarised.
    """
    look = Look(project, complete_library(project, library), overwrite, spin)
    # Mesa would have each of the processes use all cores.
    os.environ.setdefault("LP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    wanted = _wanted(project, names, compositions)
    return draw_all(partial(render_tomogram, look), wanted, lambda one: one.name, processes, "Rendered tomograms")


def project_compositions(project: Project, path: Path | None = None) -> tuple[Composition, ...]:
    """The compositions in a file; without one in the project's, or where there is none either, the usual ones.

    Raises:
        PomError: the file cannot be read, or has a fault.
    """
    if path is None and not project.render_configuration.exists():
        return default_compositions(project.configuration.macromolecules)
    return read_compositions(path or project.render_configuration)


def save_compositions(project: Project, compositions: Sequence[Composition]) -> None:
    """Writes the project's compositions, whole or not at all.

    Raises:
        PomError: the file cannot be written, or ``read_compositions`` would not take it.
    """
    path = project.render_configuration
    write_text(path, configuration_text(path, compositions))


def project_library(project: Project, path: Path | None = None) -> FeatureLibrary:
    """The feature library in a file of Ais; without one the project's.

    Raises:
        PomError: the file cannot be read, or has a fault.
    """
    if path is None:
        return load_library(project)
    try:
        return parse_ais_library(path.read_bytes(), str(path))
    except OSError as error:
        raise PomError(
            f"{path} cannot be read ({error.strerror or error}): check the feature library's path."
        ) from error


def render_tomogram(look: Look, wanted: Wanted) -> Drawn:
    """Draws the pictures of one tomogram; each volume is read once, and once more for movies of another size.

    Pictures of which nothing is there any more are removed, those that can no longer be drawn, and movies of what has
    changed, where none are asked for.

    Raises:
        PomError: there is no OpenGL, or a picture cannot be written.
    """
    project, name = look.project, wanted.name
    side = project.configuration.image_size
    shown = {feature for features in wanted.features.values() for feature in features if not _hidden(look, feature)}
    files = {feature: feature_file(project, name, feature) for feature in sorted(shown)}
    # Of what the project does not have, no tomogram could have a segmentation.
    missing = tuple(f for f, path in files.items() if path is None and f in known_features(project))
    # Before anything is read: what is made again meanwhile may be drawn as it was, but never passes for the new.
    sources = {feature: source(stored_at(path)) for feature, path in files.items() if path is not None}
    studio, drawing = Studio(project, name), Drawing(look.overwrite)
    for composition, features in wanted.features.items():
        presets = [look.library.get(feature) for feature in features if feature in sources]
        there = [preset for preset in presets if preset is not None]
        picture, movie = project.picture(name, composition), project.movie(name, composition)
        if not there:
            drawing.remove([picture, movie])
            continue
        made_from = fingerprint(_settings(project.configuration, there), [sources[p.title] for p in there])
        drawing.draw([picture], made_from, partial(_draw_picture, studio, there, side, picture, made_from))
        if look.spin:
            small = min(side, MOVIE_SIDE)
            drawing.draw([movie], made_from, partial(_draw_movie, studio, there, small, movie, made_from))
        elif not is_made_from(movie, made_from):
            drawing.remove([movie])  # beside a new picture it would pass for as new
    return drawing.result(missing)


def render_picture(
    project: Project, name: str, features: Sequence[str], library: FeatureLibrary, side: int
) -> NDArray[np.uint8]:
    """Draws one picture and writes nothing; for a look at settings.

    Args:
        project: whose configuration says how.
        name: of the tomogram.
        features: what to show; those that are hidden, or not there, are left out.
        library: how they look.
        side: pixels.

    Returns:
        (side, side, 3), from the top; white where none of the features is there.

    Raises:
        PomError: a volume is damaged, or there is no OpenGL.
    """
    complete = complete_library(project, library)
    presets = [complete.get(feature) for feature in features]
    there = [p for p in presets if p is not None and not p.hide and feature_file(project, name, p.title) is not None]
    if not there:
        return np.full((side, side, 3), 255, np.uint8)
    return Studio(project, name).picture(there, side)


def feature_surface(project: Project, name: str, preset: Preset, max_triangles: int | None = None) -> Surface:
    """The surface of a feature in a tomogram, in nm from the tomogram's first corner.

    Args:
        project: whose.
        name: of the tomogram.
        preset: of the feature; its level and dust count.
        max_triangles: so many at most.

    Raises:
        PomError: there is no segmentation, or it is damaged.
    """
    return _surface(read_feature(project, name, preset.title), preset, max_triangles)


@dataclass(frozen=True)
class _Made:
    """What is drawn of a feature, and what of the tomogram its volume fills."""

    drawable: Solid | Cloud
    size: NDArray[np.float64]
    """(x, y, z) in nm."""
    bottom: float
    """Where it begins along z, in nm."""


class Studio:
    """Draws pictures of one tomogram; the surfaces and clouds that it has made it keeps for the next."""

    def __init__(self, project: Project, name: str) -> None:
        self._project = project
        self._name = name
        self._made: dict[tuple[str, int], _Made] = {}

    def picture(self, presets: Sequence[Preset], side: int) -> NDArray[np.uint8]:
        """(side, side, 3), of the features of these presets."""
        scene, settings = self._scene(presets, side), self._project.configuration
        camera = look_at_box(scene.size, settings.camera_pitch, settings.camera_yaw)
        return draw_scene(_window(window_side(side)), scene, camera, side)

    def turning(self, presets: Sequence[Preset], side: int) -> list[NDArray[np.uint8]]:
        """The pictures of one turn about z, of which the first is as ``picture`` would have it, but farther off."""
        scene, settings = self._scene(presets, side), self._project.configuration
        turns = [360 * number / FRAMES for number in range(FRAMES)]
        aim = partial(look_at_box, scene.size, settings.camera_pitch, settings.camera_yaw, turns=turns)
        return [draw_scene(_window(window_side(side)), scene, aim(turn=turn), side) for turn in turns]

    def _scene(self, presets: Sequence[Preset], side: int) -> Scene:
        settings = self._project.configuration
        each = [self._make(preset, side) for preset in presets]
        made = [one.drawable for one in each]
        # All of them: macromolecules and outputs, binned differently, do not end at quite the same slice.
        bottom = min(one.bottom for one in each)
        size = np.max([one.size + np.array([0, 0, one.bottom - bottom]) for one in each], axis=0)
        solids = [
            Solid(one.surface.moved((0.0, 0.0, -bottom)), one.colour, one.alpha)
            for one in made
            if isinstance(one, Solid)
        ]
        clouds = [one for one in made if isinstance(one, Cloud)]
        if len({cloud.probability.shape for cloud in clouds}) > 1:
            titles = [preset.title for preset, one in zip(presets, made, strict=True) if isinstance(one, Cloud)]
            raise PomError(
                f"The outputs of {self._name} are of different shapes ({listed(titles)}), so that they cannot be drawn"
                " as clouds together: segment the tomogram again (pom shared process --overwrite)."
            )
        within = next((one for one in each if isinstance(one.drawable, Cloud)), each[0])
        part = (np.array([0.0, 0.0, within.bottom - bottom]), within.size)
        edges = Outlines(settings.silhouette_alpha, settings.silhouette_threshold)
        return Scene(size, solids, clouds, edges, part)

    def _make(self, preset: Preset, side: int) -> _Made:
        key = (preset.title, side)
        if key not in self._made:
            volume = read_feature(self._project, self._name, preset.title)
            self._made[key] = _Made(self._drawable(volume, preset, side), volume.size, volume.bottom)
        return self._made[key]

    def _drawable(self, volume: FeatureVolume, preset: Preset, side: int) -> Solid | Cloud:
        outputs = (*self._project.ontologies, UNKNOWN)
        if self._project.configuration.raytraced_ontologies and preset.title in outputs:
            return Cloud(coarse(volume.probability), preset.colour, preset.render_alpha, preset.level)
        binning = max(1, int(max(volume.probability.shape) / (VOXELS_PER_PIXEL * side)))
        return Solid(_surface(volume, preset, MOST_TRIANGLES, binning), preset.colour, preset.render_alpha)


def _draw_picture(studio: Studio, presets: Sequence[Preset], side: int, path: Path, made_from: str) -> None:
    write_png(path, studio.picture(presets, side), made_from)


def _draw_movie(studio: Studio, presets: Sequence[Preset], side: int, path: Path, made_from: str) -> None:
    write_movie(path, studio.turning(presets, side), made_from)


def _surface(volume: FeatureVolume, preset: Preset, max_triangles: int | None, binning: int = 1) -> Surface:
    made = surface(volume.probability, preset.level, preset.dust, volume.voxel_size, max_triangles, binning)
    return made.moved((0.0, 0.0, volume.bottom))


@lru_cache(maxsize=2)
def _window(side: int) -> Window:
    """One of each size for all pictures of a process: to open one takes longer than to draw in it."""
    return Window(side)


def _hidden(look: Look, feature: str) -> bool:
    preset = look.library.get(feature)
    return preset is not None and preset.hide


def _settings(configuration: Configuration, presets: Sequence[Preset]) -> list[object]:
    """What a picture depends on beside the volumes."""
    features = [[p.title, p.colour, p.level, p.dust, p.render_alpha] for p in presets]
    c = configuration
    return [
        FORM, features, c.image_size, c.camera_pitch, c.camera_yaw, c.z_margin_summary, c.raytraced_ontologies,
        c.silhouette_alpha, c.silhouette_threshold, c.apix, c.binning,
    ]  # fmt: skip


def _wanted(project: Project, names: Sequence[str], compositions: Sequence[Composition]) -> list[Wanted]:
    atlas = Atlas(project)
    by_rank = [composition.name for composition in compositions if composition.has_ranks]
    if by_rank:
        summarised = set(atlas.table().index)
        if not summarised:
            raise PomError(
                f"{by_rank[0]!r} shows the most abundant ontologies, and nothing was summarised yet: run 'pom"
                " summarize' first."
            )
        without = [name for name in names if name not in summarised]
        if without:
            log.warning(
                "%s in the summary, so that there are no pictures by rank of it: %s; 'pom summarize' adds them.",
                counted(len(without), "tomogram is not", "tomograms are not"),
                listed(without),
            )
    return [Wanted(name, {c.name: c.features(partial(_ranked, atlas, name)) for c in compositions}) for name in names]


def _ranked(atlas: Atlas, name: str, without: Collection[str]) -> list[str]:
    return atlas.ranked(name, without)
