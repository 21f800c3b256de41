"""Crops of tomograms, annotated or not: which tomograms, how many of each, and where."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pom.volumes.pad import crop_reflected

SIDE = 160
"""Of a crop, in binned pixels."""
MOST_TOMOGRAMS = 64
"""So many are read, however many there are: reading takes seconds to minutes each."""
MOST_HELD_OUT = 8
FEWEST_TO_HOLD_OUT_OF = 3
MOST_CROPS = 2048
MOST_BYTES = 1 << 30
"""Of the crops that are learnt from, in memory."""
HELD_OUT_CROPS = 64
COVERAGE = 8
"""No more crops of a tomogram than would cover it so many times."""


@dataclass(frozen=True)
class CropPlan:
    """Which tomograms give how many crops."""

    training: tuple[str, ...]
    held_out: tuple[str, ...]
    crops: int
    """Of each tomogram that is learnt from, at most."""
    held_out_crops: int
    """Of each that is not."""


def plan_crops(names: Sequence[str], n_channels: int, share_held_out: float, seed: int) -> CropPlan:
    """Chooses tomograms evenly from all, and how many crops of each fit into bounded memory.

    Args:
        names: of all tomograms, sorted; one or more.
        n_channels: of a crop.
        share_held_out: of the chosen tomograms, 0..0.5; 0, or fewer than three tomograms: none is held out.
        seed: of the choice of those held out.
    """
    number = min(len(names), MOST_TOMOGRAMS)
    chosen = [names[int(place)] for place in np.linspace(0, len(names) - 1, number).round()]
    n_held_out = 0
    if share_held_out and number >= FEWEST_TO_HOLD_OUT_OF:
        n_held_out = min(MOST_HELD_OUT, max(1, round(share_held_out * number)))
    held_out = set(np.random.default_rng(seed).choice(number, n_held_out, replace=False).tolist())
    most = min(MOST_CROPS, MOST_BYTES // (n_channels * SIDE**2 * np.dtype(np.float32).itemsize))
    return CropPlan(
        training=tuple(name for place, name in enumerate(chosen) if place not in held_out),
        held_out=tuple(name for place, name in enumerate(chosen) if place in held_out),
        crops=max(1, most // (number - n_held_out)),
        held_out_crops=HELD_OUT_CROPS // max(1, n_held_out),
    )


def cut_crops(data: NDArray[np.float32], most: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Cuts crops at random places of a tomogram; fewer than ``most`` where it is small.

    Args:
        data: (channel, z, y, x), as the networks see it; what is smaller than a crop is filled up by reflection.
        most: crops.
        random: where the places come from.

    Returns:
        (n, channel, y, x), y and x of ``SIDE``.
    """
    _, n_slices, height, width = data.shape
    number = min(most, max(1, -(-COVERAGE * n_slices * height * width // SIDE**2)))
    crops = np.empty((number, len(data), SIDE, SIDE), np.float32)
    for crop in crops:
        k = random.integers(n_slices)
        y, x = (_start(size, random) for size in (height, width))
        crop[:] = crop_reflected(data[:, k], y, x, SIDE, SIDE)
    return crops


def _start(size: int, random: np.random.Generator) -> int:
    """Where a crop begins along an axis; one that is larger than the tomogram has it in its middle."""
    return int(random.integers(size - SIDE + 1)) if size >= SIDE else (size - SIDE) // 2
