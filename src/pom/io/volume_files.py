"""The output of an ontology in a tomogram, whichever way it is stored: an MRC file, or a channel of an OME-Zarr.

It always goes by the path of the MRC file, ``NAME__Ontology.mrc``. Where that file is not there, it is looked for in
``NAME.ome.zarr`` beside it. Of the two, the MRC file counts.
"""

import contextlib
import math
import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.mrc import MrcReader, VolumeHeader
from pom.io.zarr_files import METADATA, read_metadata, reason_of
from pom.volumes.normalise import segmentation_top

SEPARATOR = "__"
"""As in ``pom.project.names``."""
MRC, OME_ZARR = ".mrc", ".ome.zarr"
PROBABILITIES = "probabilities"
"""The group of a store that holds the outputs as channels of one image, axes (c, z, y, x)."""
READERS = 8
"""Stores that are looked into at a time; on a network disk one after the other takes long."""
POM = "pom"
"""The key of Pom's own part of a group's attributes."""


class VolumeReader(Protocol):
    """Reads slices of a volume, in any order; a context manager."""

    @property
    def header(self) -> VolumeHeader:
        """What is known of the volume."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def read(self, z_start: int, z_stop: int) -> NDArray[Any]:
        """Slices ``z_start`` to ``z_stop`` - 1 as (z, y, x), in the file's type and the machine's byte order.

        Raises:
            PomError: the file is damaged or cannot be read.
            ValueError: slices that the volume does not have.
        """


def open_volume(path: Path) -> VolumeReader:
    """Opens a volume: an MRC file, or where there is none of that name the channel of an OME-Zarr.

    Raises:
        PomError: there is neither, or it is damaged.
    """
    if path.exists():
        return MrcReader(path)
    store, channel = _in_store(path)
    index = _channels(store).get(channel) if (store / PROBABILITIES).is_dir() else None
    return MrcReader(path) if index is None else ZarrReader(store, index)


def read_segmentation(reader: VolumeReader, z_start: int, z_stop: int) -> NDArray[Any]:
    """Slices ``z_start`` to ``z_stop`` - 1 of a network's output, (z, y, x), as they are stored.

    Raises:
        PomError: the file cannot be read, or holds values that an output of its type cannot have.
    """
    stored = reader.read(z_start, z_stop)
    if stored.size:
        top_between(reader.header, float(stored.min()), float(stored.max()))
    return stored


def top_between(header: VolumeHeader, low: float, high: float) -> float:
    """The value that stands for 1 in a segmentation with values from ``low`` to ``high``, as ``segmentation_top``.

    Raises:
        PomError: a segmentation of this type has no such values.
    """
    if not math.isfinite(low + high):
        raise PomError(f"{header.path} holds NaN or infinite values: segment the tomogram again.")
    top = segmentation_top(header.dtype, low, high)
    if top is None:
        raise PomError(
            f"{header.path} has values from {low:g} to {high:g}, which a segmentation of {header.dtype.name} cannot"
            " have: make it again."
        )
    return top


def stored_at(path: Path) -> Path:
    """The file whose size and time tell whether a volume has changed, and whether it is there: where it is stored.

    That is ``path`` itself, or where there is no such file but an OME-Zarr that holds the volume, the file of its
    metadata. Nothing is opened but that.
    """
    with contextlib.suppress(OSError):  # where it cannot be looked at, its reader says so
        path.stat()
        return path
    store, channel = _in_store(path)
    return store / PROBABILITIES / METADATA if channel in _held_by(store) else path


def volume_status(path: Path) -> os.stat_result:
    """What the disk says of a volume, as ``stored_at`` finds it; an MRC file takes one question.

    Raises:
        OSError: it is not there.
    """
    try:
        return path.stat()
    except FileNotFoundError:
        return stored_at(path).stat()


def look_into_stores(folder: Path) -> tuple[frozenset[str], dict[str, str]]:
    """The names that the outputs in the OME-Zarrs of a folder go by, and what keeps others from being read.

    Takes a look into every store.

    Returns:
        Such as ``TS_001__Vesicle.mrc``; and by the name of a store that should hold outputs, what is wrong with it.

    Raises:
        PomError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            stores = [entry.name for entry in entries if entry.name.endswith(OME_ZARR) and entry.name[0] != "."]
    except FileNotFoundError:
        return frozenset(), {}
    except OSError as error:
        raise PomError(f"The folder {folder} cannot be read: {error.strerror or error}.") from error
    with ThreadPoolExecutor(READERS) as executor:
        held = dict(zip(stores, executor.map(_look_into, [folder / name for name in stores]), strict=True))
    names = frozenset(
        f"{store.removesuffix(OME_ZARR)}{SEPARATOR}{channel}{MRC}"
        for store, channels in held.items()
        if not isinstance(channels, PomError)
        for channel in channels
    )
    return names, {store: str(found) for store, found in held.items() if isinstance(found, PomError)}


class ZarrReader:
    """Reads slices of one output in an OME-Zarr that Pom wrote; a context manager.

    Raises:
        PomError: on opening, the metadata are damaged or not those that Pom writes.
    """

    def __init__(self, store: Path, channel: int) -> None:
        import zarr
        from zarr.storage import LocalStore

        self._store, self._channel = store, channel
        self._folder = store / PROBABILITIES / "0"
        try:
            attributes = read_metadata(store / PROBABILITIES)["attributes"]
            self._array: zarr.Array[Any] = zarr.open_array(LocalStore(self._folder, read_only=True), mode="r")
            transforms = attributes["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"]
            _, z, y, x = (float(size) for size in transforms[0]["scale"])
            origin = tuple(float(part) for part in attributes[POM]["origin"])
            _, *shape = self._array.shape
            self._shard_depth = (self._array.shards or self._array.chunks)[1]
            self.header = VolumeHeader(
                store, (shape[0], shape[1], shape[2]), self._array.dtype, (z, y, x), (origin[0], origin[1], origin[2])
            )
        except PomError:
            raise
        except Exception as error:  # damaged metadata fail in many ways
            raise PomError(f"{store} is damaged ({reason_of(error)}): copy or make it again.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass  # between reads no file is open

    def read(self, z_start: int, z_stop: int) -> NDArray[Any]:
        """As ``VolumeReader.read``."""
        shape = self.header.shape
        if not 0 <= z_start <= z_stop <= shape[0]:
            raise ValueError(f"no slices {z_start} to {z_stop} in a volume of {shape[0]}")
        if z_start == z_stop:
            return np.empty((0, *shape[1:]), self.header.dtype)
        self._check_shards(z_start, z_stop)
        try:
            return np.asarray(self._array[self._channel, z_start:z_stop])
        except Exception as error:  # a damaged shard fails in many ways
            raise PomError(
                f"{self._store} is damaged ({reason_of(error)}): copy or make it again (slices {z_start} to"
                f" {z_stop - 1} of {PROBABILITIES})."
            ) from error

    def _check_shards(self, z_start: int, z_stop: int) -> None:
        """For Zarr a file that is gone is one of zeros, and an ontology would be lost without a word."""
        for k in range(z_start // self._shard_depth, math.ceil(z_stop / self._shard_depth)):
            path = self._folder / "c" / str(self._channel) / str(k) / "0" / "0"
            if not path.exists() or not path.stat().st_size:
                raise PomError(f"{path} is gone or empty: copy or make {self._store} again.")


def _in_store(path: Path) -> tuple[Path, str]:
    """The store, and the name of the channel in it, that would hold what goes by the path of an MRC file."""
    name, _, channel = path.stem.partition(SEPARATOR)
    return path.with_name(f"{name}{OME_ZARR}"), channel


def _channels(store: Path) -> dict[str, int]:
    """The outputs that a store holds, with their places.

    Raises:
        PomError: it holds none, or is damaged.
    """
    attributes: Any = read_metadata(store / PROBABILITIES).get("attributes")
    try:
        return {str(name): index for index, name in enumerate(attributes[POM]["channels"])}
    except (KeyError, TypeError) as error:
        raise PomError(f"{store / PROBABILITIES / METADATA} is not one that Pom wrote: make {store} again.") from error


def _look_into(store: Path) -> Collection[str] | PomError:
    """The outputs that a store holds; none where it has no place for any, and the error where that is damaged."""
    try:
        return _channels(store) if (store / PROBABILITIES).is_dir() else ()
    except PomError as error:
        return error
    except OSError as error:
        return PomError(f"{store} cannot be read ({error.strerror or error}): check that disk.")


def _held_by(store: Path) -> Collection[str]:
    found = _look_into(store)
    return () if isinstance(found, PomError) else found
