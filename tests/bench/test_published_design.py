import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def published_design() -> ModuleType:
    spec = importlib.util.spec_from_file_location("published_design", BENCH / "published_design.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("channels", "outputs"), [(1, 1), (2, 5), (2, 21)])
def test_it_has_31_million_parameters(published_design: ModuleType, channels: int, outputs: int) -> None:
    with torch.device("meta"):
        network = published_design.PublishedUNet(channels, outputs)
    assert sum(weights.numel() for weights in network.parameters()) == pytest.approx(31.0e6, rel=0.01)


def test_every_pixel_has_its_logits(published_design: ModuleType) -> None:
    with torch.device("meta"):
        network = published_design.PublishedUNet(2, 5)
        assert network(torch.empty(3, 2, 32, 48)).shape == (3, 5, 32, 48)
