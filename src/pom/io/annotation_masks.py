"""The masks of a native annotation: per feature a Zarr array with a chunk for each slice that was ever drawn in."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.annotation_document import DOCUMENT, StoredFeature
from pom.io.atomic import write_error
from pom.io.zarr_files import reason_of, whole_file_store

if TYPE_CHECKING:
    import zarr

MASKS = "masks"
REMOVED = "removed"
"""Holds the masks and entries of removed features, which can be put back."""

_CHUNK = re.compile(r"^c\.(0|[1-9][0-9]{0,9})\.0\.0$")
_ID = re.compile(r"^f([1-9][0-9]{0,8})(\.json)?$")


class Masks:
    """The masks of an annotation's features: Zarr arrays uint8 (z, y, x), a chunk per slice."""

    def __init__(self, folder: Path, shape: tuple[int, int, int]) -> None:
        self.folder = folder
        self.shape = shape
        self._arrays: dict[str, zarr.Array[Any]] = {}

    def array_folder(self, feature_id: str) -> Path:
        """The Zarr array of a feature."""
        return self.folder / MASKS / feature_id

    def chunk(self, feature_id: str, z: int) -> Path:
        """The file of one slice of a feature."""
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
            raise PomError(
                f"{path}, the mask of {feature.title!r} in slice {z}, is damaged ({reason_of(error)}): restore it from"
                f" a copy, or remove it, take {z} out of the feature's 'drawn' in {DOCUMENT}, and draw the slice again."
            ) from error

    def write(self, feature_id: str, z: int, mask: NDArray[np.uint8]) -> None:
        """Writes the mask (y, x), 0 or 1, of one slice of a feature, whole or not at all."""
        self._array(feature_id, writing=True)[z] = mask

    def next_id(self, features: Sequence[StoredFeature]) -> str:
        """An id that no feature bears or ever bore."""
        names = [*(feature.id for feature in features), *_names(self.folder / MASKS), *_names(self.folder / REMOVED)]
        return f"f{max((int(match[1]) for match in map(_ID.match, names) if match), default=0) + 1}"

    def remove(self, feature_id: str) -> None:
        """Moves the masks of a feature to those of removed ones."""
        self._arrays.pop(feature_id, None)
        _move(self.array_folder(feature_id), self.folder / REMOVED / feature_id)

    def put_back(self, feature_id: str) -> None:
        """Moves the masks of a removed feature to those of the others."""
        _move(self.folder / REMOVED / feature_id, self.array_folder(feature_id))

    def removed(self) -> list[Path]:
        """The files of the entries of removed features, in the order of the features' making."""
        entries = [name for name in _names(self.folder / REMOVED) if name.endswith(".json") and _ID.match(name)]
        return [self.folder / REMOVED / name for name in sorted(entries, key=lambda name: (len(name), name))]

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
                whole_file_store(folder),
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
            array = zarr.open_array(whole_file_store(folder), mode="r+", zarr_format=3)
            found = (array.shape, array.chunks, str(array.dtype), array.metadata.encode_chunk_key((1, 0, 0)))
        except Exception as error:  # damaged metadata fail in many ways
            raise PomError(
                f"{folder} is no Zarr array of masks ({reason_of(error)}): restore it from a copy."
            ) from error
        if found != (self.shape, chunks, "uint8", "c.1.0.0"):
            raise PomError(
                f"{folder} holds {array.dtype} {array.shape} in chunks of {array.chunks}, not uint8 {self.shape} in"
                f" chunks of {chunks} with names such as c.1.0.0: restore it from a copy."
            )
        # As above; zarr does not take it when it opens an array.
        return array.with_config({"write_empty_chunks": True})


class DrawnSlices(Mapping[int, NDArray[np.uint8]]):
    """The drawn slices of a feature, read-only; each is read anew when it is asked for."""

    def __init__(self, masks: Masks, feature: StoredFeature) -> None:
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


def _move(source: Path, target: Path) -> None:
    """Does nothing where there is no source: nothing was ever drawn, or a process was killed after it had moved it."""
    try:
        if source.exists():
            target.parent.mkdir(exist_ok=True)
            source.rename(target)
    except OSError as error:
        raise write_error(target, error) from error


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise PomError(f"The folder {folder} cannot be read: {error.strerror or error}.") from error
