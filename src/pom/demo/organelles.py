"""What the phantom cell is made of: each function paints one structure with its mass, membranes and label."""

import numpy as np
from numpy.typing import NDArray

from pom.demo.cell import Cell, Label
from pom.demo.shapes import (
    Ellipsoid,
    Field,
    Point,
    Window,
    at,
    rounded_intersection,
    smooth_field,
    squared_distance,
)

LUMEN = 0.08  # mass between two membranes
ENVELOPE = 13.0  # between the two membranes of a nucleus, 20 nm
PORE = 15.0  # radius of a nuclear pore
INTERMEMBRANE = 8.0  # between the two membranes of a mitochondrion, 13 nm


def paint_nucleus(cell: Cell, body: Ellipsoid) -> None:
    """A nucleus: two membranes with pores, chromatin fibres, and denser chromatin along the envelope."""
    window, outer = cell.add_body(body, Label.NUCLEUS)
    inner = outer + ENVELOPE
    fibres = np.abs(smooth_field(cell.rng, outer.shape, 4.0))
    dense = 0.5 + 0.5 * np.tanh(1.5 * smooth_field(cell.rng, outer.shape, 22.0) + np.exp(inner / 15))
    cell.fill(window, outer < 0, LUMEN)
    cell.fill(window, inner < 0, 0.08 + (0.26 + 0.24 * dense) * fibres)
    closed = np.ones_like(outer)
    for pore in _points_where(cell.rng, np.abs(outer) < 1, window, 3):
        away = np.sqrt(squared_distance(window, pore))
        np.minimum(closed, np.clip((away - PORE) / 4, 0, 1), out=closed)
    cell.add_membrane(window, outer, closed)
    cell.add_membrane(window, inner, closed)


def paint_mitochondrion(cell: Cell, body: Ellipsoid) -> None:
    """A mitochondrion: an outer membrane, and an inner one that folds into cristae round a dense matrix."""
    window, outer = cell.add_body(body, Label.MITOCHONDRION)
    matrix = np.maximum(outer + INTERMEMBRANE, -_cristae(cell, body, window))
    protein = np.maximum(smooth_field(cell.rng, outer.shape, 2.0), 0)
    cell.fill(window, outer < 0, LUMEN)
    cell.fill(window, matrix < 0, 0.30 + 0.12 * protein)
    cell.add_membrane(window, outer)
    cell.add_membrane(window, matrix)
    cell.add_dots(_points_where(cell.rng, matrix < -5, window, 4), radius=3.5, mass=0.8)


def _cristae(cell: Cell, body: Ellipsoid, window: Window, period: float = 27.0, half_width: float = 5.0) -> Field:
    """The signed distance to the cristae: sheets across the long axis, each from one side to some depth."""
    _, across, along = body.along(at(cell.coordinates, window))
    along = along + 5 * smooth_field(cell.rng, along.shape, 22.0)
    sheet = np.floor(along / period)
    from_middle = np.abs(along - period * sheet - period / 2)
    number = (sheet - sheet.min()).astype(np.int64)
    count = int(number.max()) + 1
    side = np.where(np.arange(count) % 2, 1, -1).astype(np.float32)
    depth = (cell.rng.uniform(-0.1, 0.6, count) * body.radii[1]).astype(np.float32)
    return rounded_intersection(from_middle - half_width, side[number] * across - depth[number], half_width)


def paint_droplet(cell: Cell, body: Ellipsoid) -> None:
    """A lipid droplet: dense and even, without a bilayer; a segmentation takes its rim for a faint one."""
    window, distance = cell.add_body(body, Label.DROPLET)
    cell.fill(window, distance < 0, 0.62 + 0.03 * smooth_field(cell.rng, distance.shape, 3.0))
    cell.add_band(window, distance, strength=0.45)


def paint_vesicle(cell: Cell, body: Ellipsoid) -> None:
    """A vesicle: one bilayer round a lumen that may be emptier or fuller than the cytosol."""
    window, distance = cell.add_body(body, Label.VESICLE)
    content = np.maximum(smooth_field(cell.rng, distance.shape, 2.5), 0)
    cell.fill(window, distance < 0, LUMEN + cell.rng.uniform(0.02, 0.14) * (1 + content))
    cell.add_membrane(window, distance)


def paint_cisterna(cell: Cell, body: Ellipsoid) -> None:
    """A flat cisterna of the endoplasmic reticulum: a membrane that counts as cytoplasm."""
    window, distance = cell.add_body(body, Label.CYTOPLASM)
    cell.fill(window, distance < 0, LUMEN)
    cell.add_membrane(window, distance)


def paint_ribosomes(cell: Cell, per_voxel: float) -> None:
    """Ribosomes, a large and a small subunit each, wherever the cytoplasm has room for them."""
    count = int(per_voxel * cell.mass.size)
    centres = cell.rng.uniform(0, np.array(cell.shape) - 1, (count, 3))
    centres = centres[cell.clearance[tuple(centres.astype(np.int64).T)] > 10]
    towards = cell.rng.standard_normal(centres.shape)
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    cell.add_dots(_points(centres - 2.0 * towards), radius=5.5, mass=0.75)
    cell.add_dots(_points(centres + 4.5 * towards), radius=4.0, mass=0.65)


def _points_where(rng: np.random.Generator, mask: NDArray[np.bool_], window: Window, count: int) -> list[Point]:
    """``count`` random voxels of ``mask``, which lies at ``window``; none where the mask is empty."""
    candidates = np.flatnonzero(mask)
    if not candidates.size:
        return []
    inside = np.stack(np.unravel_index(rng.choice(candidates, count), mask.shape), axis=1)
    return _points(inside + [edge.start for edge in window])


def _points(rows: NDArray[np.floating | np.integer]) -> list[Point]:
    """The rows (z, y, x) of an array as points."""
    return [(float(z), float(y), float(x)) for z, y, x in rows]
