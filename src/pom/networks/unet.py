"""The U-Net that Pom trains, single and joint alike."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLOCK = 2
"""Pixels along each side of the square that the stem folds into one position."""


class ConvolutionBlock(nn.Sequential):
    """Two 3x3 convolutions, each with batch normalisation and ReLU. Shapes: (n, c_in, y, x) to (n, c_out, y, x)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            layers += [
                nn.Conv2d(channels, out_channels, kernel_size=3, padding=1, bias=False),
                nn.BatchNorm2d(out_channels),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)


class UNet(nn.Module):
    """A compact 2-D U-Net (Ronneberger et al., MICCAI 2015) that works on 2x2 blocks of pixels.

    The stem folds each 2x2 block of pixels into channels and the head unfolds them again (sub-pixel
    convolution, Shi et al., CVPR 2016). The widest part of an ordinary U-Net, full resolution with few
    channels, is where a CPU and a GPU alike wait for memory; here it is not computed at all, and every
    pixel still has its own input and its own output.

    Args:
        in_channels: channels of the input.
        out_channels: logits per pixel.
        widths: channels per level; each level halves the resolution of the one above.
    """

    def __init__(self, in_channels: int, out_channels: int, widths: tuple[int, ...] = (32, 64, 128, 256)) -> None:
        super().__init__()
        self.widths = widths
        self.stride = stride_of(widths)
        inputs = (in_channels * BLOCK**2, *widths[:-1])
        self.down = nn.ModuleList([ConvolutionBlock(a, b) for a, b in zip(inputs, widths, strict=True)])
        self.up = nn.ModuleList([ConvolutionBlock(a + b, a) for a, b in pairwise(widths)])
        self.head = nn.Conv2d(widths[0], out_channels * BLOCK**2, kernel_size=1)
        _start_alike(self.head, out_channels)

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits (n, out_channels, y, x) for images (n, in_channels, y, x); y and x multiples of ``stride``."""
        skips = self.levels(images, len(self.down))
        features = skips[-1]
        for skip, block in zip(reversed(skips[:-1]), reversed(self.up), strict=True):
            features = F.interpolate(features, scale_factor=2.0, mode="nearest")
            features = block(torch.cat([skip, features], dim=1))
        return F.pixel_shuffle(self.head(features), BLOCK)

    def levels(self, images: Tensor, number: int) -> list[Tensor]:
        """Returns the features of the first levels on the way down, (n, widths[k], y / 2**(k + 1), x / 2**(k + 1))."""
        features = F.pixel_unshuffle(images, BLOCK)
        levels: list[Tensor] = []
        for level, block in enumerate(self.down[:number]):
            if level > 0:
                features = F.max_pool2d(features, 2)
            features = block(features)
            levels.append(features)
        return levels


def stride_of(widths: tuple[int, ...]) -> int:
    """The number of which the height and width of a U-Net's input must be multiples."""
    return int(BLOCK * 2 ** (len(widths) - 1))


def trunk_of(network: UNet) -> dict[str, Tensor]:
    """The weights that do not depend on what the outputs are: all but the head's."""
    return {name: weights for name, weights in network.state_dict().items() if not name.startswith("head.")}


def _start_alike(head: nn.Conv2d, out_channels: int) -> None:
    """Gives the pixels of a block the same first weights, or their differences would show as a chequered pattern.

    Aitken et al., 2017, arXiv:1707.02937.
    """
    with torch.no_grad():
        for parameter in head.parameters():
            of_blocks = parameter.view(out_channels, BLOCK**2, -1)
            of_blocks.copy_(of_blocks[:, :1].expand_as(of_blocks).clone())
