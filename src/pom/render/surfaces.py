"""Surfaces of segmentations: what is above a level, without dust, as triangles."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pom.io.feature_library import LEVELS
from pom.io.mrc import ANGSTROM_PER_NM
from pom.render.arrays import from_vtk, to_vtk
from pom.volumes.binning import bin_mean
from pom.volumes.pieces import bounding_box, large_pieces, least_voxels

if TYPE_CHECKING:
    from vtkmodules.vtkCommonDataModel import vtkPolyData

MARGIN = 2
"""Voxels around what is above the level that belong to the surface's volume: smoothing reaches so far."""

Voxels = NDArray[np.float32]


@dataclass(frozen=True)
class Surface:
    """Triangles in space; the volume's first corner, not the middle of its first voxel, is at (0, 0, 0)."""

    vertices: NDArray[np.float32]
    """(n, 3), x, y, z in nm."""
    faces: NDArray[np.int32]
    """(m, 3), numbers of vertices; seen from outside they go round counter-clockwise."""
    normals: NDArray[np.float32]
    """(n, 3), x, y, z, of length 1, to the outside."""

    def moved(self, by: tuple[float, float, float]) -> "Surface":
        """The same elsewhere; ``by``: x, y, z in nm."""
        return replace(self, vertices=self.vertices + np.array(by, np.float32))


EMPTY = Surface(np.empty((0, 3), np.float32), np.empty((0, 3), np.int32), np.empty((0, 3), np.float32))


def surface(
    probability: Voxels,
    level: float,
    dust: float,
    voxel_size: tuple[float, float, float],
    max_triangles: int | None = None,
    binning: int = 1,
) -> Surface:
    """The smoothed surface round what is above a level; where the volume ends it is closed, as if cut there.

    Args:
        probability: (z, y, x), 0..1.
        level: 0..256, of full scale.
        dust: connected pieces (26 neighbours) smaller than this are left out, in nm^3.
        voxel_size: (z, y, x) in Angstrom.
        max_triangles: so many at most, by larger voxels; None: as many as there are.
        binning: the surface is made of voxels so many times as large, which then are not smoothed.

    Returns:
        An empty one where nothing is above the level.
    """
    share = min(max(level / LEVELS, 0.5 / LEVELS), 1 - 0.5 / LEVELS)
    sizes = tuple(size / ANGSTROM_PER_NM for size in voxel_size)
    kept = _without_dust(probability, level / LEVELS, least_voxels(dust, float(np.prod(sizes))))
    if kept is None:
        return EMPTY
    voxels, corner = kept
    made = _contour(voxels, corner, binning, share, (sizes[0], sizes[1], sizes[2]))
    while max_triangles is not None and len(made.faces) > max_triangles and binning < max(voxels.shape):
        # Voxels twice as large leave a quarter of the triangles.
        binning = max(binning + 1, math.ceil(binning * math.sqrt(len(made.faces) / max_triangles)))
        made = _contour(voxels, corner, binning, share, (sizes[0], sizes[1], sizes[2]))
    return made


def _without_dust(probability: Voxels, share: float, least: float) -> tuple[Voxels, tuple[int, int, int]] | None:
    """The part of a volume where something is above the level, a copy without dust, and its first voxel (z, y, x).

    ``least``: of a piece, in voxels.
    """
    mask = probability >= share
    box = bounding_box(mask, MARGIN)
    if box is None:
        return None
    voxels = probability[box].copy()
    if least > 1:
        pieces, is_large = large_pieces(mask[box], least)
        if not is_large.any():
            return None
        is_dust = ~is_large
        is_dust[0] = False  # what is in no piece stays as it is
        voxels[is_dust[pieces]] = 0
    z, y, x = (part.start for part in box)
    return voxels, (z, y, x)


def _contour(
    voxels: Voxels, corner: tuple[int, int, int], binning: int, share: float, size: tuple[float, float, float]
) -> Surface:
    """The surface of a part of a volume. Sizes in nm."""
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D

    if binning > 1:
        # The mean smooths as well; both together would take away what is a few voxels across.
        binned = bin_mean(voxels, (binning,) * 3)
        padded, share = np.pad(binned, 1), _level_of_binned(binned, share, (voxels >= share).sum() / binning**3)
    else:
        padded = _smoothed(voxels)
    image = vtkImageData()
    image.SetDimensions(*padded.shape[::-1])
    spacing = [length * binning for length in size[::-1]]
    image.SetSpacing(*spacing)
    # The middle of the first voxel of the padding.
    starts = (start * length for start, length in zip(corner[::-1], size[::-1], strict=True))
    image.SetOrigin(*(start - step / 2 for start, step in zip(starts, spacing, strict=True)))
    image.GetPointData().SetScalars(to_vtk(padded.reshape(-1)))
    contour = vtkFlyingEdges3D()
    contour.SetInputData(image)
    contour.SetValue(0, share)
    contour.ComputeScalarsOff()
    contour.ComputeNormalsOn()
    contour.Update()
    return _from_vtk(contour.GetOutput())


def _level_of_binned(binned: Voxels, share: float, n_above: float) -> float:
    """The level at which binned voxels enclose as much as those that they are the means of do at ``share``.

    No higher than that: means of what is thin, such as a membrane, are low, and it would vanish.

    Args:
        binned: (z, y, x).
        share: 0..1.
        n_above: how many of the larger voxels would hold what is above.
    """
    n = min(max(1, round(n_above)), binned.size)
    inside = np.partition(binned.reshape(-1), -n)[-n]
    outside = binned.max(where=binned < inside, initial=0)
    return min(share, float(inside + outside) / 2)


def _smoothed(voxels: Voxels) -> Voxels:
    """Takes the steps out of a volume: weights 1, 2, 1 along each axis; beyond the border it goes on as it ends.

    Returns:
        (z + 2, y + 2, x + 2), with a voxel of 0 on every side.
    """
    framed = np.zeros([n + 2 for n in voxels.shape], np.float32)
    last = len(voxels) - 1
    before = now = _smoothed_image(voxels[0])
    for z in range(len(voxels)):
        after = _smoothed_image(voxels[min(z + 1, last)])
        inner = framed[z + 1, 1:-1, 1:-1]
        np.add(before, after, out=inner)
        inner += now
        inner += now
        inner *= np.float32(1 / 64)
        before, now = now, after
    return framed


def _smoothed_image(image: Voxels) -> Voxels:
    """16 times a smoothed image."""
    rows = _with_neighbours(image)
    return _with_neighbours(rows.T).T


def _with_neighbours(lines: Voxels) -> Voxels:
    """Twice each line, and those on either side of it."""
    total = 2 * lines
    total[1:] += lines[:-1]
    total[:-1] += lines[1:]
    total[0] += lines[0]
    total[-1] += lines[-1]
    return total


def polydata(made: Surface) -> "vtkPolyData":
    """The surface as VTK has it; it looks at the same memory."""
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

    points = vtkPoints()
    points.SetData(to_vtk(made.vertices))
    cells = vtkCellArray()
    cells.SetData(3, to_vtk(made.faces.reshape(-1)))
    data = vtkPolyData()
    data.SetPoints(points)
    data.SetPolys(cells)
    normals = to_vtk(made.normals)
    data.GetPointData().SetNormals(normals)
    return data


def _from_vtk(data: "vtkPolyData") -> Surface:
    if not data.GetNumberOfPolys():
        return EMPTY
    vertices = from_vtk(data.GetPoints().GetData())
    faces = from_vtk(data.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    normals = from_vtk(data.GetPointData().GetNormals())
    return Surface(np.array(vertices, np.float32), np.array(faces, np.int32), np.array(normals, np.float32))
