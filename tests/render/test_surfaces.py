import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pom.render.surfaces import Surface, surface

VOXEL = (20.0, 10.0, 10.0)
"""(z, y, x) in Angstrom."""


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> NDArray[np.float32]:
    """1 in a ball; radius in voxels."""
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    inside = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= radius**2
    return inside.astype(np.float32)


def volume(found: Surface) -> float:
    """What the triangles enclose, in nm^3; negative where they go round the wrong way."""
    a, b, c = (found.vertices[found.faces[:, corner]] for corner in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def test_ball_has_its_volume_place_and_normals() -> None:
    found = surface(ball((40, 60, 64), (20, 30, 25), 14), 128, 0, (10.0, 10.0, 10.0))
    assert volume(found) == pytest.approx(4 / 3 * np.pi * 14**3, rel=0.02)
    centre = np.array([25.5, 30.5, 20.5])  # x, y, z in nm; the first voxel's middle is at half its size
    assert found.vertices.mean(axis=0) == pytest.approx(centre, abs=0.1)
    outwards = found.vertices - centre
    outwards /= np.linalg.norm(outwards, axis=1)[:, None]
    assert np.einsum("ij,ij->i", outwards, found.normals).min() > 0.8
    assert found.vertices.dtype == np.float32
    assert found.faces.dtype == np.int32


def test_what_fills_the_volume_is_closed_where_it_ends() -> None:
    found = surface(np.ones((5, 20, 30), np.float32), 128, 0, VOXEL)
    assert found.vertices.min(axis=0) == pytest.approx([0, 0, 0], abs=1e-4)
    assert found.vertices.max(axis=0) == pytest.approx([30, 20, 10], abs=1e-4)
    assert volume(found) == pytest.approx(6000, rel=0.02)


def test_level_says_where_a_slope_is_cut() -> None:
    slope = np.broadcast_to(np.linspace(0, 1, 101, dtype=np.float32), (20, 20, 101))
    for level in (64, 128, 192):
        left = surface(slope, level, 0, (10.0, 10.0, 10.0)).vertices[:, 0].min()
        assert left == pytest.approx(100 * level / 256 + 0.5, abs=0.1)


def test_dust_goes_and_pieces_as_large_as_it_stay() -> None:
    both = np.maximum(ball((30, 40, 60), (15, 20, 15), 9), ball((30, 40, 60), (15, 20, 48), 4))
    small = ball((30, 40, 60), (15, 20, 48), 4).sum()  # voxels, of 2 nm^3 each

    def right_end(dust: float) -> float:
        return float(surface(both, 128, dust, VOXEL).vertices[:, 0].max())

    assert right_end(2 * small) > 50
    assert right_end(2 * small + 1) < 26
    assert len(surface(both, 128, 1e9, VOXEL).faces) == 0


def test_nothing_above_the_level_is_an_empty_surface() -> None:
    found = surface(np.full((4, 5, 6), 0.4, np.float32), 128, 1, VOXEL)
    assert (found.vertices.shape, found.faces.shape, found.normals.shape) == ((0, 3), (0, 3), (0, 3))


def test_fewer_triangles_are_of_the_same_shape() -> None:
    whole = ball((50, 50, 50), (25, 25, 25), 20)
    found = surface(whole, 128, 0, (10.0, 10.0, 10.0), max_triangles=3000)
    assert 500 < len(found.faces) <= 3000 < len(surface(whole, 128, 0, (10.0, 10.0, 10.0)).faces)
    assert volume(found) == pytest.approx(4 / 3 * np.pi * 20**3, rel=0.1)
    assert found.vertices.mean(axis=0) == pytest.approx([25.5] * 3, abs=1)


def test_pieces_stay_where_voxels_are_binned() -> None:
    """Of balls of 9 voxels across, in voxels twice as large."""
    balls = np.tile(ball((12, 12, 12), (6, 6, 6), 4), (3, 8, 8))
    assert n_pieces(surface(balls, 128, 0, (10.0, 10.0, 10.0))) == 3 * 8 * 8
    binned = surface(balls, 128, 0, (10.0, 10.0, 10.0), binning=2)
    assert n_pieces(binned) == 3 * 8 * 8
    assert volume(binned) == pytest.approx(balls.sum(), rel=0.15)
    fewer = surface(balls, 128, 0, (10.0, 10.0, 10.0), max_triangles=len(binned.faces))
    assert 0 < len(fewer.faces) <= len(binned.faces)
    assert n_pieces(fewer) == 3 * 8 * 8


def test_what_is_thin_stays_where_voxels_are_binned() -> None:
    wall = np.zeros((12, 40, 41), np.float32)
    wall[:, :, 20:22] = 1
    for binning in (2, 3, 4, 5):
        found = surface(wall, 128, 0, (10.0, 10.0, 10.0), binning=binning)
        assert n_pieces(found) == 1
        assert found.vertices[:, 0].min() > 20 - binning
        assert found.vertices[:, 0].max() < 22 + binning
    assert len(surface(wall, 128, 0, (10.0, 10.0, 10.0), max_triangles=1).faces) > 0


def n_pieces(found: Surface) -> int:
    """How many parts a surface has that no triangle connects."""
    a, b, c = found.faces.T
    ones, n = np.ones(2 * len(a)), len(found.vertices)
    edges = coo_matrix((ones, (np.r_[a, b], np.r_[b, c])), (n, n))
    return int(connected_components(edges, directed=False)[0])


def test_moved() -> None:
    found = surface(np.ones((2, 2, 2), np.float32), 128, 0, (10.0, 10.0, 10.0))
    there = found.moved((1.0, 2.0, -3.0))
    assert there.vertices - found.vertices == pytest.approx(np.tile([1, 2, -3], (len(found.vertices), 1)), abs=1e-5)
