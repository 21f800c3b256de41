"""The JSON of a native annotation: everything but the masks."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pom.errors import PomError

DOCUMENT = "annotation.json"
FORMAT = "pom-annotation"
VERSION = 1

_LARGEST = 2**31 - 1
_COLOUR = r"^#[0-9a-f]{6}$"


@dataclass(frozen=True)
class StoredFeature:
    """One feature of a native annotation.

    Attributes:
        id: ``f1``, ``f2``, ...; names the folder of its masks, and is never given twice.
        title: the name of an ontology, usually; two features can bear one.
        colour: ``#rrggbb``, small letters.
        box_size: side of its boxes, in pixels of the tomogram.
        boxes: per slice z the box centres (x, y), in pixels of the tomogram; slices without boxes are left out.
        drawn: the slices that were ever drawn in, sorted; each has a mask, which may be empty again.
    """

    id: str
    title: str
    colour: str
    box_size: int
    boxes: Mapping[int, list[tuple[float, float]]]
    drawn: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        """The feature's entry in the document."""
        return {
            "id": self.id,
            "title": self.title,
            "colour": self.colour,
            "box_size": self.box_size,
            "boxes": {str(z): [[*map(_plain, centre)] for centre in self.boxes[z]] for z in sorted(self.boxes)},
            "drawn": list(self.drawn),
        }

    def checked(self) -> "StoredFeature":
        """The feature itself.

        Raises:
            PomError: its title, colour, box size or boxes are none that the document may hold.
        """
        if not self.title.strip() or not self.title.isprintable():
            raise PomError(f"{self.title!r} cannot be the title of a feature: give it a name of printable characters.")
        try:
            _FeatureModel.model_validate_json(json.dumps(self.as_json()))
        except (ValidationError, ValueError) as error:
            raise PomError(f"The feature {self.title!r} cannot be kept: {_first_fault(error)}.") from error
        return self


@dataclass(frozen=True)
class Document:
    """What ``annotation.json`` holds.

    Attributes:
        shape: (z, y, x) of the tomogram in voxels.
        pixel_size: in nm.
        revision: rises by one with every change.
        saved: when it was last changed, in UTC, as ISO 8601 has it.
        features: in the order of their making.
    """

    shape: tuple[int, int, int]
    pixel_size: float
    revision: int = 0
    saved: str = ""
    features: tuple[StoredFeature, ...] = ()

    def changed(self, features: Sequence[StoredFeature]) -> "Document":
        """The next revision, with these features."""
        return replace(self, features=tuple(features), revision=self.revision + 1, saved=now())

    def encoded(self) -> bytes:
        """The file's content: JSON in UTF-8, a line per entry and per feature."""
        head = {
            "format": FORMAT,
            "version": VERSION,
            "shape": list(self.shape),
            "pixel_size_nm": self.pixel_size,
            "revision": self.revision,
            "saved": self.saved,
        }
        lines = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
        features = [f"  {json.dumps(feature.as_json(), ensure_ascii=False)}" for feature in self.features]
        listed = "\n" + ",\n".join(features) + "\n " if features else ""
        # A file name can hold bytes that are no text, and a title might come from one.
        return "\n".join(["{", *lines, f' "features": [{listed}]', "}", ""]).encode(errors="replace")


def now() -> str:
    """The moment in UTC, as ISO 8601 has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_document(folder: Path) -> tuple[Document, bytes]:
    """The document of a native annotation, and the bytes of its file.

    Raises:
        PomError: the file cannot be read, is none of ours or damaged, or was made by a newer version.
    """
    path = folder / DOCUMENT
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        what = f"has no {DOCUMENT}" if folder.is_dir() else "is not there"
        raise PomError(
            f"{folder} {what}, so that it is no annotation of Pom: restore it from a copy, or move it away."
        ) from error
    except OSError as error:
        raise PomError(f"{path} cannot be read: {error.strerror or error}.") from error
    return _parse(path, content), content


def read_feature(path: Path, shape: tuple[int, int, int]) -> StoredFeature:
    """A feature whose entry is a file of its own, as that of a removed one; its name is the feature's id.

    Raises:
        PomError: the file cannot be read, is damaged, or is of a tomogram of more slices than ``shape``, (z, y, x).
    """
    try:
        feature = _FeatureModel.model_validate_json(path.read_bytes()).feature()
    except OSError as error:
        raise PomError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValidationError as error:
        raise PomError(f"{path} is damaged ({_first_fault(error)}): restore it from a copy.") from error
    if feature.id != path.stem or any(z >= shape[0] for z in feature.drawn):
        raise PomError(f"{path} is of another feature or tomogram: restore it from a copy.")
    return feature


def _parse(path: Path, content: bytes) -> Document:
    damaged = "restore it from a copy, or move its folder away"
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise PomError(f"{path} is damaged, for it is no JSON ({error}): {damaged}.") from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise PomError(f"{path} is no annotation of Pom (its format is not {FORMAT!r}): {damaged}.")
    version = value.get("version")
    if isinstance(version, int) and version > VERSION:
        raise PomError(f"{path} was made by a newer Pom (version {version} of the form): update Pom to read it.")
    try:
        return _DocumentModel.model_validate_json(content).document()
    except ValidationError as error:
        raise PomError(f"{path} is damaged ({_first_fault(error)}): {damaged}.") from error


def _first_fault(error: ValidationError | ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in fault["loc"] if not str(part).startswith(("int", "float")))
    return f"{where}: {fault['msg']}" if where else fault["msg"]


def _plain(number: float) -> int | float:
    """A number without NumPy's type, and without a fraction that is 0."""
    if not math.isfinite(number):
        raise ValueError("a box lies nowhere")
    return int(number) if number == int(number) else float(number)


_Number = Annotated[int, Field(ge=-_LARGEST, le=_LARGEST)] | Annotated[float, Field(ge=-_LARGEST, le=_LARGEST)]
_Size = Annotated[int, Field(ge=1, le=_LARGEST)]
_Slice = Annotated[str, Field(pattern=r"^(0|-?[1-9][0-9]{0,9})$")]


class _FeatureModel(BaseModel):
    """What a feature's entry may hold; the slices of its boxes are keys, and so text."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    id: Annotated[str, Field(pattern=r"^f[1-9][0-9]{0,8}$")]
    title: str
    colour: Annotated[str, Field(pattern=_COLOUR)]
    box_size: _Size
    boxes: dict[_Slice, list[tuple[_Number, _Number]]]
    drawn: list[Annotated[int, Field(ge=0, le=_LARGEST)]]

    def feature(self) -> StoredFeature:
        boxes: dict[int, list[tuple[float, float]]] = {
            int(z): [*centres] for z, centres in self.boxes.items() if centres
        }
        drawn = tuple(sorted(set(self.drawn)))
        return StoredFeature(self.id, self.title, self.colour, self.box_size, boxes, drawn)


class _DocumentModel(BaseModel):
    """What the document may hold: an entry that is not known here would be lost with the next change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    format: Literal["pom-annotation"]
    version: Literal[1]
    shape: tuple[_Size, _Size, _Size]
    pixel_size_nm: Annotated[float, Field(ge=0, le=_LARGEST)]
    revision: Annotated[int, Field(ge=0)]
    saved: str
    features: list[_FeatureModel]

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        ids = [feature.id for feature in self.features]
        if len(set(ids)) < len(ids):
            raise ValueError("two features bear one id")
        if any(z >= self.shape[0] for feature in self.features for z in feature.drawn):
            raise ValueError("a drawn slice lies outside the tomogram")
        return self

    def document(self) -> Document:
        features = tuple(feature.feature() for feature in self.features)
        return Document(self.shape, self.pixel_size_nm, self.revision, self.saved, features)
