"""Segmentations drawn as clouds: the denser, the more probable; seen through, with no surface."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pom.render.camera import FIELD_OF_VIEW, Camera, Vector
from pom.volumes.binning import bin_mean

MOST_VOXELS = 224
"""Along the longest side; a cloud has no finer detail."""
STEPS = 96
"""Looks into the volume along each line of sight."""
OPAQUE_AFTER = 0.10
"""Of the box's longest side: so much of what is surely there lets e^-1 of the light through."""

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Cloud:
    """One segmentation."""

    probability: Image
    """(z, y, x), 0..1; ``coarse`` makes it no larger than is worth while."""
    colour: tuple[float, float, float]
    alpha: float
    """0..1: how dense it is."""
    level: int
    """0..256: what is below half of it, of full scale, is not seen."""


def coarse(probability: Image) -> Image:
    """A volume (z, y, x) no finer than a cloud shows it."""
    factor = math.ceil(max(probability.shape) / MOST_VOXELS)
    return bin_mean(probability, (factor,) * 3) if factor > 1 else probability


def draw_clouds(clouds: Sequence[Cloud], size: Vector, camera: Camera, depth: Image) -> tuple[Image, Image]:
    """What clouds put before a picture: their colour, times how much they cover, and how much.

    Args:
        clouds: of one shape; each fills the box.
        size: of the box, (x, y, z), in the camera's unit.
        camera: from where.
        depth: (height, width), of a square picture: of what lies in the clouds and ends the view; infinite where
            nothing does.

    Returns:
        (height, width, 3) and (height, width), both 0..1.
    """
    density, colours = _mixed(clouds)
    # By depth along the direction of view, so that what ends the view can be compared with.
    directions = _directions(len(depth), camera)
    start, stop = _within(size, camera, directions)
    np.minimum(stop, depth.reshape(-1), out=stop)
    seen = np.flatnonzero(stop > start)
    start, step, directions = start[seen], (stop - start)[seen] / STEPS, directions[seen]
    light = np.ones(len(seen), np.float32)
    gathered = np.zeros((len(seen), 3), np.float32)
    shape = density.shape
    flat, paints = density.reshape(-1), colours.reshape(-1, 3)
    scale = np.array(shape[::-1], np.float64) / size
    # Voxels, not nm: the eye, and how far one gets per depth.
    eye, directions = (camera.eye * scale).astype(np.float32), (directions * scale).astype(np.float32)
    thickness = step / np.float32(OPAQUE_AFTER * size.max())
    # Each look is a fraction of a voxel aside, by another fraction every time: the voxels' corners are not seen.
    asides = np.random.default_rng(0).uniform(-0.5, 0.5, (STEPS, 3)).astype(np.float32)
    for index, aside in enumerate(asides):
        place = start + (index + np.float32(0.5)) * step
        voxel = np.zeros(len(seen), np.int64)
        for axis in (2, 1, 0):
            part = (eye[axis] + aside[axis] + directions[:, axis] * place).astype(np.int32)
            np.clip(part, 0, shape[2 - axis] - 1, out=part)
            voxel = voxel * shape[2 - axis] + part
        passed = np.exp(-flat[voxel] * thickness)
        gathered += (light * (1 - passed))[:, None] * paints[voxel]
        light *= passed
    colour = np.zeros((*depth.shape, 3), np.float32)
    cover = np.zeros(depth.shape, np.float32)
    colour.reshape(-1, 3)[seen] = gathered
    cover.reshape(-1)[seen] = 1 - light
    return colour, cover


def middle_depths(side: int, size: Vector, camera: Camera) -> Image:
    """(side, side): the depth half-way through the box, of each pixel of a square picture."""
    start, stop = _within(size, camera, _directions(side, camera))
    middle: Image = (start + stop).reshape(side, side) * np.float32(0.5)
    return middle


def _mixed(clouds: Sequence[Cloud]) -> tuple[Image, Image]:
    """The density (z, y, x) of all clouds together, and their colour (z, y, x, 3)."""
    total = np.zeros_like(clouds[0].probability)
    colour = np.zeros((*total.shape, 3), np.float32)
    for cloud in clouds:
        lowest = np.float32(cloud.level / 512)
        density = np.float32(cloud.alpha) * np.clip((cloud.probability - lowest) / (1 - lowest), 0, 1)
        total += density
        colour += density[..., None] * np.array(cloud.colour, np.float32)
    colour /= np.maximum(total, np.float32(1e-6))[..., None]
    return total, colour


def _directions(side: int, camera: Camera) -> Image:
    """(side * side, 3): how far each pixel's line of sight gets, per depth, from the top left."""
    half = math.tan(math.radians(FIELD_OF_VIEW / 2))
    places = ((np.arange(side) + 0.5) / side * 2 - 1) * half
    lines = camera.forward + places[None, :, None] * camera.right - places[:, None, None] * camera.up
    return lines.reshape(-1, 3).astype(np.float32)


def _within(size: Vector, camera: Camera, directions: Image) -> tuple[Image, Image]:
    """From which depth to which each line of sight is in the box; the second is the smaller where it never is."""
    start = np.full(len(directions), camera.near, np.float32)
    stop = np.full(len(directions), camera.far, np.float32)
    for axis in range(3):
        along = np.where(abs(directions[:, axis]) < 1e-6, np.float32(1e-6), directions[:, axis])
        one, other = -camera.eye[axis] / along, (size[axis] - camera.eye[axis]) / along
        start = np.maximum(start, np.minimum(one, other))
        stop = np.minimum(stop, np.maximum(one, other))
    return start.astype(np.float32), stop.astype(np.float32)
