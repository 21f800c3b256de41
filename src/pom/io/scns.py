"""Annotation files of Ais (.scns): what a person drew in a tomogram, and the boxes that count as fully annotated.

Such a file is a pickle. It is read without Ais, and without importing or running anything that it names
(see `pom.io.scns_pickle`); everything that concerns Ais' screen is left aside.
"""

import math
import stat
from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.atomic import atomic_path
from pom.io.palette import default_colour
from pom.io.scns_pickle import dump, load
from pom.io.scns_screen import held_array, screen_state
from pom.io.scns_values import Held, HeldArray, ScnsError, damaged, find_global

_LARGEST = 2**31 - 1
_FRAME = find_global("Ais.core.se_frame", "SEFrame")
_FEATURE = find_global("Ais.core.se_frame", "Segmentation")


@dataclass(frozen=True, eq=False)
class Feature:
    """One feature (an ontology's title, usually) as annotated in one tomogram.

    Attributes:
        title: as typed in Ais, so not always the name of an ontology; what cannot be printed is a "?".
        box_size: side of its boxes, in pixels of the tomogram.
        boxes: per slice z the box centres (x, y), in pixels of the tomogram and in the file's order. Slices without
            boxes are left out. Neither z nor the centres are checked against the tomogram's size.
        slices: per slice z what was drawn, uint8 (y, x), above 0 where the feature is; read-only, and indexed like
            the MRC's data. Slices that were never drawn in are left out.
        colour: on the screen, ``#rrggbb`` in small letters; None where nobody chose one.
    """

    title: str
    box_size: int
    boxes: Mapping[int, list[tuple[float, float]]]
    slices: Mapping[int, NDArray[np.uint8]]
    colour: str | None = None


@dataclass(frozen=True, eq=False)
class Annotation:
    """Everything annotated in one tomogram.

    Attributes:
        path: where the tomogram was when it was annotated; only a note, never opened.
        n_slices, height, width: the tomogram's size in voxels along z, y, x.
        pixel_size: in nm; 0.0 where the file has none.
        features: in the file's order; two can bear one title.
    """

    path: str
    n_slices: int
    height: int
    width: int
    pixel_size: float
    features: tuple[Feature, ...]


def read_scns(path: Path) -> Annotation:
    """Reads an annotation file; nothing in it is run, and the tomogram it names is not opened.

    Raises:
        PomError: the file is not there, truncated, damaged, no annotation, or holds something that annotations do
            not hold (which is then named); nothing of such a file is used.
    """
    try:
        size = _regular_size(path)
        with path.open("rb") as stream:
            frame = load(stream, size)
        return _Reader(size).annotation(frame)
    except ScnsError as error:
        raise PomError(f"{path} {error}.") from error
    except FileNotFoundError as error:
        raise PomError(f"{path} is not there: annotate the tomogram in Ais, or check the path.") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise PomError(f"{path} cannot be read ({reason}): check its permissions and its disk.") from error


def _regular_size(path: Path) -> int:
    """The size in bytes, above 0, of what must be a plain file: a pipe would be waited for without end."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ScnsError("is not a file: give an annotation file of Ais")
    if status.st_size == 0:
        raise ScnsError("is empty: take a copy, or save it in Ais again")
    return status.st_size


class _Reader:
    """Turns the held objects of one file into an Annotation.

    A pickle can refer to one list any number of times, so a small file could stand for endlessly many boxes:
    ``left`` counts entries down from the file's size in bytes, of which genuine files have more than enough.
    ``masks`` sees to it that an array that is referred to again is not converted again.
    """

    def __init__(self, size: int) -> None:
        self.left = size
        self.masks: dict[int, NDArray[np.uint8]] = {}

    def annotation(self, frame: object) -> Annotation:
        if not isinstance(frame, Held) or not frame.cls.module.startswith("Ais.") or frame.cls.name != "SEFrame":
            raise ScnsError("holds no annotated tomogram (an SEFrame of Ais): save it in Ais again")
        state = _state(frame)
        where = "the tomogram"
        path = state.get("path", frame.args[0] if frame.args else "")
        height, width = (_whole(state, key, where, at_least=1) for key in ("height", "width"))
        features = state.get("features")
        if not isinstance(features, list | tuple):
            raise damaged("the tomogram has no list of features")
        self.count(features)
        annotation = Annotation(
            path=path if isinstance(path, str) else "",
            n_slices=_whole(state, "n_slices", where, at_least=1),
            height=height,
            width=width,
            pixel_size=_pixel_size(state),
            features=tuple(self.feature(feature, (height, width)) for feature in features),
        )
        # Features point back at the frame: unless that ring is opened, what is not needed stays in memory for long.
        frame.state = None
        return annotation

    def count(self, items: Sized) -> None:
        self.left -= len(items)
        if self.left < 0:
            raise damaged("it repeats its entries more often than a file of its size can hold")

    def feature(self, feature: object, shape: tuple[int, int]) -> Feature:
        state = _state(feature)
        title = state.get("title")
        if not isinstance(title, str):
            raise damaged("a feature has no title")
        self.count(title)
        title = "".join(char if char.isprintable() else "?" for char in title)
        where = f"feature {title[:40]!r}"
        return Feature(
            title=title,
            box_size=_whole(state, "box_size", where, at_least=1),
            boxes=self.boxes(self.slice_items(state, "boxes", where), where),
            slices={
                z: self.mask(drawn, shape, f"{where}, slice {z}")
                for z, drawn in self.slice_items(state, "slices", where).items()
                if drawn is not None
            },
            colour=_colour(state.get("colour")),
        )

    def slice_items(self, state: dict[object, object], key: str, where: str) -> dict[int, object]:
        items = state.get(key, {})
        if not isinstance(items, dict):
            raise damaged(f"{where}: {key} has no slices")
        self.count(items)
        return {_z(z, f"{where}, {key}"): value for z, value in items.items()}

    def boxes(self, items: dict[int, object], where: str) -> dict[int, list[tuple[float, float]]]:
        boxes: dict[int, list[tuple[float, float]]] = {}
        for z, centres in items.items():
            if centres is None:
                continue
            if not isinstance(centres, list | tuple):
                raise damaged(f"{where}, slice {z}: boxes that are no list")
            self.count(centres)
            if centres:
                boxes[z] = [_centre(centre, f"{where}, slice {z}") for centre in centres]
        return boxes

    def mask(self, drawn: object, shape: tuple[int, int], where: str) -> NDArray[np.uint8]:
        if not isinstance(drawn, HeldArray):
            raise damaged(f"{where}: what is drawn there is no array")
        if drawn.shape != shape:
            raise ScnsError(
                f"does not fit its own tomogram ({where}: drawn on {_size(drawn.shape)}, but the tomogram is "
                f"{_size(shape)} pixels): annotate that slice again in Ais"
            )
        if id(drawn) not in self.masks:
            self.masks[id(drawn)] = _as_mask(drawn.array())
        return self.masks[id(drawn)]


def _as_mask(drawn: NDArray[Any]) -> NDArray[np.uint8]:
    """Ais' own masks (uint8, C order) as they lie in the file; others as 1 where they are not 0."""
    mask: NDArray[np.uint8] = drawn if drawn.dtype == np.uint8 else (drawn != 0).astype(np.uint8)
    mask = np.ascontiguousarray(mask)
    mask.flags.writeable = False
    return mask


def _state(held: object) -> dict[object, object]:
    if not isinstance(held, Held) or not isinstance(held.state, dict):
        raise damaged("a tomogram or feature without its fields")
    return held.state


def _whole(state: dict[object, object], key: str, where: str, at_least: int) -> int:
    number = _number(state.get(key))
    if number is None or not at_least <= number <= _LARGEST:
        raise damaged(f"{where} has no sensible {key}")
    return round(number)


def _pixel_size(state: dict[object, object]) -> float:
    number = _number(state.get("pixel_size"))
    return float(number) if number is not None and 0 < number <= _LARGEST else 0.0


def _z(z: object, where: str) -> int:
    number = _number(z)
    if number is None or number != int(number) or abs(number) > _LARGEST:
        raise damaged(f"{where}: a slice whose number is no whole number")
    return int(number)


def _centre(centre: object, where: str) -> tuple[float, float]:
    if isinstance(centre, list | tuple) and len(centre) == 2:
        x, y = _number(centre[0]), _number(centre[1])
        if x is not None and y is not None and max(abs(x), abs(y)) <= _LARGEST:
            return x, y
    raise damaged(f"{where}: a box whose centre is not two numbers")


def _colour(value: object) -> str | None:
    """Ais' colour, three numbers 0..1 of which one or other is a little larger, or None where it is no such thing."""
    parts = [_number(part) for part in value] if isinstance(value, list | tuple) else []
    known = [min(max(part, 0), 1) for part in parts if part is not None]
    return _hexadecimal(known) if len(parts) == len(known) == 3 else None


def _hexadecimal(colour: Iterable[float]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour)


def _number(value: object) -> int | float | None:
    """The value if it is a finite number; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, int) or math.isfinite(value) else None


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape) or "no size"


def write_scns(path: Path, annotation: Annotation, image: NDArray[np.float32] | None = None) -> None:
    """Writes an annotation under the names that Ais uses, whole or not at all; `read_scns` gives the same back.

    Any unpickler that has (or is given) classes SEFrame, Segmentation and Transform loads the file. Ais takes what it
    first shows from the tomogram at ``annotation.path``; where none is there, it opens the file only if it has
    ``image``.

    Args:
        path: the file.
        annotation: what to write; each mask is asked for once.
        image: the tomogram's slice ``n_slices // 2``, float32 (y, x).

    Raises:
        PomError: the file cannot be written, or a mask cannot be read.
        ValueError: a slice is not uint8 (height, width).
    """
    frame = _held_frame(path, annotation)
    if image is not None:
        frame.state = {**_state(frame), **screen_state(image, annotation.pixel_size)}
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        dump(frame, stream)


def _held_frame(path: Path, annotation: Annotation) -> Held:
    frame = Held(_FRAME, (annotation.path,))
    features = [_held_feature(frame, index, annotation) for index in range(len(annotation.features))]
    height, width = annotation.height, annotation.width
    frame.state = {
        "uid": 0,
        "path": annotation.path,
        "scns_path": str(path),
        "title": path.stem,
        "n_slices": annotation.n_slices,
        "current_slice": annotation.n_slices // 2,
        "slice_changed": True,
        "includes_map": False,
        "map": None,
        "features": features,
        "feature_counter": len(features),
        "active_feature": features[-1] if features else None,
        "height": height,
        "width": width,
        "pixel_size": annotation.pixel_size,
        "clem_frame_path": None,
        "overlay": None,
        "interpolate": False,
        "alpha": 1.0,
        "filters": [],
        "invert": False,
        "crop": False,
        "crop_roi": [0, 0, width, height],
        "autocontrast": True,
        "sample": True,
        "export": False,
        "pick": False,
        "export_bottom": 0,
        "export_top": annotation.n_slices,
    }
    return frame


def _held_feature(frame: Held, index: int, annotation: Annotation) -> Held:
    feature = annotation.features[index]
    shape = (annotation.height, annotation.width)
    slices = sorted(feature.boxes.keys() | feature.slices.keys())
    state = {
        "uid": index + 1,
        "parent": frame,
        "width": annotation.width,
        "height": annotation.height,
        "title": feature.title,
        "colour": tuple(part / 255 for part in bytes.fromhex((feature.colour or default_colour(index))[1:])),
        "alpha": 1.0,
        "hide": False,
        "contour": False,
        "expanded": False,
        "collapsed": False,
        "brush_size": 10.0,
        "show_boxes": True,
        "magic": False,
        "magic_strength": 50.0,
        "box_size": feature.box_size,
        "box_size_nm": feature.box_size * annotation.pixel_size,
        "slices": {int(z): _held_mask(feature.slices.get(z), shape) for z in slices},
        "boxes": {int(z): [[_plain(x), _plain(y)] for x, y in feature.boxes.get(z, [])] for z in slices},
        "n_boxes": sum(map(len, feature.boxes.values())),
        "edited_slices": [int(z) for z in sorted(feature.slices)],
        "current_slice": annotation.n_slices // 2,
        "data": None,
    }
    return Held(_FEATURE, (), state, made_new=True)


def _held_mask(mask: NDArray[np.uint8] | None, shape: tuple[int, int]) -> Held | None:
    if mask is None:
        return None
    if mask.dtype != np.uint8 or mask.shape != shape:
        raise ValueError(f"a drawn slice is {mask.dtype} {mask.shape}, not uint8 {shape}")
    return held_array(mask)


def _plain(number: float) -> int | float:
    """A number without numpy's type."""
    return int(number) if isinstance(number, int | np.integer) else float(number)
