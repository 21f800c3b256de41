"""The geometry against bodies whose distances are known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pom.demo.shapes import (
    Coordinates,
    Ellipsoid,
    rounded_intersection,
    smooth_field,
    squared_distance,
    warped_coordinates,
)


def grid(*shape: int) -> Coordinates:
    z, y, x = np.indices(shape, dtype=np.float32)
    return z, y, x


def values(*numbers: float) -> NDArray[np.float32]:
    return np.array(numbers, np.float32)


def test_smooth_field_has_unit_variance_and_its_length() -> None:
    field = smooth_field(np.random.default_rng(0), (40, 200, 200), 8.0)
    assert field.shape == (40, 200, 200)
    assert field.dtype == np.float32
    assert abs(field.mean()) < 0.1
    assert field.std() == pytest.approx(1, abs=0.1)
    near = np.mean(field[:, :, 1:] * field[:, :, :-1])
    far = np.mean(field[:, :, 40:] * field[:, :, :-40])
    assert near > 0.95
    assert abs(far) < 0.1


def test_smooth_field_is_the_same_for_one_seed() -> None:
    first, second = (smooth_field(np.random.default_rng(3), (5, 6, 7), 2.0) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_distance_of_a_sphere_is_exact() -> None:
    z, y, x = grid(9, 30, 31)
    distance = Ellipsoid((4.0, 15.0, 14.0), (10.0, 10.0, 10.0)).distance((z, y, x))
    expected = np.sqrt((z - 4) ** 2 + (y - 15) ** 2 + (x - 14) ** 2) - 10
    np.testing.assert_allclose(distance, expected, atol=1e-3)


def test_distance_of_an_ellipsoid_is_right_near_its_surface() -> None:
    body = Ellipsoid((0.0, 0.0, 0.0), (30.0, 10.0, 20.0))
    on_axes = (values(0, 0, 31), values(11, 0, 0), values(0, 19, 0))
    np.testing.assert_allclose(body.distance(on_axes), [1, -1, 1], atol=0.1)


def test_angle_turns_the_long_axis_from_x_to_y() -> None:
    body = Ellipsoid((0.0, 50.0, 50.0), (10.0, 5.0, 30.0), angle=np.pi / 2)
    inside = body.distance(grid(1, 100, 100))[0] < 0
    assert np.ptp(np.nonzero(inside)[0]) == pytest.approx(59, abs=2)
    assert np.ptp(np.nonzero(inside)[1]) == pytest.approx(9, abs=2)


def test_surface_points_lie_on_the_surface() -> None:
    body = Ellipsoid((5.0, -3.0, 8.0), (12.0, 6.0, 25.0), angle=0.7)
    np.testing.assert_allclose(body.distance(body.surface()), 0, atol=1e-3)


def test_window_holds_the_body_and_stays_in_the_volume() -> None:
    body = Ellipsoid((5.0, 20.0, 38.0), (3.0, 4.0, 8.0), angle=1.0)
    shape = (16, 40, 40)
    window = body.window(shape, margin=2)
    inside = body.distance(grid(*shape)) < 2
    assert inside[window].sum() == inside.sum()
    assert window == (slice(0, 11), slice(10, 31), slice(28, 40))


def test_resized() -> None:
    assert Ellipsoid((0, 0, 0), (2.0, 4.0, 6.0)).resized(0.5).radii == (1.0, 2.0, 3.0)


def test_rounded_intersection() -> None:
    # Deep within one body the other counts; outside of both the distance is that to the rounded corner.
    assert rounded_intersection(values(-9), values(-2), 1.0)[0] == pytest.approx(-2)
    assert rounded_intersection(values(3), values(-9), 1.0)[0] == pytest.approx(3)
    assert rounded_intersection(values(2), values(3), 1.0)[0] == pytest.approx(5 - 1)


def test_squared_distance_is_in_the_axes_of_the_whole_volume() -> None:
    window = (slice(2, 4), slice(10, 13), slice(5, 6))
    squared = squared_distance(window, (2.0, 12.0, 7.0))
    assert squared.shape == (2, 3, 1)
    assert squared[1, 0, 0] == 1 + 4 + 4


def test_warped_coordinates_stay_near_the_grid() -> None:
    warped = warped_coordinates(np.random.default_rng(0), (10, 60, 50), length=20.0, amplitude=2.0)
    for axis, plain in zip(warped, grid(10, 60, 50), strict=True):
        assert axis.shape == plain.shape
        assert 0.5 < np.abs(axis - plain).mean() < 3
