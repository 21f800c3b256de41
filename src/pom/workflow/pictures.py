"""What 'pom projections' and 'pom render' have in common: many tomograms, and what became of their pictures."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pom.errors import DiskError, PomError
from pom.jobs.side_by_side import side_by_side
from pom.progress import track
from pom.render.window import NoOpenGLError
from pom.words import counted

log = logging.getLogger(__name__)

Item = TypeVar("Item")


@dataclass(frozen=True)
class Drawn:
    """What became of the pictures of one tomogram.

    ``drawn`` and ``kept``: how many were made, and how many are as they were. ``missing``: the features that it has no
    segmentation of.
    """

    drawn: int = 0
    kept: int = 0
    missing: tuple[str, ...] = ()


@dataclass
class PictureReport:
    """What became of the pictures of all tomograms.

    ``missing``: in how many tomograms a feature has no segmentation. ``failed``: why, by the tomogram's name.
    """

    tomograms: int
    drawn: int = 0
    kept: int = 0
    missing: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)


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
    for item, came in track(side_by_side(work, items, processes, fatal=(DiskError, NoOpenGLError)), title, len(items)):
        if isinstance(came, PomError):
            log.warning("%s failed: %s", name_of(item), came)
            report.failed[name_of(item)] = str(came)
            continue
        report.drawn += came.drawn
        report.kept += came.kept
        report.missing.update(came.missing)
    for feature, count in sorted(report.missing.items()):
        log.warning("%s is left out of %s, which have no segmentation of it.", feature, counted(count, "tomogram"))
    return report
