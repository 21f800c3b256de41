import logging
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pom.errors import PomError
from pom.inference import predictor as predictor_module
from pom.inference.predictor import Predictor
from pom.inference.segment import quantise
from pom.io.checkpoints import Calibration
from pom.networks.orientations import orient
from pom.networks.unet import UNet

Images = NDArray[np.float32]
MakePredictor = Callable[..., Predictor]
OUTPUTS = ("Disc", "Square", "_", "Unknown")


@pytest.fixture
def make_predictor(random_network: Callable[..., Any]) -> MakePredictor:
    def make(n_orientations: int = 1, kind: Literal["single", "joint"] = "joint", bf16: bool = False) -> Predictor:
        weights, card = random_network(kind, OUTPUTS if kind == "joint" else OUTPUTS[:1])
        return Predictor(weights, card, "cpu", bf16=bf16, n_orientations=n_orientations)

    return make


def random_images(n: int, height: int, width: int) -> Images:
    return np.random.default_rng(0).normal(size=(n, 2, height, width)).astype(np.float32)


def predict(predictor: Predictor, images: Images) -> Images:
    return np.concatenate(list(predictor.predict(images)))


@pytest.mark.parametrize("kind", ["single", "joint"])
def test_the_network_says_what_it_said_in_training(
    make_predictor: MakePredictor, random_network: Callable[..., Any], kind: Literal["single", "joint"]
) -> None:
    """Folding the normalisation into the convolutions changes nothing."""
    weights, card = random_network(kind, OUTPUTS if kind == "joint" else OUTPUTS[:1])
    network = UNet(2, len(card.outputs), card.widths).eval()
    network.load_state_dict(weights)
    images = random_images(3, 32, 48)
    with torch.inference_mode():
        logits = network(torch.from_numpy(images))
    expected = torch.softmax(logits, dim=1) if kind == "joint" else torch.sigmoid(logits)
    assert expected.std() > 0.1
    np.testing.assert_allclose(predict(make_predictor(kind=kind), images), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("size", [(37, 53), (8, 8), (1, 1), (5, 300), (41, 16)])
def test_every_pixel_of_any_size_is_predicted(make_predictor: MakePredictor, size: tuple[int, int]) -> None:
    """Sizes that the stride 8 does not divide are padded by reflection: as if the image went on so."""
    images = random_images(2, *size)
    result = predict(make_predictor(), images)
    assert result.shape == (2, len(OUTPUTS), *size)
    assert (result > 0).all()
    padding = [(0, -size[0] % 8), (0, -size[1] % 8)]
    padded = np.pad(images, [(0, 0), (0, 0), *padding], "reflect")
    np.testing.assert_allclose(result, predict(make_predictor(), padded)[..., : size[0], : size[1]], atol=1e-5)


def test_every_pixel_depends_on_itself_at_odd_sizes(make_predictor: MakePredictor) -> None:
    """Each pixel in turn is changed; the last row and column count as the first do."""
    height, width = 11, 13
    images = np.repeat(random_images(1, height, width), height * width + 1, axis=0)
    for k, (y, x) in enumerate(np.ndindex(height, width)):
        images[k, :, y, x] += 3.0
    result = np.log(predict(make_predictor(), images))
    for k, (y, x) in enumerate(np.ndindex(height, width)):
        assert np.abs(result[k, :, y, x] - result[-1, :, y, x]).max() > 1e-3


@pytest.mark.parametrize("n_orientations", [2, 4, 8])
def test_turning_the_input_turns_the_output(make_predictor: MakePredictor, n_orientations: int) -> None:
    """By every member of the set that is averaged over, at a size that neither axis' stride divides."""
    predictor = make_predictor(n_orientations)
    images = random_images(2, 37, 53)
    expected = torch.from_numpy(predict(predictor, images))
    turns = {2: (0, 2), 4: (0, 1, 2, 3), 8: tuple(range(8))}[n_orientations]
    for k in turns:
        turned = orient(torch.from_numpy(images), k).contiguous().numpy()
        np.testing.assert_allclose(predict(predictor, turned), orient(expected, k).numpy(), atol=1e-5)


def test_orientations_are_averaged(make_predictor: MakePredictor) -> None:
    """One orientation alone does mind a turn, so the test above is no accident; four are the mean of four."""
    one, four, images = make_predictor(1), make_predictor(4), random_images(1, 24, 24)
    answers = [np.rot90(predict(one, np.rot90(images, k, (2, 3)).copy()), -k, (2, 3)) for k in range(4)]
    assert np.abs(answers[0] - answers[1]).max() > 0.01
    np.testing.assert_allclose(predict(four, images), np.mean(answers, axis=0), atol=1e-5)


@pytest.mark.parametrize("bf16", [False, True])
def test_joint_outputs_sum_to_one(make_predictor: MakePredictor, bf16: bool) -> None:
    result = predict(make_predictor(8, bf16=bf16), random_images(2, 37, 53))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result.sum(axis=1), 1.0, atol=1e-5)
    written = quantise(result, "int8").astype(int)
    assert np.abs(written.sum(axis=1) - 127).max() <= len(OUTPUTS) / 2


def test_bfloat16_is_close_to_float32(make_predictor: MakePredictor) -> None:
    images = random_images(2, 37, 53)
    difference = np.abs(predict(make_predictor(bf16=True), images) - predict(make_predictor(), images))
    assert difference.mean() < 0.02


def test_a_single_network_gives_a_probability(make_predictor: MakePredictor) -> None:
    result = predict(make_predictor(kind="single"), 5 * random_images(2, 16, 16))
    assert result.shape[1] == 1
    assert 0 <= result.min() < 0.1
    assert 0.9 < result.max() <= 1


def calibration(temperature: float) -> Calibration:
    return Calibration(
        temperature=temperature, ece_before=0.1, ece=0.01, measured_on="other tomograms", n_pixels=1, n_tomograms=2,
        n_orientations=1, bins_before=(), bins=(),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["single", "joint"])
@pytest.mark.parametrize("temperature", [0.5, 2.5])
def test_the_temperature_divides_the_logits(
    random_network: Callable[..., Any], kind: Literal["single", "joint"], temperature: float
) -> None:
    weights, card = random_network(kind, OUTPUTS if kind == "joint" else OUTPUTS[:1])
    network = UNet(2, len(card.outputs), card.widths).eval()
    network.load_state_dict(weights)
    images = random_images(2, 32, 48)
    with torch.inference_mode():
        logits = network(torch.from_numpy(images)) / temperature
    expected = torch.softmax(logits, dim=1) if kind == "joint" else torch.sigmoid(logits)
    card = card.model_copy(update={"calibration": calibration(temperature)})
    result = predict(Predictor(weights, card, "cpu", bf16=False, n_orientations=1), images)
    np.testing.assert_allclose(result, expected.numpy(), atol=1e-5)


def test_each_orientation_has_the_temperature_before_they_are_averaged(random_network: Callable[..., Any]) -> None:
    weights, card = random_network("joint", OUTPUTS)
    card = card.model_copy(update={"calibration": calibration(3.0)})
    images = random_images(1, 24, 24)
    one, four = (Predictor(weights, card, "cpu", bf16=False, n_orientations=n) for n in (1, 4))
    answers = [np.rot90(predict(one, np.rot90(images, k, (2, 3)).copy()), -k, (2, 3)) for k in range(4)]
    np.testing.assert_allclose(predict(four, images), np.mean(answers, axis=0), atol=1e-5)


@pytest.mark.parametrize("kind", ["single", "joint"])
def test_temperature_one_and_none_change_no_bit(
    make_predictor: MakePredictor, random_network: Callable[..., Any], kind: Literal["single", "joint"]
) -> None:
    weights, card = random_network(kind, OUTPUTS if kind == "joint" else OUTPUTS[:1])
    assert card.calibration is None
    images = random_images(2, 37, 53)
    calibrated = card.model_copy(update={"calibration": calibration(1.0)})
    result = predict(Predictor(weights, calibrated, "cpu", bf16=False, n_orientations=4), images)
    np.testing.assert_array_equal(result, predict(make_predictor(4, kind), images))


def test_no_images_give_nothing(make_predictor: MakePredictor) -> None:
    assert list(make_predictor().predict(random_images(0, 16, 16))) == []


@pytest.mark.parametrize("n_orientations", [1, 8])
def test_the_batch_size_changes_nothing(
    make_predictor: MakePredictor, monkeypatch: pytest.MonkeyPatch, n_orientations: int
) -> None:
    images = random_images(7, 21, 30)
    expected = predict(make_predictor(n_orientations), images)
    for per_batch in (1, 3, 7, 100):
        monkeypatch.setitem(predictor_module.PIXELS_PER_BATCH, "cpu", per_batch * 21 * 30 * n_orientations)
        batches = list(make_predictor(n_orientations).predict(images))
        assert [len(batch) for batch in batches] == {1: [1] * 7, 3: [3, 3, 1], 7: [7], 100: [7]}[per_batch]
        np.testing.assert_allclose(np.concatenate(batches), expected, atol=1e-5)


class SmallMemory(nn.Module):
    """A network that has no room for more than so many images at once."""

    def __init__(self, network: nn.Module, most: int) -> None:
        super().__init__()
        self.network = network
        self.most = most

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.most:
            raise torch.OutOfMemoryError
        answer: Tensor = self.network(images)
        return answer


@pytest.mark.parametrize(("n_orientations", "most"), [(1, 4), (1, 5), (1, 1), (8, 16)])
def test_out_of_memory_means_smaller_batches(
    make_predictor: MakePredictor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    n_orientations: int,
    most: int,
) -> None:
    """Eight slices at once are halved until they fit; the result is the same, and the next volume starts there."""
    images = random_images(10, 16, 24)
    expected = predict(make_predictor(n_orientations), images)
    monkeypatch.setitem(predictor_module.PIXELS_PER_BATCH, "cpu", 8 * 16 * 24 * n_orientations)
    predictor = make_predictor(n_orientations)
    network = predictor._network
    predictor._network = SmallMemory(network, most)
    with caplog.at_level(logging.WARNING):
        batches = list(predictor.predict(images))
        np.testing.assert_allclose(np.concatenate(batches), expected, atol=1e-5)
        # Four orientations at a time: those that swap height and width are a batch of their own.
        fits = most if n_orientations == 1 else most // 4
        sizes = [size for size in (4, 2, 1) if 2 * size > fits]
        assert [record.message for record in caplog.records] == [
            f"Out of memory on cpu: going on with {size} slice(s) at a time." for size in sizes
        ]
        assert {len(batch) for batch in batches[:-1]} == {sizes[-1]}
        caplog.clear()
        np.testing.assert_allclose(predict(predictor, images), expected, atol=1e-5)
    assert not caplog.records


def test_not_even_one_slice_fits(make_predictor: MakePredictor) -> None:
    predictor = make_predictor(8)
    predictor._network = SmallMemory(predictor._network, 0)
    message = "Not even one slice of 16 x 24 pixels in 8 orientations fits into the memory of cpu; lower shared_model_"
    with pytest.raises(PomError, match=message):
        predict(predictor, random_images(2, 16, 24))
