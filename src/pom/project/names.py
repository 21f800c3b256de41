"""The names of channels and ontologies, and of the files that bear them."""

import difflib
from collections.abc import Iterable, Sequence

DENSITY = "Density"
"""The channel that is the tomogram itself."""
UNKNOWN = "Unknown"
"""The class of voxels that no ontology claims."""
EMPTY = "_"
"""A slot left empty: a channel without data, or an output that is not saved."""
SEPARATOR = "__"
"""Stands between a tomogram's name and a channel or ontology in a file's name."""

DENSITY_PICTURES = "density"
"""The folder of the pictures of tomograms themselves."""
PROJECTION = "_projection"
"""What the name of a folder of an ontology's projections has after the ontology's own."""

FORBIDDEN = ("/", "\\", "\0", SEPARATOR)


def segmentation_file(name: str, channel: str) -> str:
    """The file name of a segmentation: tomogram ``TS_001`` and ``Membrane`` give ``TS_001__Membrane.mrc``."""
    return f"{name}{SEPARATOR}{channel}.mrc"


def is_segmentation(stem: str) -> bool:
    """Whether a file of this stem is a segmentation and not a tomogram."""
    return SEPARATOR in stem


def name_fault(name: str) -> str | None:
    """What keeps ``name`` from standing in file names and ``-o``, as the end of a sentence, or None."""
    if not name.strip():
        return "holds an empty name"
    for part in FORBIDDEN:
        if part in name:
            shown = "a null character" if part == "\0" else f"'{part}'"
            return f"holds {name!r}, and a name that becomes part of a file name must not contain {shown}"
    if not name.isprintable():
        is_text = not any("\ud800" <= character <= "\udfff" for character in name)
        must = "must not contain control characters" if is_text else "must be UTF-8"
        return f"holds '{readable(name)}', and a name {must}"
    if name.startswith("."):
        return f"holds {name!r}, and a name must not begin with '.'"
    if name != name.strip():
        return f"holds {name!r}, and a name must not begin or end with a space"
    return None


def readable(name: str) -> str:
    r"""The name of a file as any terminal shows it, such as ``TS_\xe9`` where a byte is not UTF-8."""
    return "".join(character if character.isprintable() else _escaped(character) for character in name)


def first_fault(names: Sequence[str]) -> str | None:
    """The first fault of a list of names, duplicates among them, or None; ``_`` may stand in it any number of times."""
    seen: dict[str, str] = {}
    for name in names:
        if name == EMPTY:
            continue
        fault = name_fault(name)
        if fault is not None:
            return fault
        # Compared without case: on macOS the files of 'ER' and 'er' would be one file.
        folded = name.casefold()
        if folded in seen:
            return f"holds {name!r} twice" if seen[folded] == name else f"holds both {seen[folded]!r} and {name!r}"
        seen[folded] = name
    return None


def _escaped(character: str) -> str:
    # Python has a byte that is not UTF-8 as U+DC00 and so many more.
    is_byte = "\udc80" <= character <= "\udcff"
    return f"\\x{ord(character) - 0xDC00:02x}" if is_byte else ascii(character)[1:-1]


def without_empty(names: Iterable[str]) -> tuple[str, ...]:
    """The names that are not ``_``, in their order."""
    return tuple(name for name in names if name != EMPTY)


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name most like ``name``, upper and lower case being alike, or None where none is like it.

    ``cutoff``: how alike they must be, 0..1.
    """
    by_folded = {candidate.casefold(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=cutoff)
    return by_folded[matches[0]] if matches else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What a sentence says behind a name that is not known: `` (did you mean 'TS_1'?)``, or nothing."""
    closest = nearest(name, known)
    return f" (did you mean {closest!r}?)" if closest else ""
