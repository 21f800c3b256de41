"""Volumes that are looked at slice by slice: few open files, and nothing that grows with them."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.mrc import is_placeholder
from pom.io.stamps import stamp_of, stamp_text
from pom.io.volume_files import open_volume, volume_status

MOST_OPEN = 24

N_SAMPLES = 8
SAMPLED_SHARE = 0.8
"""Of the slices: the contrast is measured in the middle, since top and bottom are often empty."""
SAMPLED_PIXELS = 1 << 16
"""About so many of a slice."""
PERCENTILES = (0.1, 99.9)
FILLING_SHARE = 0.01
"""An extreme value of a larger share of the voxels is no density: reconstructions are padded with a constant."""

Range = tuple[float, float]


def tag_of(path: Path) -> str:
    """A short text that is another one once the file is another one.

    Raises:
        PomError: there is no such file.
    """
    return stamp_text(stamp_of(_status(path)))


class Volume:
    """An open volume, an MRC file or in an OME-Zarr, that several threads may read.

    Raises:
        PomError: on opening, as ``open_volume``, and for the placeholder of an unfinished run.
    """

    def __init__(self, path: Path) -> None:
        # Looked at before it is opened: should the file be replaced in between, the next look finds another tag.
        self.tag = tag_of(path)
        if is_placeholder(path):
            raise PomError(f"{path} is only the placeholder of an unfinished run: delete it and make it again.")
        self._reader = open_volume(path)
        self.header = self._reader.header
        self._reading = threading.Lock()
        self._measuring = threading.Lock()
        self._measured: dict[Callable[[Volume], Any], Any] = {}

    def close(self) -> None:
        """Closes the file."""
        self._reader.__exit__()

    def slab(self, z: int, n_slices: int = 1) -> NDArray[Any]:
        """The mean over ``n_slices`` around ``z``, of which those beyond the ends are left out.

        Of an even number the odd one lies above ``z``. NaN becomes 0.

        Returns:
            (y, x) float32; a single slice of whole numbers as it is in the file.

        Raises:
            PomError: the file cannot be read.
            ValueError: no such slice.
        """
        depth = self.header.shape[0]
        if not 0 <= z < depth or n_slices < 1:
            raise ValueError(f"no slab of {n_slices} slices at {z} in a volume of {depth}")
        bottom, top = max(z - (n_slices - 1) // 2, 0), min(z + n_slices // 2 + 1, depth)
        image = self._read(bottom)
        if top - bottom == 1 and image.dtype.kind != "f":
            return image
        image = image.astype(np.float32, copy=False)
        with np.errstate(invalid="ignore", over="ignore"):
            # Slice by slice: what is that small stays in the processor's cache, and its memory is used again.
            for other in range(bottom + 1, top):
                image += self._read(other)
            if top - bottom > 1:
                image *= np.float32(1 / (top - bottom))
            if not np.isfinite(image.sum()):
                image = np.nan_to_num(image, copy=False, nan=0.0)
        return image

    def measured(self, measure: "Callable[[Volume], Any]") -> Any:
        """What a function finds in this volume; found once, and kept as long as the volume is open."""
        with self._measuring:
            if measure not in self._measured:
                self._measured[measure] = measure(self)
            return self._measured[measure]

    def _read(self, z: int) -> NDArray[Any]:
        with self._reading:
            image: NDArray[Any] = self._reader.read(z, z + 1)[0]
        return image


def contrast(volume: Volume) -> Range:
    """The densities that are shown black and white: percentiles of a few slices, without what is only padding."""
    depth, height, width = volume.header.shape
    margin = depth * (1 - SAMPLED_SHARE) / 2
    places = sorted({int(z) for z in np.linspace(margin, depth - 1 - margin, min(N_SAMPLES, depth)).clip(0, depth - 1)})
    # An odd stride, lest all samples lie in columns of one kind.
    stride = max(1, int((height * width / SAMPLED_PIXELS) ** 0.5)) | 1
    sample = np.stack([volume.slab(z)[::stride, ::stride] for z in places]).ravel()
    for edge in (sample.min(), sample.max()):
        filling = sample == edge
        if FILLING_SHARE < filling.mean() < 1:
            sample = sample[~filling]
    low, high = (float(value) for value in np.percentile(sample, PERCENTILES))
    if high > low:
        return low, high
    low, high = float(sample.min()), float(sample.max())
    return (low, high) if high > low else (low - 1, high + 1)


class Volumes:
    """Opens volumes when they are asked for; closes the longest unused beyond ``most_open``, and those replaced."""

    def __init__(self, most_open: int = MOST_OPEN) -> None:
        self._most_open = most_open
        self._lock = threading.Lock()
        self._open: OrderedDict[Path, Volume] = OrderedDict()
        self._users: dict[Volume, int] = {}

    @contextmanager
    def open(self, path: Path) -> Iterator[Volume]:
        """The volume in a file as it is now; it stays open for the time of the block at least.

        Raises:
            PomError: it is no readable volume.
        """
        volume = self._take(path)
        try:
            yield volume
        finally:
            with self._lock:
                self._users[volume] -= 1
                self._close_unused()

    def close(self) -> None:
        """Closes all that nobody uses."""
        with self._lock:
            self._open.clear()
            self._close_unused()

    def _take(self, path: Path) -> Volume:
        tag = tag_of(path)
        with self._lock:
            volume = self._open.get(path)
            if volume is not None and volume.tag == tag:
                return self._use(path, volume)
        # Outside the lock: a slow disk keeps those waiting who want this volume, and nobody else.
        opened = Volume(path)
        with self._lock:
            volume = self._open.get(path)
            if volume is not None and volume.tag == opened.tag:
                opened.close()
                return self._use(path, volume)
            return self._use(path, opened)

    def _use(self, path: Path, volume: Volume) -> Volume:
        self._open[path] = volume
        self._open.move_to_end(path)
        self._users[volume] = self._users.get(volume, 0) + 1
        self._close_unused()
        return volume

    def _close_unused(self) -> None:
        while len(self._open) > self._most_open:
            self._open.popitem(last=False)
        kept = set(self._open.values())
        for volume in [volume for volume, users in self._users.items() if not users and volume not in kept]:
            del self._users[volume]
            volume.close()


def _status(path: Path) -> os.stat_result:
    try:
        return volume_status(path)
    except FileNotFoundError as error:
        raise PomError(f"There is no file {path} any more: look whether it was moved or renamed.") from error
    except OSError as error:
        raise PomError(f"{path} cannot be read ({error.strerror or error}): check that disk.") from error
