"""The compositions of ``render_configuration.json``: which features the 3-D pictures show."""

import json
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pom.errors import PomError
from pom.project.json_file import read_json_object
from pom.project.names import DENSITY, DENSITY_PICTURES, EMPTY, PROJECTION, UNKNOWN, did_you_mean, name_fault

RANK = re.compile(r"rank([0-9]{1,4})")
NOT = "!"


@dataclass(frozen=True)
class Composition:
    """What one kind of picture shows.

    ``entries``: features by name; ``rank1`` and so on for the most abundant ontologies; ``!NAME`` for one that is to
    have no rank.
    """

    name: str
    entries: tuple[str, ...]

    @property
    def has_ranks(self) -> bool:
        """Whether the features depend on what a tomogram holds."""
        return any(RANK.fullmatch(entry) for entry in self.entries)

    def features(self, ranked: Callable[[Collection[str]], Sequence[str]]) -> tuple[str, ...]:
        """The features of one tomogram, each once.

        Args:
            ranked: the ontologies by abundance, without those that it is given.
        """
        without = {entry.removeprefix(NOT) for entry in self.entries if entry.startswith(NOT)}
        order = ranked(without) if self.has_ranks else ()
        found: list[str] = []
        for entry in self.entries:
            rank = RANK.fullmatch(entry)
            if rank:
                found += order[int(rank[1]) - 1 : int(rank[1])]
            elif not entry.startswith(NOT):
                found.append(entry)
        # The tomogram itself has no surface; existing configurations list it among the macromolecules.
        return tuple(feature for feature in dict.fromkeys(found) if feature not in (DENSITY, EMPTY))


def default_compositions(macromolecules: Sequence[str]) -> tuple[Composition, ...]:
    """The compositions of a project that names none: its macromolecules, and its three most abundant ontologies."""
    shown = tuple(name for name in macromolecules if name not in (DENSITY, EMPTY))
    top = Composition("Top3", ("rank1", "rank2", "rank3", f"{NOT}{UNKNOWN}"))
    return (Composition("Macromolecules", shown), top) if shown else (top,)


def read_compositions(path: Path) -> tuple[Composition, ...]:
    """Reads the compositions, in the file's order.

    Raises:
        PomError: the file cannot be read, is no JSON object of lists of names, or a name cannot be.
    """
    return tuple(_composition(path, name, entries) for name, entries in read_json_object(path).items())


def misspelt(compositions: Sequence[Composition], known: Collection[str]) -> list[str]:
    """The entries that name nothing there is, a sentence each.

    Args:
        compositions: as they are read.
        known: the features of the project.
    """
    faults = []
    for composition in compositions:
        for entry in dict.fromkeys(composition.entries):
            feature = entry.removeprefix(NOT)
            if not RANK.fullmatch(entry) and feature not in (*known, DENSITY, EMPTY):
                named = f"{composition.name!r} holds {entry!r}{did_you_mean(feature, known)}"
                what = "which is no ontology or macromolecule of this project: correct it, or take it out."
                faults.append(f"{named}, {what}")
    return faults


def configuration_text(path: Path, compositions: Sequence[Composition]) -> str:
    """The content of a file that ``read_compositions`` takes; ``path`` is only named in the error.

    Raises:
        PomError: there is no such file, since two compositions bear one name, or a name cannot be.
    """
    held = {composition.name: list(composition.entries) for composition in compositions}
    if len(held) < len(compositions):
        raise PomError(f"{path} was not written: two compositions bear one name; give each its own.")
    for name, entries in held.items():
        _composition(path, name, entries)
    return json.dumps(held, indent=2, ensure_ascii=False) + "\n"


def _composition(path: Path, name: str, entries: object) -> Composition:
    fault = name_fault(name)
    if fault is not None:
        raise PomError(f"{path} {fault}: rename that composition.")
    if name.casefold() == DENSITY_PICTURES or name.casefold().endswith(PROJECTION):
        raise PomError(f"{path}: a composition cannot be called {name!r}, since other pictures are: rename it.")
    if not isinstance(entries, list) or not all(isinstance(entry, str) and entry.strip() for entry in entries):
        raise PomError(f'{path}: {name!r} must be a list of features, such as ["Membrane", "rank1", "!Unknown"].')
    for entry in entries:
        rank = RANK.fullmatch(entry)
        if (rank and int(rank[1]) < 1) or entry == NOT:
            raise PomError(f"{path}: {name!r} holds {entry!r}, but ranks begin with rank1, and a name follows '!'.")
    return Composition(name, tuple(entries))
