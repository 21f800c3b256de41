"""Whether probabilities can be taken at their word: of the pixels said to be 0.8 likely, eight in ten should be it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pom.io.checkpoints import ReliabilityBin

N_BINS = 15


def reliability(probabilities: NDArray[np.float64], drawn: NDArray[np.bool_]) -> tuple[ReliabilityBin, ...]:
    """Compares predicted with true shares, in ``N_BINS`` equal parts of 0..1.

    Args:
        probabilities: (n,), 0..1, that a pixel is the ontology.
        drawn: (n,), whether it is.

    Returns:
        The bins with pixels, from the lowest probability up.
    """
    place = np.minimum((probabilities * N_BINS).astype(np.intp), N_BINS - 1)
    pixels = np.bincount(place, minlength=N_BINS)
    said = np.bincount(place, weights=probabilities, minlength=N_BINS)
    true = np.bincount(place, weights=drawn, minlength=N_BINS)
    return tuple(
        ReliabilityBin(
            probability=round(float(said[k] / pixels[k]), 5),
            drawn=round(float(true[k] / pixels[k]), 5),
            pixels=int(pixels[k]),
        )
        for k in np.flatnonzero(pixels)
    )


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """The mean distance between predicted and true share over all pixels, 0..1 (Naeini et al., AAAI 2015)."""
    total = sum(part.pixels for part in bins)
    return sum(part.pixels * abs(part.probability - part.drawn) for part in bins) / max(1, total)
