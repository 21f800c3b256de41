"""What lies in a folder of tomograms."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pom.errors import PomError
from pom.project.names import SEPARATOR, is_segmentation, name_fault

TOMOGRAM = ".mrc"
ANNOTATION = ".scns"
NATIVE_ANNOTATION = ".annotation"
NOT_READ = (".rec", ".mrc.gz", ".mrc.bz2", ".mrc.xz")
"""Endings of files that hold tomograms elsewhere; a person who puts them here expects them to count."""


@dataclass(frozen=True)
class Listing:
    """What is in a folder, by what it is; stems, sorted. Hidden files are in none of the lists.

    ``annotations``: files of Ais; ``native_annotations``: folders of Pom's own. ``unusable``: tomograms and annotations
    that are in no other list, since no output could bear their name; ``not_read``: files of another ending. Of these
    two the whole names of the files.
    """

    tomograms: tuple[str, ...] = ()
    segmentations: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    native_annotations: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()
    not_read: tuple[str, ...] = ()


def list_files(folder: Path) -> frozenset[str]:
    """The names of the files in a folder, without hidden ones and folders; empty where there is no folder.

    A link to a file that is gone is listed: whoever reads it then says so, and nothing is passed over in silence.

    Raises:
        PomError: the folder cannot be read.
    """
    return frozenset(name for name, is_folder in _entries(folder) if not is_folder)


def list_folders(folder: Path) -> frozenset[str]:
    """The names of the folders in a folder, without hidden ones; empty where there is no folder.

    Raises:
        PomError: the folder cannot be read.
    """
    return frozenset(name for name, is_folder in _entries(folder) if is_folder)


def list_tomograms(folder: Path) -> Listing:
    """Sorts the files of a folder into tomograms, segmentations (``__`` in the stem) and annotations."""
    entries = sorted(_entries(folder))
    names = [name for name, is_folder in entries if not is_folder]
    folders = [name for name, is_folder in entries if is_folder]
    volumes = list(_stems(names, TOMOGRAM))
    tomograms = [stem for stem in volumes if not is_segmentation(stem)]
    annotations, native = list(_stems(names, ANNOTATION)), list(_stems(folders, NATIVE_ANNOTATION))
    found = ((tomograms, TOMOGRAM), (annotations, ANNOTATION), (native, NATIVE_ANNOTATION))
    unusable = {stem for stems, _ in found for stem in stems if not _is_usable(stem)}
    return Listing(
        tomograms=tuple(stem for stem in tomograms if stem not in unusable),
        segmentations=tuple(stem for stem in volumes if is_segmentation(stem)),
        annotations=tuple(stem for stem in annotations if stem not in unusable),
        native_annotations=tuple(stem for stem in native if stem not in unusable),
        unusable=tuple(stem + ending for stems, ending in found for stem in stems if stem in unusable),
        not_read=tuple(name for name in names if _expected_to_count(name)),
    )


def _entries(folder: Path) -> list[tuple[str, bool]]:
    """What is in a folder but hidden: the name, and whether it is a folder."""
    try:
        with os.scandir(folder) as entries:
            return [(entry.name, entry.is_dir()) for entry in entries if entry.name[0] != "."]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise PomError(f"The folder {folder} cannot be read: {error.strerror or error}.") from error


def _stems(names: Iterable[str], ending: str) -> Iterator[str]:
    return (name.removesuffix(ending) for name in names if name.endswith(ending))


def _is_usable(stem: str) -> bool:
    # Whether a name may hold what marks a segmentation is for others to say.
    return name_fault(stem.replace(SEPARATOR, "")) is None


def _expected_to_count(name: str) -> bool:
    """Whether a file looks like a tomogram but lacks the ending that is read: ``TS_001.MRC``, ``TS_001.rec``."""
    return not name.endswith(TOMOGRAM) and name.lower().endswith((TOMOGRAM, *NOT_READ))
