"""Native annotations: a folder beside the tomogram with ``annotation.json`` and, per feature, a Zarr array of masks.

A change writes one chunk, then the JSON, each whole or not at all. Killed between the two, what was drawn is in its
chunk and is found again by its name. docs/annotation.md describes the form for other programs.
"""

import asyncio
import logging
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.annotation_document import DOCUMENT, Document, StoredFeature, now, read_document
from pom.io.atomic import atomic_folder, write_bytes, write_error, write_json
from pom.io.palette import default_colour
from pom.io.scns import Annotation, Feature
from pom.words import counted

if TYPE_CHECKING:
    import zarr

__all__ = ["AnnotationStore", "StoredFeature", "write_annotation"]

log = logging.getLogger(__name__)

MASKS = "masks"
REMOVED = "removed"
"""Holds the masks and entries of removed features, for a person who wants one back; nothing reads it."""

_CHUNK = re.compile(r"^c\.(0|[1-9][0-9]{0,9})\.0\.0$")
_ID = re.compile(r"^f([1-9][0-9]{0,8})(\.json)?$")


class AnnotationStore:
    """One native annotation, to read and to change; every change is on disk when its method returns.

    Any number of threads may use it. Of several stores on one folder, only the one that knows the latest revision
    may write.
    """

    def __init__(self, path: Path, document: Document, content: bytes) -> None:
        """Takes what ``read_document`` gave; use ``create`` or ``open``."""
        self.path = path
        self._document = document
        self._content = content
        self._masks = _Masks(path, document.shape)
        self._lock = threading.RLock()

    @classmethod
    def create(cls, path: Path, *, shape: tuple[int, int, int], pixel_size: float) -> "AnnotationStore":
        """Makes an annotation without features.

        Args:
            path: the folder, which must not be there.
            shape: (z, y, x) of the tomogram in voxels.
            pixel_size: in nm.

        Raises:
            PomError: something lies there already, or the folder cannot be written.
        """
        if path.exists():
            raise PomError(f"{path} is there already: open it, or move it away.")
        with atomic_folder(path) as folder:
            write_bytes(folder / DOCUMENT, Document(shape, float(pixel_size), saved=now()).encoded())
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> "AnnotationStore":
        """Opens an annotation; what a killed process had drawn but not yet listed is listed again.

        Raises:
            PomError: it is not there, damaged, foreign, or made by a newer version.
        """
        document, content = read_document(path)
        masks = _Masks(path, document.shape)
        features = tuple(
            replace(feature, drawn=tuple(sorted({*feature.drawn, *masks.slices(feature.id)})))
            for feature in document.features
        )
        return cls(path, replace(document, features=features), content)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) of the tomogram in voxels."""
        return self._document.shape

    @property
    def pixel_size(self) -> float:
        """In nm."""
        return self._document.pixel_size

    @property
    def revision(self) -> int:
        """Rises by one with every change."""
        return self._document.revision

    @property
    def features(self) -> tuple[StoredFeature, ...]:
        """The features as they are now, in the order of their making."""
        return self._document.features

    def feature(self, feature_id: str) -> StoredFeature:
        """The feature of this id.

        Raises:
            PomError: there is none.
        """
        for feature in self._document.features:
            if feature.id == feature_id:
                return feature
        raise PomError(f"{self.path} has no feature {feature_id!r}: it was removed, or never there.")

    def mask(self, feature_id: str, z: int) -> NDArray[np.uint8]:
        """What is drawn in a slice: uint8 (y, x), 0 or 1; a new array, all 0 where nothing was ever drawn.

        Raises:
            PomError: there is no such feature or slice, or the mask is damaged or gone.
        """
        feature = self.feature(feature_id)
        self._check_slice(z)
        if z not in feature.drawn:
            return np.zeros(self.shape[1:], np.uint8)
        return self._masks.read(feature, z)

    def write_patch(self, feature_id: str, z: int, y: int, x: int, mask: NDArray[np.bool_]) -> None:
        """Sets the pixels of a rectangle.

        Args:
            feature_id: of the feature drawn.
            z: the slice.
            y: of the rectangle's first pixel.
            x: of the same.
            mask: bool (h, w), what its pixels are then. Nothing is written where they are so already.

        Raises:
            PomError: the rectangle is not within the tomogram, somebody else changed the annotation, or it cannot
                be written; then what was drawn before is still there.
        """
        with self._lock:
            drawn = self.mask(feature_id, z)
            height, width = mask.shape
            if min(y, x) < 0 or y + height > self.shape[1] or x + width > self.shape[2]:
                raise PomError(
                    f"A patch of {height} x {width} pixels at y {y}, x {x} is not within the slice of"
                    f" {self.shape[1]} x {self.shape[2]} pixels (y, x) of {self.path}."
                )
            if np.array_equal(drawn[y : y + height, x : x + width] > 0, mask):
                return
            drawn[y : y + height, x : x + width] = mask
            self._check_latest()
            feature = self.feature(feature_id)
            self._masks.write(feature_id, z, drawn)
            changed = replace(feature, drawn=tuple(sorted({*feature.drawn, z})))
            # Listed at once: should the JSON fail, the next patch must still see what is in the chunk now.
            self._document = replace(self._document, features=self._with(changed))
            self._save(self._document.features)

    def set_boxes(self, feature_id: str, z: int, centres: Iterable[Sequence[float]]) -> None:
        """Replaces the boxes of a slice.

        Args:
            feature_id: whose boxes.
            z: the slice.
            centres: (x, y) in pixels; none takes all boxes of the slice away.

        Raises:
            PomError: there is no such feature or slice, a centre is none, somebody else changed the annotation, or
                it cannot be written.
        """
        with self._lock:
            feature = self.feature(feature_id)
            self._check_slice(z)
            boxes = {**feature.boxes, z: [(x, y) for x, y in centres]}
            if not boxes[z]:
                del boxes[z]
            self._change(replace(feature, boxes=boxes))

    def add_feature(self, title: str, box_size: int, colour: str) -> StoredFeature:
        """Adds a feature without boxes; ``box_size`` in pixels, ``colour`` as ``#rrggbb``.

        Raises:
            PomError: title, size or colour are none, somebody else changed the annotation, or it cannot be written.
        """
        with self._lock:
            feature = StoredFeature(self._masks.next_id(self.features), title, colour.lower(), box_size, {}, ())
            self._save([*self.features, feature.checked()])
            return feature

    def change_feature(
        self, feature_id: str, *, title: str | None = None, colour: str | None = None, box_size: int | None = None
    ) -> None:
        """Changes what is given of a feature; its boxes keep their centres.

        Raises:
            PomError: as ``add_feature``, or there is no such feature.
        """
        with self._lock:
            feature = self.feature(feature_id)
            self._change(
                replace(
                    feature,
                    title=feature.title if title is None else title,
                    colour=feature.colour if colour is None else colour.lower(),
                    box_size=feature.box_size if box_size is None else box_size,
                )
            )

    def remove_feature(self, feature_id: str) -> None:
        """Removes a feature; its entry and masks are kept in the folder ``removed``.

        Raises:
            PomError: there is no such feature, somebody else changed the annotation, or it cannot be written.
        """
        with self._lock:
            feature = self.feature(feature_id)
            self._check_latest()
            write_json(self.path / REMOVED / f"{feature_id}.json", feature.as_json())
            self._save([kept for kept in self.features if kept.id != feature_id])
            self._masks.remove(feature_id)

    def annotation(self) -> Annotation:
        """All of it as the rest of Pom takes it; each mask is read when it is asked for."""
        n_slices, height, width = self.shape
        features = tuple(
            Feature(feature.title, feature.box_size, feature.boxes, _DrawnSlices(self._masks, feature), feature.colour)
            for feature in self.features
        )
        tomogram = str(self.path.with_suffix(".mrc").absolute())
        return Annotation(tomogram, n_slices, height, width, self.pixel_size, features)

    def _check_slice(self, z: int) -> None:
        if not 0 <= z < self.shape[0]:
            raise PomError(f"There is no slice {z} in {self.path}: it has {self.shape[0]}, counted from 0.")

    def _check_latest(self) -> None:
        """Refuses to write where the document is not as this store last read or wrote it."""
        _, content = read_document(self.path)
        if content != self._content:
            raise PomError(
                f"{self.path} was changed by somebody else since revision {self.revision}, so that nothing was written:"
                " open it again and repeat the last change."
            )

    def _change(self, feature: StoredFeature) -> None:
        if feature != self.feature(feature.id):
            self._save(self._with(feature.checked()))

    def _with(self, changed: StoredFeature) -> tuple[StoredFeature, ...]:
        return tuple(changed if feature.id == changed.id else feature for feature in self.features)

    def _save(self, features: Sequence[StoredFeature]) -> None:
        self._check_latest()
        document = self._document.changed(features)
        content = document.encoded()
        path = self.path / DOCUMENT
        before = path.stat().st_mtime_ns
        write_bytes(path, content)
        if path.stat().st_mtime_ns <= before:
            # Taken from an .scns of a machine whose clock is ahead: what is written after it must be the newer one.
            os.utime(path, ns=(before + 1, before + 1))
        self._document, self._content = document, content


def write_annotation(folder: Path, annotation: Annotation, *, revision: int = 0) -> None:
    """Writes an annotation of another form into ``folder``, which is empty, as a native one; 0 stays 0, the rest is 1.

    Raises:
        PomError: it cannot be written.
    """
    shape = (annotation.n_slices, annotation.height, annotation.width)
    masks = _Masks(folder, shape)
    features = []
    for index, feature in enumerate(annotation.features):
        drawn = tuple(sorted(z for z in feature.slices if 0 <= z < shape[0]))
        if len(drawn) < len(feature.slices):
            were = counted(len(feature.slices) - len(drawn), "drawn slice lies", "drawn slices lie")
            log.warning("%r: %s outside the tomogram and cannot be taken over.", feature.title, were)
        boxes = {z: list(centres) for z, centres in feature.boxes.items() if centres}
        colour = feature.colour or default_colour(index)
        features.append(StoredFeature(f"f{index + 1}", feature.title, colour, feature.box_size, boxes, drawn))
        for z in drawn:
            masks.write(f"f{index + 1}", z, (feature.slices[z] != 0).astype(np.uint8))
    document = Document(shape, annotation.pixel_size, revision, now(), tuple(features))
    write_bytes(folder / DOCUMENT, document.encoded())


class _Masks:
    """The masks of an annotation's features: Zarr arrays uint8 (z, y, x), a chunk per slice."""

    def __init__(self, folder: Path, shape: tuple[int, int, int]) -> None:
        self.folder = folder
        self.shape = shape
        self._arrays: dict[str, zarr.Array[Any]] = {}

    def array_folder(self, feature_id: str) -> Path:
        return self.folder / MASKS / feature_id

    def chunk(self, feature_id: str, z: int) -> Path:
        return self.array_folder(feature_id) / f"c.{z}.0.0"

    def slices(self, feature_id: str) -> list[int]:
        """The slices that have a chunk."""
        names = _names(self.array_folder(feature_id))
        found = (int(match[1]) for match in map(_CHUNK.match, names) if match)
        return [z for z in found if z < self.shape[0]]

    def read(self, feature: StoredFeature, z: int) -> NDArray[np.uint8]:
        """The mask of a slice that was drawn in, uint8 (y, x), a new array."""
        path = self.chunk(feature.id, z)
        # For Zarr a chunk that is gone is one of zeros, and what was drawn would be lost without a word.
        if not path.exists():
            raise PomError(
                f"{path}, the mask of {feature.title!r} in slice {z}, is gone: restore it from a copy, or take {z} out"
                f" of the feature's 'drawn' in {DOCUMENT}."
            )
        try:
            return np.array(self._array(feature.id, writing=False)[z], np.uint8)
        except PomError:
            raise
        except Exception as error:  # a damaged chunk fails in many ways
            reason = " ".join(str(error).split()) or type(error).__name__
            raise PomError(
                f"{path}, the mask of {feature.title!r} in slice {z}, is damaged ({reason}): restore it from a copy,"
                f" or remove it, take {z} out of the feature's 'drawn' in {DOCUMENT}, and draw the slice again."
            ) from error

    def write(self, feature_id: str, z: int, mask: NDArray[np.uint8]) -> None:
        self._array(feature_id, writing=True)[z] = mask

    def next_id(self, features: Sequence[StoredFeature]) -> str:
        """An id that no feature bears or ever bore."""
        names = [*(feature.id for feature in features), *_names(self.folder / MASKS), *_names(self.folder / REMOVED)]
        return f"f{max((int(match[1]) for match in map(_ID.match, names) if match), default=0) + 1}"

    def remove(self, feature_id: str) -> None:
        """Moves the masks of a feature to those of removed ones."""
        self._arrays.pop(feature_id, None)
        source, target = self.array_folder(feature_id), self.folder / REMOVED / feature_id
        try:
            if source.exists():
                source.rename(target)
        except OSError as error:
            raise write_error(target, error) from error

    def _array(self, feature_id: str, *, writing: bool) -> "zarr.Array[Any]":
        """The array of a feature; made where it is not there and ``writing``."""
        if feature_id not in self._arrays:
            self._arrays[feature_id] = self._open(feature_id, writing=writing)
        return self._arrays[feature_id]

    def _open(self, feature_id: str, *, writing: bool) -> "zarr.Array[Any]":
        import zarr
        from zarr.codecs import ZstdCodec

        folder = self.array_folder(feature_id)
        chunks = (1, *self.shape[1:])
        if writing and not (folder / "zarr.json").exists():
            return zarr.create_array(
                _whole_file_store(folder),
                shape=self.shape,
                chunks=chunks,
                dtype="uint8",
                compressors=ZstdCodec(level=3, checksum=True),
                fill_value=0,
                chunk_key_encoding={"name": "default", "separator": "."},
                # A slice that was drawn in has a chunk even when all is erased, so that one that is lost is noticed.
                config={"write_empty_chunks": True},
                attributes={"axes": ["z", "y", "x"]},
            )
        try:
            array = zarr.open_array(_whole_file_store(folder), mode="r+", zarr_format=3)
            found = (array.shape, array.chunks, str(array.dtype), array.metadata.encode_chunk_key((1, 0, 0)))
        except Exception as error:  # damaged metadata fail in many ways
            reason = " ".join(str(error).split()) or type(error).__name__
            raise PomError(f"{folder} is no Zarr array of masks ({reason}): restore it from a copy.") from error
        if found != (self.shape, chunks, "uint8", "c.1.0.0"):
            raise PomError(
                f"{folder} holds {array.dtype} {array.shape} in chunks of {array.chunks}, not uint8 {self.shape} in"
                f" chunks of {chunks} with names such as c.1.0.0: restore it from a copy."
            )
        # As above; zarr does not take it when it opens an array.
        return array.with_config({"write_empty_chunks": True})


class _DrawnSlices(Mapping[int, NDArray[np.uint8]]):
    """The drawn slices of a feature, read-only; each is read anew when it is asked for."""

    def __init__(self, masks: _Masks, feature: StoredFeature) -> None:
        self._masks = masks
        self._feature = feature

    def __getitem__(self, z: int) -> NDArray[np.uint8]:
        if z not in self._feature.drawn:
            raise KeyError(z)
        mask = self._masks.read(self._feature, z)
        mask.flags.writeable = False
        return mask

    def __contains__(self, z: object) -> bool:
        return z in self._feature.drawn  # without reading it

    def __iter__(self) -> Iterator[int]:
        return iter(self._feature.drawn)

    def __len__(self) -> int:
        return len(self._feature.drawn)


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise PomError(f"The folder {folder} cannot be read: {error.strerror or error}.") from error


def _whole_file_store(folder: Path) -> Any:
    """Zarr's store of a folder, but for one thing: each file is flushed to disk before it appears."""
    from zarr.core.buffer import Buffer
    from zarr.storage import LocalStore

    class WholeFileStore(LocalStore):
        async def set(self, key: str, value: Buffer) -> None:
            await asyncio.to_thread(self.set_sync, key, value)

        def set_sync(self, key: str, value: Buffer) -> None:
            self._check_writable()
            write_bytes(self.root / key, value.to_bytes())

    return WholeFileStore(folder)
