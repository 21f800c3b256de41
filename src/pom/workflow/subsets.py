"""Lists of tomograms: kept in the project, taken from other programs' files, and handed to other programs.

A list is a text file in the project's folder ``subsets``, a tomogram's name a line.
"""

import contextlib
import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pom.errors import PomError
from pom.io.atomic import atomic_path, write_error, write_text
from pom.io.stamps import file_stamp
from pom.io.star import read_star_column, write_star
from pom.io.summary_files import TOMOGRAM, read_table
from pom.jobs.ledger import Ledger
from pom.project.listing import list_files, list_tomograms
from pom.project.names import SEPARATOR, did_you_mean, name_fault
from pom.project.paths import SUMMARY_STEP, Project

Form = Literal["names", "paths", "tomostar", "csv", "star"]
ENDING = ".txt"
LARGEST_LIST = 64 << 20
"""Bytes; a STAR file of a million particles, of which the tomograms are taken, may have as many."""
ENDINGS = (".tomostar", ".mrc", ".rec", ".st", ".xml", ".scns", ".annotation", ".ome.zarr")
WARP_PIXEL_SIZE = re.compile(r"_\d+\.\d+Apx$")
"""Warp adds this to a tilt series' name where it names a reconstruction."""
TOMOSTAR_FOLDER = "tomostar"
"""As the guide of WarpTools calls it. WarpTools looks from where it is run, and fails at names without a folder."""
STAR_COLUMNS = ("rlnTomoName", "wrpTomoName", "wrpSourceName", "rlnMicrographName", "rlnTomoReconstructedTomogram")


@dataclass(frozen=True)
class Subset:
    """A list of tomograms.

    Attributes:
        names: those that the project has, in the list's order.
        unknown: what else is on the list.
    """

    names: tuple[str, ...]
    unknown: tuple[str, ...] = ()


def list_subsets(project: Project) -> list[str]:
    """The titles of the project's lists, sorted; a file that bears no possible title is none of them."""
    titles = (file.removesuffix(ENDING) for file in list_files(project.subsets) if file.endswith(ENDING))
    return sorted((title for title in titles if name_fault(title) is None), key=str.casefold)


def subset_names(project: Project, title: str) -> tuple[str, ...]:
    """What is on a list, whether the project has such tomograms or not.

    Raises:
        PomError: there is no such list, or it cannot be read.
    """
    _check_there(project, title)
    lines = _text(project.subset(title)).splitlines()
    return tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))


def write_subset(project: Project, title: str, names: Iterable[str]) -> Path:
    """Writes a list, in place of an older one of that title; a name that comes twice is written once.

    Returns:
        The file.

    Raises:
        PomError: the title or a name cannot be like this, or the file cannot be written.
    """
    fault = name_fault(title)
    if fault is not None:
        raise PomError(f"The title of a subset {fault}: choose another.")
    once = list(dict.fromkeys(names))
    for name in once:
        if not name.strip() or len(name.splitlines()) != 1:
            raise PomError(f"{name!r} is no name of a tomogram: leave it out of the subset.")
    path = project.subset(title)
    write_text(path, "".join(f"{name}\n" for name in once))
    return path


def remove_subset(project: Project, title: str) -> None:
    """Removes a list; the tomograms stay.

    Raises:
        PomError: there is no such list, or it cannot be removed.
    """
    _check_there(project, title)
    path = project.subset(title)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(path, error) from error


def import_names(project: Project, path: Path) -> Subset:
    """The tomograms that a file of another program names, each once.

    Args:
        project: whose tomograms.
        path: ``.star`` (a table of tomograms or of particles), ``.csv`` or ``.tsv`` (the column Tomogram, or else the
            first), ``.json`` (a subset of the published Pom) or a text with a name or path a line. Endings such as
            ``.mrc`` and ``.tomostar`` do not count, nor does a pixel size that Warp adds (``_10.00Apx``).

    Raises:
        PomError: the file cannot be read, or names no tomogram at all.
    """
    found = READERS.get(path.suffix.lower(), _from_text)(path)
    if not found:
        raise PomError(f"{path} names no tomogram: give a file with a name a line, a CSV, or a STAR file.")
    return _sorted_out(project, found)


def export_subset(project: Project, title: str, path: Path, form: Form) -> None:
    """Writes a list in a form that another program takes.

    Args:
        project: whose list.
        title: of the list.
        path: of the file to write.
        form: "names": a name a line. "paths": the tomogram's absolute path a line, for Ais and easymode. "tomostar":
            ``tomostar/NAME.tomostar`` a line, for ``--input_data`` of WarpTools; a pixel size that Warp added goes.
            "csv": the rows of the summary. "star": a table of names and paths.

    Raises:
        PomError: there is no such list, or the file cannot be written.
    """
    names = subset_names(project, title)
    paths = [str(project.tomogram(name).absolute()) for name in names]
    if form == "csv":
        _write_csv(project, names, path)
    elif form == "star":
        write_star(path, "global", {"rlnTomoName": names, "rlnTomoReconstructedTomogram": paths})
    else:
        tilt_series = (f"{TOMOSTAR_FOLDER}/{WARP_PIXEL_SIZE.sub('', name)}.tomostar" for name in names)
        lines = {"names": names, "paths": paths, "tomostar": tilt_series}[form]
        write_text(path, "".join(f"{line}\n" for line in lines))


def _check_there(project: Project, title: str) -> None:
    # The title comes from a URL: it must not lead out of the folder.
    if name_fault(title) is None and project.subset(title).is_file():
        return
    hint = did_you_mean(title, list_subsets(project))
    raise PomError(f"There is no subset {title!r}{hint} in {project.subsets}.")


def _sorted_out(project: Project, found: Iterable[str]) -> Subset:
    known = _known(project)
    by_tilt_series = {WARP_PIXEL_SIZE.sub("", name): name for name in sorted(known, reverse=True)}
    names: dict[str, None] = {}
    unknown: dict[str, None] = {}
    for entry in found:
        meant = ((form, by_tilt_series.get(WARP_PIXEL_SIZE.sub("", form))) for form in _forms(entry))
        name = next((name for names_of_form in meant for name in names_of_form if name in known), None)
        (unknown if name is None else names).setdefault(entry if name is None else name)
    return Subset(tuple(names), tuple(unknown))


def _known(project: Project) -> set[str]:
    """The project's tomograms, those of which only the segmentations are here, and all that the pages show.

    Raises:
        PomError: the summary is damaged.
    """
    measured = Ledger(project.jobs(SUMMARY_STEP), project.records(SUMMARY_STEP)).recorded()
    table = read_table(project.summary_forms)
    shown = () if table is None else table.index
    return {*list_tomograms(project.tomogram_dir).tomograms, *measured, *shown}


def _forms(entry: str) -> Iterator[str]:
    """The names that a path or file name may stand for: with all its endings, as in ``TS_1.st``, or with fewer."""
    yield entry
    name = re.split(r"[/\\]", entry)[-1].partition(SEPARATOR)[0]
    yield name
    while ending := next((ending for ending in ENDINGS if name.endswith(ending)), ""):
        name = name.removesuffix(ending)
        yield name


def _from_text(path: Path) -> list[str]:
    lines = (line.strip() for line in _text(path).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _from_star(path: Path) -> list[str]:
    _check_size(path)
    return read_star_column(path, STAR_COLUMNS)


def _from_csv(path: Path) -> list[str]:
    lines = _text(path).splitlines()
    heading = lines[0] if lines else ""
    delimiter = max(",\t;", key=heading.count)
    try:
        rows = [row for row in csv.reader(lines, delimiter=delimiter) if row]
    except csv.Error as error:
        raise PomError(f"{path} cannot be read ({error}): give a table of tomograms.") from error
    if not rows:
        return []
    titles = [title.strip().casefold() for title in rows[0]]
    column = titles.index(TOMOGRAM.casefold()) if TOMOGRAM.casefold() in titles else 0
    has_heading = TOMOGRAM.casefold() in titles or len(titles) > 1
    return [row[column].strip() for row in rows[has_heading:] if len(row) > column and row[column].strip()]


def _from_json(path: Path) -> list[str]:
    held: object = None
    with contextlib.suppress(json.JSONDecodeError, RecursionError):
        held = json.loads(_text(path))
    names = held.get("tomos") if isinstance(held, dict) else held
    if not isinstance(names, list):
        raise PomError(f"{path} is no subset: give a JSON file that has a list 'tomos'.")
    return [name for name in names if isinstance(name, str)]


READERS: Mapping[str, Callable[[Path], list[str]]] = {
    ".star": _from_star, ".csv": _from_csv, ".tsv": _from_csv, ".json": _from_json,
}  # fmt: skip
"""By the ending of a file; any other file is a text with a name a line."""


def _text(path: Path) -> str:
    _check_size(path)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PomError(f"{path} is not text: give a list of tomograms.") from error
    except OSError as error:
        raise PomError(f"{path} cannot be read ({error.strerror or error}): check its path and permissions.") from error


def _check_size(path: Path) -> None:
    # What cannot be looked at is not read either, which its reader says.
    if file_stamp(path)[1] > LARGEST_LIST:
        raise PomError(f"{path} is larger than {LARGEST_LIST >> 20} MiB, so it is no list of tomograms.")


def _write_csv(project: Project, names: Sequence[str], path: Path) -> None:
    import numpy as np
    import pandas as pd

    table = read_table(project.summary_forms)
    index = pd.Index(np.array(names, dtype=object), name=TOMOGRAM)
    rows = pd.DataFrame(index=index) if table is None else table.reindex(index)
    with atomic_path(path) as temporary:
        rows.to_csv(temporary, float_format="%.6g")
