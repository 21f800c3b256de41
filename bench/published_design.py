"""The network of the published design, rebuilt to measure against: a plain 2-D U-Net of 31 million parameters."""

from itertools import pairwise

import torch
from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512, 1024)
STRIDE = 2 ** (len(WIDTHS) - 1)
"""The number of which the height and width of an input must be multiples."""


class PublishedUNet(nn.Module):
    """A U-Net of two 3x3 convolutions with batch normalisation a level, max-pooling, and transposed convolutions.

    Args:
        in_channels: channels of the input.
        out_channels: logits per pixel.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.encoders = nn.ModuleList([_two_convolutions(a, b) for a, b in pairwise((in_channels, *WIDTHS))])
        self.pool = nn.MaxPool2d(2)
        upwards = list(pairwise(reversed(WIDTHS)))
        self.enlargers = nn.ModuleList([nn.ConvTranspose2d(a, b, kernel_size=2, stride=2) for a, b in upwards])
        self.decoders = nn.ModuleList([_two_convolutions(2 * b, b) for _, b in upwards])
        self.head = nn.Conv2d(WIDTHS[0], out_channels, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits (n, out_channels, y, x) for images (n, in_channels, y, x); y and x multiples of ``STRIDE``."""
        levels = [self.encoders[0](images)]
        for encoder in self.encoders[1:]:
            levels.append(encoder(self.pool(levels[-1])))
        features = levels.pop()
        for enlarge, decoder in zip(self.enlargers, self.decoders, strict=True):
            features = decoder(torch.cat([levels.pop(), enlarge(features)], dim=1))
        logits: Tensor = self.head(features)
        return logits


def _two_convolutions(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )
