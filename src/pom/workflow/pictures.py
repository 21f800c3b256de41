"""What 'pom projections' and 'pom render' have in common: many tomograms, and what became of their pictures."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pom.errors import DiskError, PomError
from pom.jobs.side_by_side import side_by_side
from pom.progress import track
from pom.project.paths import Project
from pom.render.files import is_made_from, remove_picture
from pom.render.window import NoOpenGLError
from pom.words import counted
from pom.workflow.feature_volumes import feature_file, find_segmentations

log = logging.getLogger(__name__)

Item = TypeVar("Item")

FATAL = (DiskError, NoOpenGLError)
"""No other picture could be drawn either."""


@dataclass(frozen=True)
class Drawn:
    """What became of the pictures of one tomogram.

    ``drawn`` and ``kept``: how many were made, and how many are as they were. ``removed``: how many show what is no
    longer there, or as it was, or can no longer be drawn. ``missing``: the features that it has no segmentation of.
    ``fault``: why not all could be drawn; empty where they could.
    """

    drawn: int = 0
    kept: int = 0
    removed: int = 0
    missing: tuple[str, ...] = ()
    fault: str = ""


@dataclass
class PictureReport:
    """What became of the pictures of all tomograms.

    ``missing``: in how many tomograms a feature has no segmentation. ``failed``: why, by the tomogram's name.
    """

    tomograms: int
    drawn: int = 0
    kept: int = 0
    removed: int = 0
    missing: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)


def pictured_tomograms(project: Project, features: Collection[str]) -> tuple[list[str], set[str]]:
    """The tomograms to draw, sorted: those of the folder, and those of which only segmentations are here.

    Args:
        project: whose.
        features: of the project, that are to be drawn; segmentations of others do not count.

    Returns:
        All of them, and those of them that are not in the folder of tomograms.

    Raises:
        PomError: there is none, or a folder cannot be read.
    """
    here = project.tomogram_names()
    found, _ = find_segmentations(project, features)
    absent = {
        name
        for name in found.keys() - {*here}
        if any(feature_file(project, name, feature) is not None for feature in found[name])
    }
    return sorted([*here, *absent]) or project.listed_tomograms(), absent


def draw_all(
    work: Callable[[Item], Drawn], items: Sequence[Item], name_of: Callable[[Item], str], processes: int, title: str
) -> PictureReport:
    """Draws the pictures of all tomograms, and shows how far it is; a tomogram that fails does not stop the others.

    Args:
        work: as ``side_by_side`` takes it.
        items: one per tomogram.
        name_of: the tomogram of an item.
        processes: so many at a time.
        title: of the progress.

    Raises:
        PomError: a disk is full or read-only, or there is no OpenGL.
    """
    report = PictureReport(len(items))
    for item, came in track(side_by_side(work, items, processes, FATAL), title, len(items)):
        result = Drawn(fault=str(came)) if isinstance(came, PomError) else came
        if result.fault:
            log.warning("%s failed: %s", name_of(item), result.fault)
            report.failed[name_of(item)] = result.fault
        report.drawn += result.drawn
        report.kept += result.kept
        report.removed += result.removed
        report.missing.update(result.missing)
    for feature, count in sorted(report.missing.items()):
        where = counted(count, "tomogram, which has", "tomograms, which have")
        log.warning("%s is left out of %s no segmentation of it.", feature, where)
    if report.removed:
        removed = counted(report.removed, "picture was", "pictures were")
        log.warning("%s removed, of what is no longer there, has changed, or can no longer be drawn.", removed)
    return report


class Drawing:
    """Draws the pictures of one tomogram, and counts; where one fails, the others are drawn all the same.

    Args:
        overwrite: draw all anew.
    """

    def __init__(self, overwrite: bool) -> None:
        self._overwrite = overwrite
        self._drawn = self._kept = self._removed = 0
        self._fault = ""

    def draw(self, paths: Sequence[Path], made_from: str, make: Callable[[], None]) -> None:
        """Has pictures made together, unless all of them are there and are made from this already.

        Args:
            paths: of the pictures; where they cannot be made, older ones are removed.
            made_from: their fingerprint.
            make: writes them.

        Raises:
            PomError: of what would be no different for the next picture.
        """
        if self.keep(paths, made_from):
            return
        try:
            make()
        except FATAL:
            raise
        except PomError as error:
            self.fail(paths, error)
        else:
            self._drawn += len(paths)

    def keep(self, paths: Sequence[Path], made_from: str) -> bool:
        """Whether all of these are there and are made from this already; they are then counted as kept."""
        if self._overwrite or not all(is_made_from(path, made_from) for path in paths):
            return False
        self._kept += len(paths)
        return True

    def fail(self, paths: Sequence[Path], error: PomError) -> None:
        """Notes why these cannot be drawn, and removes older ones.

        Raises:
            PomError: one cannot be removed.
        """
        self._fault = self._fault or str(error)
        self.remove(paths)

    def remove(self, paths: Sequence[Path]) -> None:
        """Removes pictures of what is not there, or not as it is now; those that are not there either do not count.

        Raises:
            PomError: one cannot be removed.
        """
        self._removed += sum(remove_picture(path) for path in paths)

    def result(self, missing: tuple[str, ...] = ()) -> Drawn:
        """What became of them; ``missing`` as there."""
        return Drawn(self._drawn, self._kept, self._removed, missing, self._fault)
