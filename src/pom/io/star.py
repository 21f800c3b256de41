"""STAR files as far as lists of tomograms go: one column of any table in them is read, one table is written."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pom.errors import PomError
from pom.io.atomic import write_text

_WORD = re.compile(r"""'([^']*)'(?=\s|$)|"([^"]*)"(?=\s|$)|(\S+)""")
_SPECIAL = re.compile(r"""['"#]""")


def read_star_column(path: Path, columns: Sequence[str]) -> list[str]:
    """The values of a column of a STAR file, in the file's order, each once.

    Args:
        path: of any program; tables (``loop_``) and single values are read, of all data blocks.
        columns: by preference, without the leading underscore; upper and lower case are alike. The first that the
            file has is read.

    Raises:
        PomError: the file cannot be read, or has none of the columns.
    """
    # A file of a million particles is not kept: only what it says in these columns, which is much the same everywhere.
    values: dict[str, dict[str, None]] = {column.casefold(): {} for column in columns}
    for name, value in _values(_lines(path)):
        if name.casefold() in values:
            values[name.casefold()].setdefault(value)
    for found in values.values():
        if found:
            return list(found)
    wanted = " or ".join(f"_{column}" for column in columns)
    raise PomError(f"{path} has no column {wanted}: take a STAR file that names tomograms.")


def write_star(path: Path, block: str, table: Mapping[str, Sequence[str]]) -> None:
    """Writes a STAR file of one table.

    Args:
        path: of the file.
        block: the name of the data block, without ``data_``.
        table: the columns, without the leading underscore, all of one length.

    Raises:
        PomError: it cannot be written.
    """
    heading = [f"_{column} #{number}" for number, column in enumerate(table, 1)]
    rows = ["\t".join(map(_quoted, row)) for row in zip(*table.values(), strict=True)]
    write_text(path, "\n".join(["", f"data_{block}", "", "loop_", *heading, *rows, ""]))


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from file
    except UnicodeDecodeError as error:
        raise PomError(f"{path} is not text: take a STAR file.") from error
    except OSError as error:
        raise PomError(f"{path} cannot be read ({error.strerror or error}): check its path and permissions.") from error


def _values(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Column and value, of all tables and single values."""
    columns: list[str] = []
    in_loop = False
    for line in lines:
        # By the line itself: in quotes these are values.
        text = line.strip()
        words = _words(text)
        if not words:
            continue
        if text.startswith("data_"):
            columns, in_loop = [], False
        elif text.startswith("loop_"):
            columns, in_loop = [], True
        elif text.startswith("_") and in_loop:
            columns.append(words[0][1:])
        elif text.startswith("_"):
            if len(words) > 1:
                yield words[0][1:], words[1]
        else:
            yield from zip(columns, words, strict=False)


def _words(line: str) -> list[str]:
    if not _SPECIAL.search(line):
        return line.split()  # several times as fast
    words = []
    for single, double, plain in _WORD.findall(line):
        if plain.startswith("#"):
            break
        words.append(single or double or plain)
    return words


def _quoted(value: str) -> str:
    if value and not re.search(r"\s", value) and not value.startswith(("_", "#", "'", '"', "data_", "loop_")):
        return value
    return f'"{value}"' if '"' not in value else f"'{value}'"
