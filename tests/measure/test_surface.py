"""Distances between surfaces whose distances anybody can work out."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pom.measure.surface import SurfaceDistances, surface, surface_distances, together

SHAPE = (24, 26, 28)


def block(z: tuple[int, int], y: tuple[int, int], x: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, np.bool_)
    mask[slice(*z), slice(*y), slice(*x)] = True
    return mask


def ball(radius: float, voxel_size: tuple[float, float, float]) -> NDArray[np.bool_]:
    axes = [(np.arange(n) - n // 2) * size for n, size in zip((41, 41, 41), voxel_size, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return np.asarray(z**2 + y**2 + x**2 <= radius**2)


def measured(
    predicted: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0),
    known: NDArray[np.bool_] | None = None,
) -> SurfaceDistances:
    distances = surface_distances(predicted, truth, known, voxel_size)
    assert distances is not None
    return distances


def test_the_surface_of_a_block_is_its_shell() -> None:
    mask = block((4, 10), (5, 12), (6, 15))
    shell = mask & ~block((5, 9), (6, 11), (7, 14))
    np.testing.assert_array_equal(surface(mask), shell)


def test_there_is_no_surface_where_the_volume_ends() -> None:
    mask = block((0, 24), (0, 26), (0, 10))
    np.testing.assert_array_equal(surface(mask), block((0, 24), (0, 26), (9, 10)))
    assert not surface(np.ones(SHAPE, np.bool_)).any()


def test_there_is_no_surface_towards_what_is_not_known() -> None:
    known = ~block((0, 24), (0, 26), (10, 12))
    mask = block((0, 24), (0, 26), (5, 10))
    np.testing.assert_array_equal(surface(mask, known), block((0, 24), (0, 26), (5, 6)))


def test_what_is_the_same_is_not_apart() -> None:
    mask = block((4, 10), (5, 12), (6, 15))
    distances = measured(mask, mask, (3.0, 2.0, 2.0))
    assert (distances.mean, distances.percentile(95)) == (0.0, 0.0)


@pytest.mark.parametrize(("axis", "expected"), [(0, 3 * 4.0), (1, 3 * 2.0), (2, 3 * 1.5)])
def test_plates_a_known_distance_apart(axis: int, expected: float) -> None:
    """A half space from one side to the other has one flat surface; moved by 3 voxels, it is as far as these are."""
    edges = [(0, 24), (0, 26), (0, 28)]
    truth, predicted = list(edges), list(edges)
    truth[axis], predicted[axis] = (0, 10), (0, 13)
    distances = measured(block(*predicted), block(*truth), (4.0, 2.0, 1.5))
    assert distances.mean == pytest.approx(expected)
    assert distances.percentile(95) == pytest.approx(expected)


@pytest.mark.parametrize("voxel_size", [(1.0, 1.0, 1.0), (1.5, 1.0, 1.0)])
def test_spheres_of_one_centre(voxel_size: tuple[float, float, float]) -> None:
    distances = measured(ball(16.0, voxel_size), ball(10.0, voxel_size), voxel_size)
    # The nearest voxel of a ragged surface is one of those that stand out.
    assert distances.mean == pytest.approx(6.0, abs=0.3)
    assert distances.percentile(95) == pytest.approx(6.0, abs=1.0)


def test_every_distance_agrees_with_one_by_one_comparison() -> None:
    random = np.random.default_rng(3)
    a, b = random.random((2, 6, 7, 8)) > 0.7
    size = np.array([3.0, 2.0, 1.0])
    points_a, points_b = (np.argwhere(surface(mask)) * size for mask in (a, b))
    apart = np.linalg.norm(points_a[:, None] - points_b[None], axis=2)
    to_b, to_a = np.sort(apart.min(axis=1)), np.sort(apart.min(axis=0))
    distances = measured(a, b, (3.0, 2.0, 1.0))
    assert distances.mean == pytest.approx((to_b.sum() + to_a.sum()) / (len(to_b) + len(to_a)), abs=1e-3)
    np.testing.assert_allclose(np.repeat(distances.to_truth.values, distances.to_truth.counts), to_b, atol=1e-4)
    np.testing.assert_allclose(
        np.repeat(distances.to_prediction.values, distances.to_prediction.counts), to_a, atol=1e-4
    )
    expected = max(np.percentile(each, 95, method="inverted_cdf") for each in (to_a, to_b))
    assert distances.percentile(95) == pytest.approx(expected, abs=1e-3)


def test_the_95th_percentile_is_that_of_the_worse_direction() -> None:
    """A second block that is not there is far from the truth; the truth is not far from anything."""
    truth = block((2, 6), (2, 6), (2, 6))
    distances = measured(truth | block((2, 6), (2, 6), (20, 24)), truth)
    assert distances.to_prediction.percentile(95) == 0.0
    assert distances.to_truth.percentile(50) == 0.0
    assert distances.percentile(95) == distances.to_truth.percentile(95) == 18.0


def test_nothing_is_infinitely_far() -> None:
    mask, empty = block((4, 10), (5, 12), (6, 15)), np.zeros(SHAPE, np.bool_)
    for predicted, truth in ((mask, empty), (empty, mask), (empty, empty), (mask, np.ones(SHAPE, np.bool_))):
        assert surface_distances(predicted, truth, None, (1.0, 1.0, 1.0)) is None
    assert together([]) is None


def test_several_volumes_weigh_by_their_surface() -> None:
    one = measured(block((0, 24), (0, 26), (0, 12)), block((0, 24), (0, 26), (0, 10)))
    two = measured(block((0, 24), (0, 26), (0, 11)), block((0, 24), (0, 26), (0, 10)))
    both = together([one, two, two])
    assert both is not None
    assert both.mean == pytest.approx((2 + 1 + 1) / 3)
    assert both.percentile(95) == 2.0
    assert both.percentile(60) == 1.0
    assert both.to_truth.counts.tolist() == [2 * 24 * 26, 24 * 26]
