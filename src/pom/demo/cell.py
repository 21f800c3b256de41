"""The cell while it is painted: its mass, its membranes, and the name of every voxel.

Lengths are in voxels of 15.68 Angstrom: a bilayer is then some 3 voxels thick, a ribosome 16 across. Mass is
on a scale where ice is 0 and the middle of a membrane leaflet about 1.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pom.demo.shapes import (
    Coordinates,
    Ellipsoid,
    Field,
    Point,
    Shape,
    Window,
    at,
    smooth_field,
    squared_distance,
    warped_coordinates,
)

FAR = 1e3
REACH = 24.0  # how far round a body the clearance is known; more than the largest warp
LEAFLET = 1.3  # from the middle of a bilayer to the middle of a leaflet


class Label(IntEnum):
    """The value of a voxel in the truth: 0 is what nobody annotates, the others are the demo's ontologies."""

    NOTHING = 0
    CYTOPLASM = 1
    MITOCHONDRION = 2
    NUCLEUS = 3
    VESICLE = 4
    DROPLET = 5
    VOID = 6


@dataclass
class Cell:
    """Every array is (z, y, x).

    ``coordinates`` are those in which bodies are drawn; ``membrane`` is 0..1; ``clearance`` the distance in
    voxels to the nearest body, known within ``REACH`` of it; ``bodies`` are those painted so far. ``facing`` is
    the direction in the plane, in radians from x to y, of the cell's middle.
    """

    rng: np.random.Generator
    coordinates: Coordinates
    mass: Field
    membrane: Field
    clearance: Field
    labels: NDArray[np.uint8]
    facing: float
    bodies: list[Ellipsoid] = field(default_factory=list)

    @classmethod
    def of_cytosol(cls, rng: np.random.Generator, shape: Shape) -> "Cell":
        """A cell of cytosol only: crowded with small protein, a little denser here than there."""
        crowd = np.maximum(smooth_field(rng, shape, 2.5), 0)
        return cls(
            rng=rng,
            coordinates=warped_coordinates(rng, shape, length=45.0, amplitude=4.5),
            mass=0.22 + 0.10 * crowd + 0.03 * smooth_field(rng, shape, 40.0),
            membrane=np.zeros(shape, np.float32),
            clearance=np.full(shape, FAR, np.float32),
            labels=np.full(shape, Label.CYTOPLASM, np.uint8),
            facing=rng.uniform(0, 2 * np.pi),
        )

    @property
    def shape(self) -> Shape:
        """The size (z, y, x) in voxels."""
        z, y, x = self.mass.shape
        return z, y, x

    def add_body(self, body: Ellipsoid, label: Label) -> tuple[Window, Field]:
        """Labels a body; returns its window and, in there, the signed distance to its surface in voxels."""
        window = body.window(self.shape, REACH)
        distance = body.distance(at(self.coordinates, window))
        self.labels[window][distance < 0] = label
        np.minimum(self.clearance[window], distance, out=self.clearance[window])
        self.bodies.append(body)
        return window, distance

    def fill(self, window: Window, inside: NDArray[np.bool_], mass: NDArray[np.floating[Any]] | float) -> None:
        """Gives the voxels ``inside`` a new mass."""
        np.copyto(self.mass[window], mass, where=inside, casting="same_kind")

    def add_membrane(self, window: Window, distance: Field, strength: Field | float = 1.0) -> None:
        """Adds a bilayer where ``distance`` is 0: two leaflets in the mass, one band in the membrane."""
        leaflets = np.exp(-(((np.abs(distance) - LEAFLET) / 0.9) ** 2))
        self.mass[window] += 0.9 * strength * leaflets
        self.add_band(window, distance, strength)

    def add_band(self, window: Window, distance: Field, strength: Field | float) -> None:
        """Adds what a segmentation would take for a membrane, where ``distance`` is 0, and no mass."""
        band = strength * np.exp(-((distance / 1.8) ** 2))
        np.maximum(self.membrane[window], band, out=self.membrane[window])

    def add_dots(self, centres: Iterable[Point], radius: float, mass: float) -> None:
        """Adds a round blob at each centre."""
        for centre in centres:
            window = Ellipsoid(centre, (0.0, 0.0, 0.0)).window(self.shape, margin=2 * radius)
            self.mass[window] += mass * np.exp(-((squared_distance(window, centre) / radius**2) ** 1.5))
