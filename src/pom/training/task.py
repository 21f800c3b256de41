"""What Lightning trains: the network, its loss, its optimiser, its validation figures."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torchmetrics.classification import BinaryStatScores

from pom.sampling.augmentation import augment
from pom.training.data import seeded

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Logits (n, class, y, x), target (n, y, x) int64, valid (n, y, x) bool, to a scalar."""

PredictedMask = Callable[[Tensor, Tensor], Tensor]
"""Logits (n, class, y, x) and own output (n,), to (n, y, x) bool: where the network says its own output is."""

WARM_UP = 0.1
WEIGHT_DECAY = 0.01
LARGEST_GRADIENT = 1.0


@dataclass(frozen=True)
class Objective:
    """What a network is to learn."""

    loss: Loss
    predicted_mask: PredictedMask
    outputs: Mapping[int, str]
    """Names of the outputs that have validation figures, by their index."""


@dataclass(frozen=True)
class Schedule:
    """AdamW (Loshchilov and Hutter, ICLR 2019) with a linear warm-up and a cosine down to zero."""

    learning_rate: float
    steps: int

    def factor(self, step: int) -> float:
        """The learning rate at a step, as a share of the highest."""
        warm_up = max(1.0, WARM_UP * self.steps)
        return min((step + 1) / warm_up, 1.0) * 0.5 * (1.0 + math.cos(math.pi * min(step / self.steps, 1.0)))


class NetworkTask(pl.LightningModule):
    """What all trainings of a network have in common: its optimiser, and the randomness of an epoch.

    Args:
        network: images (n, channel, y, x) to answers (n, output, y, x).
        schedule: of the learning rate.
        seed: of the random changes.
    """

    def __init__(self, network: nn.Module, schedule: Schedule, seed: int) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._schedule = schedule
        self._seed = seed
        self._random = seeded(seed)

    def forward(self, images: Tensor) -> Tensor:
        """Answers (n, output, y, x) to images (n, channel, y, x)."""
        answers: Tensor = self.network(images.contiguous(memory_format=torch.channels_last))
        return answers

    def on_train_epoch_start(self) -> None:
        """Makes the epoch's random changes depend on nothing that came before it."""
        self._random = seeded(self._seed, self.current_epoch, self.global_rank)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Keeps one odd batch from throwing the weights far away."""
        nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)

    def configure_optimizers(self) -> pl.utilities.types.OptimizerLRSchedulerConfig:
        """AdamW with the schedule, stepped after every batch."""
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=self._schedule.learning_rate, weight_decay=WEIGHT_DECAY, fused=True
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._schedule.factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class SegmentationTask(NetworkTask):
    """Trains a segmentation network on labelled patches.

    Args:
        network: images (n, channel, y, x) to logits (n, class, y, x).
        objective: loss and outputs.
        density: (channel,) bool, which channels are density.
        schedule: of the learning rate.
        seed: of the augmentation.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        density: Tensor,
        schedule: Schedule,
        seed: int,
    ) -> None:
        super().__init__(network, schedule, seed)
        self._objective = objective
        self._density = density
        # Registered too, so that Lightning moves them to the device; typed as what they are here.
        self._counts = [BinaryStatScores() for _ in objective.outputs]
        self._counts_as_modules = nn.ModuleList(self._counts)

    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        """The loss of one batch, augmented."""
        masks = torch.stack([batch["target"], batch["valid"]], dim=1).float()
        images, masks = augment(batch["images"], masks, self._density.to(masks.device), self._random)
        loss = self._objective.loss(self(images), masks[:, 0].long(), masks[:, 1] > 0)
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(images), sync_dist=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], _: int) -> None:
        """Counts right and wrong pixels, and logs the loss."""
        logits = self(batch["images"])
        loss = self._objective.loss(logits, batch["target"].long(), batch["valid"])
        self.log("validation_loss", loss, on_epoch=True, batch_size=len(logits), sync_dist=True)
        self.count(batch, logits)

    def count(self, batch: dict[str, Tensor], logits: Tensor) -> None:
        """Counts the pixels of a batch for the validation figures."""
        predicted = self._objective.predicted_mask(logits, batch["own"])
        for index, counts in zip(self._objective.outputs, self._counts, strict=True):
            known = batch["known"] & (batch["own"] == index)[:, None, None]
            if known.any():
                counts.update(predicted[known].int(), batch["drawn"][known].int())

    def on_validation_epoch_end(self) -> None:
        """Logs Dice, precision and recall per output, and the mean Dice of those that have one."""
        figures = self.validation_figures()
        for name, values in figures.items():
            self.log_dict({f"{measure} {name}": value for measure, value in values.items()})
        dices = [values["dice"] for values in figures.values() if not math.isnan(values["dice"])]
        self.log("dice", sum(dices) / len(dices) if dices else 0.0, prog_bar=True)
        for counts in self._counts:
            counts.reset()

    def validation_figures(self) -> dict[str, dict[str, float]]:
        """Dice, precision and recall per output, from what was counted; NaN where they are 0/0."""
        figures = {}
        for name, counts in zip(self._objective.outputs.values(), self._counts, strict=True):
            right, extra, _, missed, _ = (float(count) for count in counts.compute())
            figures[name] = {
                "dice": _ratio(2.0 * right, 2.0 * right + extra + missed),
                "precision": _ratio(right, right + extra),
                "recall": _ratio(right, right + missed),
            }
        return figures


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.nan
