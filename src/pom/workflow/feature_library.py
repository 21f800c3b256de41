"""The project's feature library, and how a feature of it becomes an ontology."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from pom.errors import PomError
from pom.io.atomic import write_text
from pom.io.feature_library import FeatureLibrary, read_library, write_library
from pom.project.configuration import check_configuration
from pom.project.json_file import read_json_object
from pom.project.names import EMPTY, UNKNOWN
from pom.project.paths import CONFIGURATION_FILE, Project
from pom.workflow.alone import changing
from pom.workflow.feature_volumes import known_features

ONTOLOGIES = "ontologies"
GREY = (0.66, 0.67, 0.70)
"""The colour of Unknown where nobody chose one."""


def load_library(project: Project) -> FeatureLibrary:
    """The project's library; where there is none yet, one with a preset for each ontology of the configuration.

    Raises:
        PomError: the file cannot be read, or is damaged.
    """
    path = project.feature_library
    if path.exists():
        return read_library(path)
    library = FeatureLibrary()
    for ontology in project.ontologies:
        preset = library.new_preset(ontology, project.configuration.ontology_annotation_box_size)
        library = library.with_preset(preset)
    return library


def complete_library(project: Project, library: FeatureLibrary, others: Iterable[str] = ()) -> FeatureLibrary:
    """The library with a preset for each feature of the project; those that it lacks get colours that are free.

    Args:
        project: whose features.
        library: of them, or of some of them.
        others: features that the project need not know, which get a preset too.
    """
    for feature in (*known_features(project), *others):
        if library.get(feature) is None:
            preset = library.new_preset(feature, project.configuration.ontology_annotation_box_size)
            if feature == UNKNOWN:
                preset = preset.model_copy(update={"colour": GREY})
            library = library.with_preset(preset)
    return library


def change_library(project: Project, change: Callable[[FeatureLibrary], FeatureLibrary]) -> FeatureLibrary:
    """Changes the project's library as it is on disk now, which other pages and servers may have changed, too.

    Args:
        project: whose library.
        change: makes the new library of the one on disk.

    Returns:
        The library as it is written.

    Raises:
        PomError: the file is damaged or cannot be written, somebody else is changing it for too long, or ``change``
            raises it; then the file is as it was.
    """
    with changing(project, "library"):
        library = change(load_library(project))
        write_library(project.feature_library, library)
    return library


def add_ontology(project: Project, title: str) -> Project:
    """Adds an ontology at the end of the configuration's; all else in the file stays as it is, to the letter.

    Args:
        project: whose configuration; the file counts, and not what was read of it before.
        title: of the new ontology.

    Returns:
        The project with the configuration as it is now.

    Raises:
        PomError: there is such an ontology, or a name cannot be like this, or the file has a fault or cannot be
            written; then the file is as it was.
    """
    # A link stays one: what is behind it is replaced.
    path = (project.folder / CONFIGURATION_FILE).resolve()
    with changing(project, "configuration"):
        values = read_json_object(path)
        before = check_configuration(path, values).ontologies
        if title in before or title == EMPTY:
            reason = "it stands for a place left empty" if title == EMPTY else "there is such an ontology already"
            raise PomError(f"{title!r} cannot be added to the ontologies: {reason}.")
        values[ONTOLOGIES] = [*before, title]
        try:
            configuration = check_configuration(path, values)
        except PomError as error:
            reason = str(error).removeprefix(f"{path}: ")
            raise PomError(f"{title!r} cannot be added to the ontologies: {reason}") from error
        text = _with_ontology(path.read_bytes().decode("utf-8-sig"), title)
        if json.loads(text) != values:
            raise PomError(f"{path} was changed by someone else meanwhile: try again.")
        write_text(path, text)
    return Project(project.folder, configuration)


def _with_ontology(text: str, title: str) -> str:
    """The text of a configuration with one ontology more.

    Args:
        text: a JSON object, known to be valid.
        title: of the ontology.
    """
    new = json.dumps(title, ensure_ascii=False)
    members, end = _members(text)
    if ONTOLOGIES in members:
        start, stop, held = members[ONTOLOGIES]
        return text[:start] + _appended(text[start:stop], new, empty=not held) + text[stop:]
    newline = "\r\n" if "\r\n" in text else "\n"
    if not members:
        return f'{text[:end]}{newline}  "{ONTOLOGIES}": [{new}]{newline}{text[end:]}'
    last = max(stop for _, stop, _ in members.values())
    return f'{text[:last]},{_space_before(text, text.index(chr(34)))}"{ONTOLOGIES}": [{new}]{text[last:]}'


def _appended(array: str, new: str, *, empty: bool) -> str:
    """The text of a list with one more element, on a line of its own where the last one is."""
    if empty:
        return f"[{new}]"
    body = array[:-1].rstrip()
    # The elements are texts, and how the last is set off from what is before it is how the new one is to be.
    last_quote = _start_of_last(array)
    space = _space_before(array, last_quote)
    one = array[1:last_quote].strip() == ""
    return f"{body},{space or ('' if not one else ' ')}{new}{array[len(body) :]}"


def _start_of_last(array: str) -> int:
    """Where the last element of a list of texts begins."""
    decoder = json.JSONDecoder()
    start, position = 0, array.index('"')
    while position >= 0:
        start = position
        _, stop = decoder.raw_decode(array, start)
        position = array.find('"', stop)
    return start


def _space_before(text: str, position: int) -> str:
    before = text[:position]
    return before[len(before.rstrip()) :]


def _members(text: str) -> tuple[dict[str, tuple[int, int, Any]], int]:
    """Of a JSON object: by key where its value begins and ends, and the value; and where the object ends."""
    decoder = json.JSONDecoder()
    members: dict[str, tuple[int, int, Any]] = {}
    position = _after_space(text, text.index("{") + 1)
    while text[position] != "}":
        key, position = decoder.raw_decode(text, position)
        start = _after_space(text, text.index(":", position) + 1)
        value, stop = decoder.raw_decode(text, start)
        members[key] = (start, stop, value)
        position = _after_space(text, stop)
        if text[position] == ",":
            position = _after_space(text, position + 1)
    return members, position


def _after_space(text: str, position: int) -> int:
    while text[position].isspace():
        position += 1
    return position
