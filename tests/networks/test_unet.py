import pytest
import torch

from pom.networks.unet import UNet, stride_of


def random_network(in_channels: int = 1, out_channels: int = 2, widths: tuple[int, ...] = (4, 8, 8)) -> UNet:
    torch.manual_seed(0)
    return UNet(in_channels, out_channels, widths).eval()


@pytest.mark.parametrize("channels", [(1, 1), (2, 4), (5, 21)])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (48, 80), (16, 32)])
def test_an_output_for_every_pixel(channels: tuple[int, int], height: int, width: int) -> None:
    network = random_network(*channels, widths=(4, 4, 4, 4))
    assert network.stride == 16
    with torch.inference_mode():
        assert network(torch.randn(3, channels[0], height, width)).shape == (3, channels[1], height, width)


@pytest.mark.parametrize(("widths", "stride"), [((4,), 2), ((4, 8), 4), ((4, 8, 8), 8), ((32, 64, 128, 256), 16)])
def test_the_stride_is_the_smallest_size(widths: tuple[int, ...], stride: int) -> None:
    assert stride_of(widths) == stride
    network = random_network(widths=widths)
    assert network.stride == stride
    with torch.inference_mode():
        assert network(torch.randn(1, 1, stride, 3 * stride)).shape == (1, 2, stride, 3 * stride)


def test_every_output_pixel_depends_on_its_input_pixel() -> None:
    """Each of the 256 pixels in turn is changed; corners and borders are as alive as the middle."""
    network, side = random_network().double(), 16
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.bias.data.fill_(2.0)  # few units are silent, so that none is by accident
    image = torch.randn(1, 1, side, side, dtype=torch.float64)
    pushed = image + torch.eye(side * side, dtype=torch.float64).reshape(-1, 1, side, side)
    with torch.inference_mode():
        change = (network(pushed) - network(image)).abs()
    own = change.flatten(2).diagonal(dim1=0, dim2=2)
    assert own.shape == (2, side * side)
    assert (own > 1e-6).all()


def test_pixels_of_one_block_have_answers_of_their_own() -> None:
    """The stem folds 2 x 2 pixels together, and a head that has learnt something tells them apart again."""
    network = random_network(widths=(32, 32))
    torch.nn.init.normal_(network.head.weight)
    with torch.inference_mode():
        logits = network(torch.randn(1, 1, 32, 32))
    blocks = logits.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
    assert (blocks.std(dim=4) > 1e-4).float().mean() > 0.95


def test_images_of_a_batch_do_not_see_each_other() -> None:
    network, images = random_network(), torch.randn(4, 1, 16, 24)
    with torch.inference_mode():
        together, alone = network(images), network(images[2:3])
    torch.testing.assert_close(together[2:3], alone)


def test_the_pixels_of_a_block_start_alike() -> None:
    """So that no network begins with a chequered pattern in its answer."""
    torch.manual_seed(0)
    logits = UNet(2, 3)(torch.randn(1, 2, 32, 32))
    blocks = logits.unfold(2, 2, 2).unfold(3, 2, 2)
    assert torch.equal(blocks, blocks[..., :1, :1].expand_as(blocks))
