"""Figures as a person reads them, and drawn small."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

NOTHING = "–"
N_BINS = 24
SMALLEST_PART = 0.005
"""Of a whole; less is no stripe that one could see."""


def decimals(values: NDArray[np.float64]) -> int:
    """How many decimals tell the values of a column apart: three figures of the largest one, none of whole numbers."""
    known = values[np.isfinite(values)]
    if not known.size or np.array_equal(known, np.round(known)):
        return 0
    largest = float(np.abs(known).max())
    return int(np.clip(2 - math.floor(math.log10(largest)), 1, 6)) if largest > 0 else 0


def figure(value: Any, n_decimals: int) -> str:
    """A number with so many decimals; a dash where there is none; nothing at all is 0."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return NOTHING
    if not math.isfinite(number):
        return NOTHING
    return f"{number:,.{n_decimals}f}" if number else "0"


def plain(value: float) -> str:
    """A number as a person types it: 5, 0.25."""
    return f"{value:g}"


def stripes(shares: Mapping[str, float], colours: Mapping[str, str]) -> str:
    """A bar of what a whole is made of, as a CSS background.

    Args:
        shares: per feature, in percent of the whole; NaN counts as none.
        colours: per feature, ``#rrggbb``.
    """
    stops, at = [], 0.0
    for feature, share in shares.items():
        if math.isfinite(share) and share > 100 * SMALLEST_PART:
            end = min(at + share, 100.0)
            stops.append(f"{colours[feature]} {at:.1f}% {end:.1f}%")
            at = end
    if not stops:
        return "none"
    return f"linear-gradient(90deg,{','.join([*stops, f'transparent {at:.1f}%'])})"


def spread(values: NDArray[np.float64], n_bins: int = N_BINS) -> list[tuple[float, float, int]]:
    """How often values lie where: (low, high, count) of equal steps from 0 to the largest; empty without values.

    The ends are numbers of three figures, and both count, as in a query; the last step has no upper one (inf).
    """
    known = values[np.isfinite(values)]
    if not known.size or known.max() <= 0:
        return []
    edges = [float(f"{edge:.3g}") for edge in np.linspace(0.0, float(known.max()), n_bins, endpoint=False)]
    steps = zip(edges, [*edges[1:], math.inf], strict=True)
    return [(low, high, int(((known >= low) & (known <= high)).sum())) for low, high in steps]


def heights(counts: Sequence[int], height: float) -> list[float]:
    """The heights of the bars of a small diagram; by the root, so that few are seen beside many."""
    most = max(counts, default=0)
    return [height * math.sqrt(count / most) if most else 0.0 for count in counts]
