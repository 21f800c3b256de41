"""The geometry of the phantom cell: smooth random fields, and ellipsoids with their signed distance."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Point = tuple[float, float, float]
Shape = tuple[int, int, int]
Window = tuple[slice, slice, slice]
Coordinates = tuple[Field, Field, Field]

SURFACE_POINTS = 96


def smooth_field(rng: np.random.Generator, shape: tuple[int, ...], length: float) -> Field:
    """A Gaussian random field over ``shape`` voxels: mean 0, variance 1, smooth over about ``length`` voxels.

    White noise on a coarse grid spreads through a Gaussian bump a knot. The bumps are separable, so the
    field is one small matrix product an axis, however large ``length`` is.
    """
    bases = [_bumps(size, length) for size in shape]
    field = rng.standard_normal([basis.shape[1] for basis in bases], dtype=np.float32)
    for basis in bases:
        # Takes the first axis off and puts the finished one last: after all axes the order is the old one.
        field = np.tensordot(field, basis, axes=(0, 1)).astype(np.float32, copy=False)
    return np.ascontiguousarray(field)


def _bumps(size: int, length: float) -> Field:
    """The weights (voxel, knot) along one axis; each row has norm 1, which keeps the field's variance at 1."""
    knots = np.arange(-length, size + 2 * length, length)
    weights = np.exp(-0.5 * ((np.arange(size)[:, None] - knots) / (0.7 * length)) ** 2)
    basis: Field = (weights / np.linalg.norm(weights, axis=1, keepdims=True)).astype(np.float32)
    return basis


def warped_coordinates(rng: np.random.Generator, shape: Shape, length: float, amplitude: float) -> Coordinates:
    """The (z, y, x) coordinate of every voxel, each shifted by a smooth field of ``amplitude`` voxels.

    Bodies drawn in these coordinates get bent, organic outlines, and neighbours bend alike.
    """
    grid = np.meshgrid(*(np.arange(size, dtype=np.float32) for size in shape), indexing="ij", sparse=True)
    z, y, x = (axis + np.float32(amplitude) * smooth_field(rng, shape, length) for axis in grid)
    return z, y, x


def at(coordinates: Coordinates, window: Window) -> Coordinates:
    """The part of ``coordinates`` in ``window``."""
    z, y, x = coordinates
    return z[window], y[window], x[window]


def squared_distance(window: Window, point: Point) -> Field:
    """The squared distance in voxels of each voxel in ``window`` from ``point``, both in the whole volume's axes."""
    z, y, x = (
        (np.arange(edge.start, edge.stop, dtype=np.float32) - np.float32(middle)) ** 2
        for edge, middle in zip(window, point, strict=True)
    )
    squared: Field = z[:, None, None] + y[:, None] + x
    return squared


def rounded_intersection(first: Field, second: Field, radius: float) -> Field:
    """The signed distance to what lies in both bodies, its edge rounded by ``radius`` voxels."""
    first, second = first + radius, second + radius
    corner = np.sqrt(np.maximum(first, 0) ** 2 + np.maximum(second, 0) ** 2)
    distance: Field = corner + np.minimum(np.maximum(first, second), 0) - radius
    return distance


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid, turned by ``angle`` (radians) in the plane of the slice.

    ``centre`` is (z, y, x) in voxels; ``radii`` are along z, across and along the long axis; with
    ``angle`` 0 the last two lie along y and x.
    """

    centre: Point
    radii: Point
    angle: float = 0.0

    def along(self, coordinates: Coordinates) -> Coordinates:
        """The coordinates, in voxels from the centre, along this body's own axes."""
        z, y, x = (axis - np.float32(middle) for axis, middle in zip(coordinates, self.centre, strict=True))
        cosine, sine = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        return z, cosine * y - sine * x, sine * y + cosine * x

    def distance(self, coordinates: Coordinates) -> Field:
        """The signed distance to the surface in voxels, negative inside; exact to first order near the surface."""
        scaled = [axis / np.float32(radius) for axis, radius in zip(self.along(coordinates), self.radii, strict=True)]
        scaled[0] += np.float32(1e-6)  # keeps the quotient below defined in the very centre
        level = _norm(scaled)
        slope = _norm([axis / np.float32(radius) for axis, radius in zip(scaled, self.radii, strict=True)])
        return level * (level - 1) / slope

    def surface(self) -> Coordinates:
        """Points spread over the surface: their z, y and x."""
        turn = np.arange(SURFACE_POINTS) * np.pi * (3 - np.sqrt(5))
        height = np.linspace(-1, 1, SURFACE_POINTS)
        ring = np.sqrt(1 - height**2)
        across, along = self.radii[1] * ring * np.sin(turn), self.radii[2] * ring * np.cos(turn)
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        turned = (self.radii[0] * height, cosine * across + sine * along, cosine * along - sine * across)
        z, y, x = ((axis + middle).astype(np.float32) for axis, middle in zip(turned, self.centre, strict=True))
        return z, y, x

    def window(self, shape: Shape, margin: float) -> Window:
        """The part of a volume of ``shape`` that this body can reach with ``margin`` voxels to spare."""
        reach = (self.radii[0], max(self.radii[1:]), max(self.radii[1:]))
        bounds = [
            slice(max(0, int(middle - size - margin)), max(0, min(end, int(middle + size + margin) + 1)))
            for middle, size, end in zip(self.centre, reach, shape, strict=True)
        ]
        return bounds[0], bounds[1], bounds[2]

    def resized(self, factor: float) -> Self:
        """The same body with its radii times ``factor``."""
        z, across, along = self.radii
        return replace(self, radii=(z * factor, across * factor, along * factor))


def _norm(axes: list[Field]) -> Field:
    """The length of vectors given axis by axis."""
    z, y, x = axes
    length: Field = np.sqrt(z**2 + y**2 + x**2)
    return length
