"""Which images look alike to a network: its first features, and the distance of an image from those it knows."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pom.networks.unet import UNet

LEVELS = 2
"""Of the network, counted from the top. Further down everything that it has no name for looks alike to it."""

NARROWEST = 0.05
"""The least width of the cloud along a feature, as a share of its mean width."""


@torch.inference_mode()
def pooled_features(network: UNet, images: Tensor) -> Tensor:
    """The mean over each image of the features of the network's first ``LEVELS`` levels.

    Args:
        network: in evaluation mode.
        images: (n, channel, y, x), y and x multiples of the network's stride.

    Returns:
        (n, feature) float32, on the CPU.
    """
    return torch.cat([level.float().mean(dim=(2, 3)) for level in network.levels(images, LEVELS)], dim=1).cpu()


@dataclass(frozen=True)
class FeatureSpace:
    """Known images as a cloud of features, which may be long along some directions and flat along others."""

    mean: Tensor
    """(feature,) float32."""
    whitening: Tensor
    """(feature, feature) float32: what makes the cloud as wide along all directions."""

    @classmethod
    def of(cls, features: Tensor) -> "FeatureSpace":
        """The cloud of known images, (n, feature).

        There may be fewer images than features, so that their correlations are shrunk towards none, by as much as
        Ledoit and Wolf (Journal of Multivariate Analysis 88:365, 2004) find best.
        """
        known = features.double()
        mean, widths = known.mean(dim=0), known.std(dim=0, correction=0)
        # Features that hardly change would otherwise make the least difference count.
        widths = widths.clamp(min=NARROWEST * float(widths.mean()) + 1e-12)
        scaled = (known - mean) / widths
        n_images, n_features = scaled.shape
        covariance = scaled.T @ scaled / n_images
        size = covariance.trace() / n_features
        round_cloud = size * torch.eye(n_features, dtype=torch.float64)
        spread = (covariance - round_cloud).square().sum()
        error = (scaled.square().sum(dim=1).square().sum() / n_images - covariance.square().sum()) / n_images
        share = float((error / spread.clamp(min=1e-300)).clamp(0.0, 1.0))
        values, directions = torch.linalg.eigh(share * round_cloud + (1.0 - share) * covariance)
        whitening = (directions * values.clamp(min=1e-6).rsqrt()).T / widths
        return cls(mean.float(), whitening.float().contiguous())

    def distances(self, features: Tensor) -> Tensor:
        """How far images (n, feature) are from the middle of the cloud, in widths of the cloud (Mahalanobis): (n,)."""
        away: Tensor = torch.linalg.vector_norm((features - self.mean) @ self.whitening.T, dim=1)
        return away
