"""What lies in a folder of tomograms."""

import os
from dataclasses import dataclass
from pathlib import Path

from pom.errors import PomError
from pom.project.names import is_segmentation

TOMOGRAM = ".mrc"
ANNOTATION = ".scns"
NOT_READ = (".rec", ".mrc.gz", ".mrc.bz2", ".mrc.xz")
"""Endings of files that hold tomograms elsewhere; a person who puts them here expects them to count."""


@dataclass(frozen=True)
class Listing:
    """The files of a folder by what they are; stems, sorted. Hidden files are in none of the lists."""

    tomograms: tuple[str, ...] = ()
    segmentations: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    not_read: tuple[str, ...] = ()  # whole file names


def list_files(folder: Path) -> frozenset[str]:
    """The names of the files in a folder, without hidden ones and folders; empty where there is no folder.

    A link to a file that is gone is listed: whoever reads it then says so, and nothing is passed over in silence.

    Raises:
        PomError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.name[0] != "." and not entry.is_dir())
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        raise PomError(f"The folder {folder} cannot be read: {error.strerror or error}.") from error


def list_tomograms(folder: Path) -> Listing:
    """Sorts the files of a folder into tomograms, segmentations (``__`` in the stem) and annotations."""
    names = sorted(list_files(folder))
    volumes = [name.removesuffix(TOMOGRAM) for name in names if name.endswith(TOMOGRAM)]
    return Listing(
        tomograms=tuple(stem for stem in volumes if not is_segmentation(stem)),
        segmentations=tuple(stem for stem in volumes if is_segmentation(stem)),
        annotations=tuple(name.removesuffix(ANNOTATION) for name in names if name.endswith(ANNOTATION)),
        not_read=tuple(name for name in names if _expected_to_count(name)),
    )


def _expected_to_count(name: str) -> bool:
    """Whether a file looks like a tomogram but lacks the ending that is read: ``TS_001.MRC``, ``TS_001.rec``."""
    return not name.endswith(TOMOGRAM) and name.lower().endswith((TOMOGRAM, *NOT_READ))
