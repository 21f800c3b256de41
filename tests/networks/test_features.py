import pytest
import torch

from pom.networks.features import LEVELS, FeatureSpace, pooled_features
from pom.networks.unet import UNet


def cloud(n: int, scale: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return 5.0 + scale * torch.randn(n, len(scale), generator=torch.Generator().manual_seed(seed))


def test_features_of_an_image_are_means_over_the_first_levels() -> None:
    torch.manual_seed(0)
    network = UNet(2, 3, (4, 8, 16)).eval()
    images = torch.randn(5, 2, 16, 32)
    with torch.inference_mode():
        levels = network.levels(images, 3)
    assert [tuple(level.shape) for level in levels] == [(5, 4, 8, 16), (5, 8, 4, 8), (5, 16, 2, 4)]
    features = pooled_features(network, images)
    assert LEVELS == 2
    torch.testing.assert_close(features, torch.cat([levels[0].mean((2, 3)), levels[1].mean((2, 3))], dim=1))


def test_distances_count_in_widths_of_the_cloud() -> None:
    scale = torch.tensor([0.1, 1.0, 10.0])
    space = FeatureSpace.of(cloud(20_000, scale))
    away = 5.0 + scale * 3.0 * torch.eye(3)
    torch.testing.assert_close(space.distances(away), torch.full((3,), 3.0), rtol=0.05, atol=0.0)
    assert float(space.distances(cloud(20_000, scale, seed=1)).square().mean()) == pytest.approx(3.0, rel=0.05)


def test_fewer_images_than_features_give_finite_distances() -> None:
    """Other images of the same kind are about as far as the widths say, not a hundred times as far."""
    scale = torch.ones(96)
    space = FeatureSpace.of(cloud(24, scale))
    inside, outside = space.distances(cloud(50, scale, seed=1)), space.distances(cloud(50, scale, seed=2) + 5.0)
    assert float(inside.median()) == pytest.approx(96**0.5, rel=0.3)
    assert float(outside.min()) > 2.0 * float(inside.max())


def test_images_that_are_all_alike_do_no_harm() -> None:
    space = FeatureSpace.of(torch.ones(4, 3))
    assert torch.isfinite(space.distances(torch.ones(2, 3))).all()
