import numpy as np
import pytest

from pom.measure.similarity import distances_to, nearest_distances


def test_known_distances() -> None:
    shares = np.array([[50.0, 50.0, 0.0], [50.0, 50.0, 0.0], [0.0, 0.0, 80.0], [100.0, 0.0, 0.0], [5.0, 5.0, 0.0]])
    found = distances_to(shares, 0)
    # Of the sum nothing depends: the last is composed as the first.
    assert found == pytest.approx([0.0, 0.0, 1.0, np.sqrt(1 - np.sqrt(0.5)), 0.0], abs=1e-7)


def test_what_is_not_known_of_both_does_not_count() -> None:
    shares = np.array([[60.0, 20.0, 20.0], [60.0, 20.0, np.nan], [np.nan, np.nan, np.nan], [np.nan, 0.0, 0.0]])
    found = distances_to(shares, 0)
    assert found[1] == pytest.approx(0.0, abs=1e-7)
    assert np.isnan(found[2:]).all()


def test_the_nearest_distance_is_the_smallest_to_any_other() -> None:
    random = np.random.default_rng(0)
    shares = random.random((700, 4)) ** 3
    shares[random.random(shares.shape) < 0.05] = np.nan
    shares[3] = np.nan
    expected = np.full(len(shares), np.nan)
    for row in range(len(shares)):
        others = np.delete(distances_to(shares, row), row)
        if np.isfinite(others).any():
            expected[row] = np.nanmin(others)
    np.testing.assert_allclose(nearest_distances(shares), expected, atol=1e-6)
    assert np.isnan(expected).sum() == 1
