"""The colours that features and presets are given where nobody chose one."""

import math
from collections.abc import Iterable

PALETTE = (
    "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#3d7fd9", "#d55e00", "#cc79a7", "#8dd35f", "#b39ddb", "#4dd0c4",
    "#ff8a80", "#c0a16b",
)  # fmt: skip
"""Bright on grey images, and most of them apart for colour-blind people too."""


def default_colour(index: int) -> str:
    """The colour, ``#rrggbb``, of what stands at this place of a list."""
    return PALETTE[index % len(PALETTE)]


def free_colour(used: Iterable[str]) -> str:
    """The first colour that no colour in use is like, or that the fewest are like.

    A colour in use is like the one of ``PALETTE`` that is nearest to it.

    Args:
        used: as ``#rrggbb``, one of each feature.
    """
    taken = [min(PALETTE, key=lambda colour: math.dist(_rgb(colour), _rgb(other))) for other in used]
    return min(PALETTE, key=taken.count)


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))
