"""What a network learns before it knows any annotation: to fill in what is hidden of a tomogram.

Masked reconstruction, as by Pathak et al. (CVPR 2016, 'Context encoders') and, for 3-D medical images, by Zhou et al.
(Medical Image Analysis 67:101840, 2021, 'Models Genesis').
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.utils.data import Dataset

from pom.io.channels import DENSITY, EMPTY
from pom.sampling.augmentation import change_look, change_place
from pom.training.data import seeded
from pom.training.task import NetworkTask, Schedule

HIDDEN_SHARE = 0.5
HIDDEN_BLOCK = 8
"""Side of the blocks that are hidden, in binned pixels."""
HIDDEN_VALUE = 0.0


@dataclass(frozen=True)
class Crops(Dataset[dict[str, Tensor]]):
    """Crops of tomograms."""

    images: Tensor
    """(n, channel, y, x) float32, as the networks see them."""
    strata: Tensor
    """(n,) int64: the tomogram."""
    frequency: Tensor
    """(n,) float64: how often an epoch shows a crop, on average."""

    @classmethod
    def shown(cls, images: NDArray[np.float32], tomograms: NDArray[np.int64], per_epoch: int) -> "Crops":
        """Crops, (n, channel, y, x) of tomograms (n,), of which an epoch shows as many as ``per_epoch``."""
        frequency = torch.full((len(images),), per_epoch / max(1, len(images)), dtype=torch.float64)
        return cls(torch.from_numpy(images), torch.from_numpy(tomograms), frequency)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: list[int]) -> dict[str, Tensor]:
        """A batch: the crops at a list of indices."""
        return {"images": self.images[indices]}


@dataclass(frozen=True)
class Puzzle:
    """Images of which something is hidden; (n, channel, y, x), but ``hidden`` (n, 1, y, x) bool."""

    whole: Tensor
    seen: Tensor
    hidden: Tensor


class PretrainingTask(NetworkTask):
    """Trains a network to fill in what is hidden of its input.

    Args:
        network: images (n, channel, y, x) to answers of the same shape.
        channels: the input channels; ``_`` is neither hidden nor asked for.
        schedule: of the learning rate.
        seed: of the random changes.
    """

    def __init__(self, network: nn.Module, channels: tuple[str, ...], schedule: Schedule, seed: int) -> None:
        super().__init__(network, schedule, seed)
        self._density = torch.tensor([channel == DENSITY for channel in channels])
        self._asked = torch.tensor([channel != EMPTY for channel in channels])

    def on_validation_epoch_start(self) -> None:
        """Hides the same in every epoch."""
        self._random_of_validation = seeded(self._seed, self.global_rank)

    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        """The loss of one batch."""
        loss = self._loss(batch["images"], self._random)
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["images"]), sync_dist=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], _: int) -> None:
        """Logs the loss of one batch, which is changed as in training so that the two compare."""
        loss = self._loss(batch["images"], self._random_of_validation)
        self.log("validation_loss", loss, on_epoch=True, batch_size=len(batch["images"]), sync_dist=True)

    def puzzle(self, whole: Tensor, looks: Tensor, random: Generator) -> Puzzle:
        """Hides half of the blocks of images (n, channel, y, x); ``looks`` is what is seen of the rest."""
        hidden = hidden_blocks(len(whole), whole.shape[-1], random).to(whole.device)
        asked = self._asked.to(whole.device)[:, None, None]
        return Puzzle(whole, torch.where(hidden & asked, HIDDEN_VALUE, looks), hidden)

    def _loss(self, images: Tensor, random: Generator) -> Tensor:
        whole = change_place(images, random)
        puzzle = self.puzzle(whole, change_look(whole, self._density.to(whole.device), random), random)
        return masked_error(self(puzzle.seen), puzzle, self._asked.to(whole.device))


def hidden_blocks(n: int, side: int, random: Generator) -> Tensor:
    """Hides ``HIDDEN_SHARE`` of the blocks of n images, about: (n, 1, ``side``, ``side``) bool."""
    blocks = torch.rand(n, 1, side // HIDDEN_BLOCK, side // HIDDEN_BLOCK, generator=random) < HIDDEN_SHARE
    return blocks.repeat_interleave(HIDDEN_BLOCK, dim=2).repeat_interleave(HIDDEN_BLOCK, dim=3)


def masked_error(answers: Tensor, puzzle: Puzzle, asked: Tensor) -> Tensor:
    """The mean absolute error over the hidden pixels of the channels (channel,) bool that are asked for."""
    counts = (puzzle.hidden & asked[:, None, None]).expand_as(answers)
    error = (answers.float() - puzzle.whole).abs()
    return (error * counts).sum() / counts.sum().clamp(min=1)
