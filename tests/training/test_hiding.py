import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pom.training.data import seeded
from pom.training.hiding import HIDDEN_BLOCK, Crops, PretrainingTask, Puzzle, hidden_blocks, masked_error
from pom.training.task import Schedule

CHANNELS = ("Density", "_", "Membrane")


class Recorder(nn.Module):
    """Answers with a constant and keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.tensor(0.25))
        self.shown = torch.empty(0)

    def forward(self, images: Tensor) -> Tensor:
        self.shown = images
        return self.constant.expand_as(images)


def task(network: nn.Module) -> PretrainingTask:
    return PretrainingTask(network, CHANNELS, Schedule(1e-3, 10), seed=0)


def test_about_half_of_the_blocks_is_hidden_whole() -> None:
    hidden = hidden_blocks(40, 96, seeded(0))
    assert hidden.shape == (40, 1, 96, 96)
    assert 0.48 < hidden.float().mean() < 0.52
    blocks = hidden.unfold(2, HIDDEN_BLOCK, HIDDEN_BLOCK).unfold(3, HIDDEN_BLOCK, HIDDEN_BLOCK).flatten(4)
    assert (blocks.all(dim=4) | ~blocks.any(dim=4)).all()
    assert not torch.equal(hidden[0], hidden[1])


def test_the_error_counts_what_is_hidden_and_asked_for() -> None:
    whole = torch.zeros(1, 2, 2, 2)
    hidden = torch.tensor([[[[True, True], [False, False]]]])
    answers = torch.tensor([[[[1.0, 3.0], [100.0, 100.0]], [[50.0, 50.0], [100.0, 100.0]]]])
    puzzle = Puzzle(whole, whole, hidden)
    assert masked_error(answers, puzzle, torch.tensor([True, False])) == 2.0
    assert masked_error(answers, puzzle, torch.tensor([True, True])) == 26.0


def test_an_empty_channel_is_neither_hidden_nor_asked_for() -> None:
    whole = torch.rand(3, 3, 32, 32) + 1.0
    whole[:, 1] = -1.0
    puzzle = task(Recorder()).puzzle(whole, whole + 5.0, seeded(1))
    assert torch.equal(puzzle.seen[:, 1], whole[:, 1] + 5.0)
    for channel in (0, 2):
        assert torch.equal(puzzle.seen[:, channel] == 0.0, puzzle.hidden[:, 0])


def test_the_loss_asks_for_the_look_that_was_not_changed() -> None:
    network = Recorder()
    # Alike everywhere, so that no turn or shift changes it; the hidden pixels of two channels count.
    images = torch.tensor([1.0, -1.0, 0.5])[None, :, None, None].repeat(4, 1, 160, 160)
    loss = task(network).train()._loss(images, seeded(3))
    assert loss.item() == pytest.approx((0.75 + 0.25) / 2, abs=1e-5)
    assert network.shown.shape == (4, 3, 96, 96)
    seen = network.shown[:, 0] != 0.0
    assert network.shown[:, 0][seen].std() > 0.05
    # Probabilities and what is empty keep their look.
    assert (network.shown[:, 2][network.shown[:, 2] != 0.0] - 0.5).abs().max() < 1e-5
    assert (network.shown[:, 1] + 1.0).abs().max() < 1e-5


def test_an_epoch_shows_so_many_crops() -> None:
    crops = Crops.shown(np.zeros((5, 1, 8, 8), np.float32), np.array([0, 0, 1, 1, 2]), per_epoch=20)
    assert (len(crops), float(crops.frequency.sum())) == (5, 20.0)
    assert crops[[0, 3]]["images"].shape == (2, 1, 8, 8)
