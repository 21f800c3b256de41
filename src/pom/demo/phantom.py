"""The phantom cell: a tomogram of a cell that never was, and the truth about each of its voxels.

It is laid out like a lamella of a real cell and imaged like one, so that what works on it has a chance on
real data: no class can be told by its grey value alone.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pom.demo import organelles
from pom.demo.cell import Cell, Label
from pom.demo.microscope import Exposure, segment_membrane, take_tomogram
from pom.demo.shapes import Ellipsoid, Field, Shape, smooth_field

ONTOLOGIES = tuple(label.name.capitalize() for label in Label if label is not Label.NOTHING)

RIBOSOMES_PER_VOXEL = 2.2e-4
GAP = 8.0  # voxels between one body and the next
ATTEMPTS = 80
SMALLEST = 0.6  # of its size, below which a body that finds no room is left out


@dataclass(frozen=True)
class Phantom:
    """One tomogram of the phantom cell; every array is (z, y, x), at 15.68 Angstrom a voxel.

    ``density`` is the tomogram, dense is dark, in arbitrary units; ``labels`` the truth, 0 where there is no
    ontology and k + 1 for ``ONTOLOGIES[k]``; ``membrane`` an imperfect membrane segmentation in 0..1.
    """

    density: Field
    labels: NDArray[np.uint8]
    membrane: Field


def make_phantom(seed: int | Sequence[int], shape: Shape, without: Collection[str] = ()) -> Phantom:
    """A tomogram of ``shape`` (z, y, x) voxels, the same for the same ``seed``.

    ``without`` names organelles of ``ONTOLOGIES`` that are to be missing. In a volume of less than about
    200 x 200 voxels in the plane others may be missing too, for want of room.
    """
    rng = np.random.default_rng(seed)
    cell = Cell.of_cytosol(rng, shape)
    furnish(cell, without)
    organelles.paint_ribosomes(cell, RIBOSOMES_PER_VOXEL)
    mill_lamella(cell)
    density = take_tomogram(rng, cell.mass, Exposure.draw(rng))
    return Phantom(density, cell.labels, segment_membrane(rng, cell.membrane))


def furnish(cell: Cell, without: Collection[str]) -> None:
    """Puts the organelles into a cell, the large ones first."""
    rng = cell.rng
    area = cell.shape[1] * cell.shape[2] / 280**2
    plan: list[tuple[str, int, Callable[[Cell], Ellipsoid], Callable[[Cell, Ellipsoid], None]]] = [
        ("Nucleus", 1, _nucleus, organelles.paint_nucleus),
        ("Mitochondrion", max(1, round(2 * area)), _mitochondrion, organelles.paint_mitochondrion),
        ("Droplet", int(rng.integers(3, 5)), _droplet, organelles.paint_droplet),
        ("Vesicle", int(rng.integers(18, 26)), _vesicle, organelles.paint_vesicle),
        ("Cisterna", 3, _cisterna, organelles.paint_cisterna),
    ]
    for name, count, draw, paint in plan:
        for _ in range(0 if name in without else count):
            body = _place(cell, draw)
            if body is not None:
                paint(cell, body)


def mill_lamella(cell: Cell) -> None:
    """Takes away what is not in the lamella: a tilted sheet with uneven faces, and an edge away from the nucleus."""
    depth, height, width = cell.shape
    z, y, x = np.ogrid[:depth, :height, :width]
    y, x = y - height / 2, x - width / 2
    tilt_y, tilt_x = cell.rng.uniform(-0.02, 0.02, 2)
    faces = 0.5 * depth + 2 - np.abs(z - depth / 2 - tilt_y * y - tilt_x * x)
    outwards = cell.facing + np.pi + cell.rng.uniform(-1, 1)
    edge = cell.rng.uniform(0.34, 0.40) * min(height, width) - np.sin(outwards) * y - np.cos(outwards) * x
    inside = np.minimum(faces, edge) + 1.5 * smooth_field(cell.rng, (height, width), 60.0)
    solid = np.clip(inside + 0.5, 0, 1).astype(np.float32)
    cell.mass *= solid
    cell.membrane *= solid
    cell.labels[inside < 0] = Label.VOID


def _place(cell: Cell, draw: Callable[[Cell], Ellipsoid]) -> Ellipsoid | None:
    """A body that ``draw`` proposes, clear of all others, and the smaller the longer that takes; None without room."""
    for factor in np.linspace(1, SMALLEST, ATTEMPTS):
        body = draw(cell).resized(float(factor))
        surface = body.surface()
        if all(other.distance(surface).min() > GAP for other in cell.bodies):
            return body
    return None


def _centre(cell: Cell, margin: float = 0.0) -> tuple[float, float, float]:
    """A random point at about half height, at least ``margin`` from the sides."""
    depth, height, width = cell.shape
    return (
        cell.rng.uniform(0.25, 0.75) * depth,
        cell.rng.uniform(margin, height - margin),
        cell.rng.uniform(margin, width - margin),
    )


def _nucleus(cell: Cell) -> Ellipsoid:
    """So large that only its rim reaches into the field of view."""
    depth, height, width = cell.shape
    radius = cell.rng.uniform(1.1, 1.6) * width
    away = radius + cell.rng.uniform(0.13, 0.20) * width
    middle_y, middle_x = height / 2 + away * np.sin(cell.facing), width / 2 + away * np.cos(cell.facing)
    return Ellipsoid((cell.rng.uniform(-1, 2) * depth, middle_y, middle_x), (radius, radius, radius))


def _mitochondrion(cell: Cell) -> Ellipsoid:
    short = cell.rng.uniform(36, 46)
    radii = (cell.rng.uniform(1.2, 2.0) * short, short, cell.rng.uniform(1.5, 2.2) * short)
    return Ellipsoid(_centre(cell, margin=30), radii, cell.rng.uniform(0, np.pi))


def _droplet(cell: Cell) -> Ellipsoid:
    radius = cell.rng.uniform(20, 32)
    return Ellipsoid(_centre(cell, margin=10), (radius, radius, radius))


def _vesicle(cell: Cell) -> Ellipsoid:
    radius = cell.rng.uniform(16, 23)
    return Ellipsoid(_centre(cell, margin=5), (radius, radius, radius))


def _cisterna(cell: Cell) -> Ellipsoid:
    radii = (cell.rng.uniform(30, 60), cell.rng.uniform(6, 8), cell.rng.uniform(30, 50))
    return Ellipsoid(_centre(cell), radii, cell.rng.uniform(0, np.pi))
