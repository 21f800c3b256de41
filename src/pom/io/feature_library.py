"""The feature library: presets for what a person annotates, in the project's own file and in that of Ais.

Ais (1.0 to 1.2) keeps its library as JSON: a list of features, or since 1.2 ``{"active": NAME, "libraries": {NAME:
[features]}}``. Every version reads the list, and wants all of a feature's fields to be there.
"""

import json
import logging
import math
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from pom.errors import PomError
from pom.io.atomic import write_text
from pom.io.palette import PALETTE, free_colour

log = logging.getLogger(__name__)

LEVELS = 256
"""A level of so many is full scale."""

USUAL_OPACITY = 0.45
"""Of what is drawn: the image can be seen through it."""
FORMAT = "pom-feature-library"
VERSION = 1
LARGEST_FILE = 4 << 20
"""Bytes; a library of a thousand presets has a tenth of that."""
LARGEST_BOX = 65535
"""Side in pixels."""
LONGEST_TITLE = 200
DEEPEST = 32
"""Lists and objects in each other."""
OVERSHOOT = 1.05
"""Of a colour: one of the colours that Ais itself gives out is a little above 1."""


def _title(title: str) -> str:
    if not title.strip() or len(title) > LONGEST_TITLE or not title.isprintable():
        raise ValueError("no title")
    return title


def _colour(value: Any) -> Any:
    """(r, g, b) from numbers, of which an opacity may be the fourth, or from ``#rrggbb``; others as they are."""
    if isinstance(value, str) and len(value) == 7 and value[0] == "#" and value[1:].isalnum():
        return tuple(part / 255 for part in bytes.fromhex(value[1:]))
    if not isinstance(value, list | tuple) or len(value) not in (3, 4):
        return value
    if any(isinstance(part, bool) or not isinstance(part, int | float) for part in value):
        return value
    return tuple(min(float(part), 1.0) if part <= OVERSHOOT else part for part in value[:3])


def _whole(value: Any) -> Any:
    """Sliders leave 128.0 behind, or what is meant by it."""
    return round(value) if isinstance(value, float) and math.isfinite(value) else value


Part = Annotated[float, Field(ge=0, le=1)]


class Preset(BaseModel):
    """How one feature is drawn and shown; immutable. A wrong value raises pydantic's ValidationError."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    title: Annotated[str, AfterValidator(_title)] = Field(description="a name of 1 to 200 characters")
    colour: Annotated[tuple[Part, Part, Part], BeforeValidator(_colour)] = Field(
        description='three numbers from 0 to 1 (red, green, blue), or a text such as "#ff8000"'
    )
    """(red, green, blue), 0..1."""
    box_size: Annotated[int, BeforeValidator(_whole)] = Field(
        default=128, ge=1, le=LARGEST_BOX, description="a whole number above 0, in pixels"
    )
    """Side of its boxes, in pixels of the tomogram."""
    brush_size: float = Field(default=10.0, gt=0, description="a number above 0, in nm")
    """In nm."""
    alpha: Part = Field(default=USUAL_OPACITY, description="a number from 0 to 1")
    """Opacity of what is drawn."""
    level: Annotated[int, BeforeValidator(_whole)] = Field(
        default=128, ge=0, le=LEVELS, description="a number from 0 to 256"
    )
    """Where a segmentation of 0..255 is cut when it is rendered."""
    dust: float = Field(default=1.0, ge=0, description="a number, 0 or more, in cubic nm")
    """Pieces smaller than this are not rendered, in nm^3."""
    render_alpha: Part = Field(default=1.0, description="a number from 0 to 1")
    """Opacity of what is rendered."""
    hide: bool = Field(default=False, description="true or false")
    others: dict[str, Any] = Field(default={}, description="an object")
    """What a file says of the feature beside all this; it is kept."""

    @property
    def hex_colour(self) -> str:
        """The colour as ``#rrggbb``."""
        return "#" + bytes(round(part * 255) for part in self.colour).hex()


@dataclass(frozen=True)
class FeatureLibrary:
    """Presets, no two of one title; immutable."""

    presets: tuple[Preset, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.titles)) < len(self.presets):
            raise ValueError("two presets bear one title")

    @property
    def titles(self) -> tuple[str, ...]:
        """The titles, in the library's order."""
        return tuple(preset.title for preset in self.presets)

    def get(self, title: str) -> Preset | None:
        """The preset of this title, upper and lower case being different."""
        return next((preset for preset in self.presets if preset.title == title), None)

    def with_preset(self, preset: Preset) -> "FeatureLibrary":
        """A library with this preset: in the place of the one of its title, or else at the end."""
        return self._with(preset, preset.title)

    def with_edited(self, preset: Preset, instead_of: str | None) -> "FeatureLibrary":
        """A library with this preset in the place of the title ``instead_of``; at the end for None, or if that is gone.

        Raises:
            PomError: another preset bears its title.
        """
        if preset.title != instead_of and self.get(preset.title) is not None:
            raise PomError(
                f"The library has a preset {preset.title!r} already: choose another title, or edit or delete that one."
            )
        return self._with(preset, instead_of)

    def _with(self, preset: Preset, place: str | None) -> "FeatureLibrary":
        if place not in self.titles:
            return replace(self, presets=(*self.presets, preset))
        return replace(self, presets=tuple(preset if old.title == place else old for old in self.presets))

    def without(self, title: str) -> "FeatureLibrary":
        """A library without the preset of this title."""
        return replace(self, presets=tuple(preset for preset in self.presets if preset.title != title))

    def merged_with(self, other: "FeatureLibrary") -> "FeatureLibrary":
        """A library with the presets of both; of one title that of ``other``."""
        library = self
        for preset in other.presets:
            library = library.with_preset(preset)
        return library

    def new_preset(self, title: str, box_size: int) -> Preset:
        """A preset, not in the library yet, with a colour that none is like, or that the fewest are like.

        Raises:
            PomError: this is no title.
        """
        colour = free_colour(preset.hex_colour for preset in self.presets)
        return preset_from({"title": title, "colour": colour, "box_size": box_size}, "The new preset")


def preset_from(entry: object, where: str) -> Preset:
    """Makes a preset of the JSON object of a feature.

    Only the title must be there. Keys that a preset does not have go into ``others``.

    Raises:
        PomError: a value is none of its kind; the sentence begins with ``where``.
    """
    if not isinstance(entry, Mapping):
        raise PomError(f"{where} is not an object with a title, a colour and so on: take a library that Ais wrote.")
    known = {key: value for key, value in entry.items() if key in Preset.model_fields and key != "others"}
    others = {key: value for key, value in entry.items() if key not in known}
    known.setdefault("colour", PALETTE[0])
    try:
        return Preset(**known, others=others)
    except ValidationError as error:
        key = str(error.errors(include_url=False)[0]["loc"][0])
        held = f"is {_shown(known[key])}" if key in known else "is missing"
        expected = Preset.model_fields[key].description
        raise PomError(f"{where} has a fault: {key!r} {held}, but must be {expected}.") from error


def entry_of(preset: Preset) -> dict[str, Any]:
    """The JSON object of a preset; ``preset_from`` gives the same preset again."""
    known = preset.model_dump(mode="json", exclude={"others"})
    return {**known, **{key: value for key, value in preset.others.items() if key not in known}}


def read_library(path: Path) -> FeatureLibrary:
    """Reads the project's own file.

    Raises:
        PomError: the file cannot be read, is damaged, of a later version, or another kind of file.
    """
    value = _json(_bytes(path), str(path))
    if not isinstance(value, dict) or value.get("format") != FORMAT or not isinstance(value.get("presets"), list):
        raise PomError(f"{path} is no feature library: move it away, and import your library again.")
    if value.get("version") != VERSION:
        raise PomError(f"{path} is of version {_shown(value.get('version'))}: update Pom to use it.")
    return _library(value["presets"], str(path))


def write_library(path: Path, library: FeatureLibrary) -> None:
    """Writes the project's own file.

    Raises:
        PomError: it cannot be written.
    """
    held = {"format": FORMAT, "version": VERSION, "presets": [entry_of(preset) for preset in library.presets]}
    write_text(path, json.dumps(held, indent=2) + "\n")


def parse_ais_library(data: bytes, name: str) -> FeatureLibrary:
    """Reads the content of Ais' ``feature_library.txt``; of several libraries in it the active one.

    Of features that bear one title the last counts, as in Ais.

    Args:
        data: the file's content.
        name: what errors call it.

    Raises:
        PomError: it is damaged, too large, or no such library.
    """
    if len(data) > LARGEST_FILE:
        raise PomError(_too_large(name))
    value = _json(data, name)
    if isinstance(value, dict) and isinstance(value.get("libraries"), dict):
        value = value["libraries"].get(_active(value), [])
    if not isinstance(value, list):
        raise PomError(f"{name} is no feature library of Ais, which is a list of features: take feature_library.txt.")
    return _library(value, name)


def ais_library_text(library: FeatureLibrary) -> str:
    """The content of a ``feature_library.txt`` that every version of Ais reads."""
    # Ais has a switch for presets that are not to be used, and reads no feature without it.
    return json.dumps([{"use": True, **entry_of(preset)} for preset in library.presets], indent=2) + "\n"


def _active(held: Mapping[str, Any]) -> str | None:
    """The name of the active one of several libraries, by Ais' rule; None where there are none."""
    names: Sequence[str] = list(held["libraries"])
    active = held.get("active")
    return active if isinstance(active, str) and active in names else next(iter(names), None)


def _library(entries: Iterable[object], name: str) -> FeatureLibrary:
    library = FeatureLibrary()
    for number, entry in enumerate(entries, 1):
        title = entry.get("title") if isinstance(entry, dict) else None
        named = f" ({_shown(title)})" if isinstance(title, str) else ""
        preset = preset_from(entry, f"{name}: feature {number}{named}")
        if library.get(preset.title) is not None:
            log.warning("%s holds the title %r more than once; the last of them counts.", name, preset.title)
        library = library.with_preset(preset)
    return library


def _bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise PomError(f"{path} is not a file: give a feature library.")
        if status.st_size > LARGEST_FILE:
            raise PomError(_too_large(str(path)))
        return path.read_bytes()
    except FileNotFoundError as error:
        raise PomError(f"{path} is not there: check the path of the feature library.") from error
    except OSError as error:
        raise PomError(f"{path} cannot be read ({error.strerror or error}): check its permissions.") from error


def _json(data: bytes, name: str) -> Any:
    try:
        value = json.loads(data.decode("utf-8-sig"), parse_constant=_refuse_number, parse_float=_finite)
        _refuse_depth(value)
        return value
    except UnicodeDecodeError as error:
        raise PomError(f"{name} is not UTF-8 text (byte {error.start}): save it as UTF-8.") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise PomError(f"{name} is not valid JSON: {error.msg} at {where}; take a copy that is whole.") from error
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else "a number in it is none"
        raise PomError(f"{name} cannot be used: {reason}; take a copy that is whole.") from error


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _refuse_number(constant: str) -> Any:
    raise ValueError(constant)


def _refuse_depth(value: Any) -> None:
    """What can just be read need not be such that it can be written again."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            part
            for whole in level
            if isinstance(whole, dict | list)
            for part in (whole.values() if isinstance(whole, dict) else whole)
        ]
    if level:
        raise RecursionError


def _too_large(name: str) -> str:
    return f"{name} is larger than {LARGEST_FILE >> 20} MiB, so it is no feature library: choose another file."


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
