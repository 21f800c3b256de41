"""Networks whose answers are known: how often Unknown wins after room was made for it."""

import pytest
import torch
from torch import Tensor

from pom.networks.unet import UNet
from pom.training.data import LabelledPatches
from pom.training.unknown import make_room_for_unknown

SIDE = 64


@pytest.fixture
def network() -> UNet:
    """Of two ontologies and Unknown; random."""
    torch.manual_seed(0)
    return UNet(1, 3, (8, 16)).eval()


def patches(own: list[int], drawn: Tensor) -> LabelledPatches:
    n = len(own)
    everywhere = torch.ones(n, SIDE, SIDE, dtype=torch.bool)
    images = torch.randn(n, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    return LabelledPatches(
        images, drawn.int(), everywhere, torch.tensor(own), drawn, everywhere, torch.tensor(own), torch.ones(n).double()
    )


def bias(network: UNet) -> Tensor:
    assert network.head.bias is not None
    return network.head.bias.data


def share_of_unknown(network: UNet, some: LabelledPatches) -> float:
    with torch.inference_mode():
        return float((network(some.images).argmax(dim=1) == 2)[some.drawn & some.known].float().mean())


@pytest.mark.parametrize("start", [-5.0, 0.0, 5.0])
def test_of_what_was_drawn_so_much_becomes_unknown(network: UNet, start: float) -> None:
    """Whether it was too little before or too much."""
    bias(network)[-4:] += start
    half = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    half[:, : SIDE // 2] = True
    some = patches([0, 0], half)
    before = bias(network).clone()
    constant = make_room_for_unknown(network, some)
    assert share_of_unknown(network, some) == pytest.approx(0.01, abs=2e-3)
    after = bias(network)
    assert torch.equal(after[:-4], before[:-4])
    torch.testing.assert_close(after[-4:], before[-4:] + constant)


def test_each_ontology_has_the_same_say(network: UNet) -> None:
    """One of many pixels, and one of few."""
    drawn = torch.ones(2, SIDE, SIDE, dtype=torch.bool)
    drawn[1, :, 4:] = False
    separate = [make_room_for_unknown(network, patches([k], drawn[k : k + 1])) for k in (0,)]
    bias(network)[-4:] -= separate[0]
    some = patches([0, 1], drawn)
    images = some.images
    with torch.inference_mode():
        logits = network(images)
    margin = logits[:, :2].amax(dim=1) - logits[:, 2]
    expected = (margin[0].flatten().quantile(0.01) + margin[1][drawn[1]].quantile(0.01)) / 2
    assert make_room_for_unknown(network, some) == pytest.approx(float(expected), abs=1e-5)


def test_where_nothing_is_drawn_nothing_changes(network: UNet) -> None:
    before = bias(network).clone()
    assert make_room_for_unknown(network, patches([0], torch.zeros(1, SIDE, SIDE, dtype=torch.bool))) == 0
    assert torch.equal(bias(network), before)
