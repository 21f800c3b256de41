"""The eight flips and quarter turns of an image, numbered alike wherever they are used."""

import torch
from torch import Tensor

N_ORIENTATIONS = 8


def orient(images: Tensor, orientation: int) -> Tensor:
    """One of the eight flips and quarter turns of (..., y, x); orientations 0 to 3 are the turns alone."""
    if orientation >= N_ORIENTATIONS // 2:
        images = images.flip(-1)
    return torch.rot90(images, orientation % 4, (-2, -1))


def restore(images: Tensor, orientation: int) -> Tensor:
    """Undoes ``orient``."""
    images = torch.rot90(images, -(orientation % 4), (-2, -1))
    return images.flip(-1) if orientation >= N_ORIENTATIONS // 2 else images


def swaps_axes(orientation: int) -> bool:
    """Whether an orientation exchanges height and width."""
    return orientation % 2 == 1


def orientations(number: int) -> tuple[int, ...]:
    """The orientations to average over: 1, 2 (half turn), 4 (quarter turns), or all 8.

    Each of these sets is a group, so that turning an input by one of its members only turns the averaged output.
    """
    return {1: (0,), 2: (0, 2), 4: (0, 1, 2, 3), 8: tuple(range(N_ORIENTATIONS))}[number]
