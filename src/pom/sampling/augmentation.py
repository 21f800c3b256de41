"""Random changes of training patches, made on the fly and on the network's own device."""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from pom.networks.orientations import N_ORIENTATIONS, orient

LARGEST_ZOOM = 1.25
LARGEST_TURN = math.pi / 4
SHOWN_SHARE = 0.625
"""How much of a patch's side a training step shows, about."""
SHOWN_MULTIPLE = 16
LARGEST_SHIFT = 0.3
"""As a share of the side that is shown."""
CONTRAST = 0.2
BRIGHTNESS = 0.2
NOISE = 0.3
BLUR_SHARE = 0.3


def augment(images: Tensor, masks: Tensor, density: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
    """Gives every patch a random orientation, turn, zoom, shift and look, and shows a part of it.

    Args:
        images: (n, channel, y, x) float32, y and x equal.
        masks: (n, mask, y, x) float32, 0 or 1; moved with the images, 0 where they come from outside the patch.
        density: (channel,) bool; only density changes its contrast, noise and sharpness, since the other channels
            are probabilities.
        random: where the randomness comes from; on the CPU, so that a seed gives the same on every device.

    Returns:
        Images and masks, y and x of ``shown_side``.
    """
    both = torch.cat([images, masks], dim=1)
    both = _orient_randomly(both, random)
    images, masks = torch.split(both, [images.shape[1], masks.shape[1]], dim=1)
    images, masks = _move(images, masks, random)
    return change_look(images, density, random), masks


def change_place(images: Tensor, random: Generator) -> Tensor:
    """Gives every image a random orientation, turn, zoom and shift, and shows a part of it.

    Args:
        images: (n, channel, y, x) float32, y and x equal.
        random: as for ``augment``.

    Returns:
        (n, channel, y, x), y and x of ``shown_side``.
    """
    return _move(_orient_randomly(images, random), torch.zeros_like(images[:, :1]), random)[0]


def change_look(images: Tensor, density: Tensor, random: Generator) -> Tensor:
    """Gives the density of every image, (n, channel, y, x), another contrast, brightness, noise and sharpness."""
    return torch.where(density[:, None, None], _change_look(images, random), images)


def shown_side(side: int) -> int:
    """Side of what a training step shows of patches of a ``side``, a multiple of ``SHOWN_MULTIPLE``."""
    return max(1, round(side * SHOWN_SHARE / SHOWN_MULTIPLE)) * SHOWN_MULTIPLE


def _orient_randomly(patches: Tensor, random: Generator) -> Tensor:
    chosen = torch.randint(N_ORIENTATIONS, (len(patches),), generator=random)
    return torch.stack([orient(patch, int(k)) for patch, k in zip(patches, chosen, strict=True)])


def _move(images: Tensor, masks: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
    """Turns, zooms and shifts each patch, and cuts the part that is shown.

    Boxes lie in the middle of their patches, and what was annotated in the middle of its boxes. A network can tell
    how far it is from the patch's edge, by the zeros that convolutions see beyond it, and would learn that places
    far from an edge are likely places; in a whole tomogram nearly all are. The shift takes that clue away.
    """
    n, channels, side, _ = images.shape
    shown = shown_side(side)
    share = shown / side
    angle = (2.0 * torch.rand(n, generator=random) - 1.0) * LARGEST_TURN
    zoom = torch.exp((2.0 * torch.rand(n, generator=random) - 1.0) * math.log(LARGEST_ZOOM))
    # In the units of the grid, whose coordinates go from -1 to 1.
    right, down = (2.0 * LARGEST_SHIFT * share * (2.0 * torch.rand(n, generator=random) - 1.0) for _ in range(2))
    cosine, sine = torch.cos(angle) * zoom * share, torch.sin(angle) * zoom * share
    rows = [torch.stack([cosine, -sine, right], dim=1), torch.stack([sine, cosine, down], dim=1)]
    transform = torch.stack(rows, dim=1).to(images.device)
    grid = F.affine_grid(transform, [n, channels, shown, shown], align_corners=False)
    moved = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    labels = F.grid_sample(masks, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return moved, labels


def _change_look(images: Tensor, random: Generator) -> Tensor:
    n, device = len(images), images.device

    def per_patch(values: Tensor) -> Tensor:
        return values[:, None, None, None].to(device)

    gain = per_patch(torch.exp(CONTRAST * torch.randn(n, generator=random)))
    offset = per_patch(BRIGHTNESS * torch.randn(n, generator=random))
    noise = per_patch(NOISE * torch.rand(n, generator=random))
    is_blurred = per_patch(torch.rand(n, generator=random) < BLUR_SHARE)
    blurred = (images + F.avg_pool2d(images, 3, stride=1, padding=1)) / 2.0
    images = torch.where(is_blurred, blurred, images)
    return images * gain + offset + noise * torch.randn(images.shape, generator=random).to(device)
