import numpy as np
import pytest

from pom.io.checkpoints import ReliabilityBin
from pom.measure.reliability import N_BINS, expected_calibration_error, reliability


def test_each_pixel_is_in_the_bin_of_its_probability() -> None:
    probabilities = np.array([0.0, 0.06, 0.07, 0.5, 0.5, 0.5, 0.5, 1.0])
    drawn = np.array([False, True, False, True, True, True, False, True])
    assert reliability(probabilities, drawn) == (
        ReliabilityBin(probability=0.03, drawn=0.5, pixels=2),
        ReliabilityBin(probability=0.07, drawn=0.0, pixels=1),
        ReliabilityBin(probability=0.5, drawn=0.75, pixels=4),
        ReliabilityBin(probability=1.0, drawn=1.0, pixels=1),
    )


def test_the_error_is_the_mean_distance_over_pixels() -> None:
    bins = reliability(
        np.array([0.2] * 10 + [0.9] * 30), np.array([True] * 4 + [False] * 6 + [True] * 24 + [False] * 6)
    )
    # A quarter of the pixels is off by 0.2, three quarters by 0.1.
    assert expected_calibration_error(bins) == pytest.approx(0.25 * 0.2 + 0.75 * 0.1)


def test_what_comes_true_as_often_as_it_was_said_has_no_error() -> None:
    random = np.random.default_rng(0)
    probabilities = random.random(200_000)
    bins = reliability(probabilities, random.random(200_000) < probabilities)
    assert len(bins) == N_BINS
    assert sum(part.pixels for part in bins) == 200_000
    assert expected_calibration_error(bins) < 0.005


def test_without_pixels_there_are_no_bins() -> None:
    assert reliability(np.zeros(0), np.zeros(0, np.bool_)) == ()
    assert expected_calibration_error(()) == 0.0
