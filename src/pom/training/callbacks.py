"""What happens around the training steps: averaged weights, stopping, history, progress."""

import csv
import io
import logging
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, WeightAveraging
from torch import Tensor

from pom.io.atomic import write_text

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 20.0
FIRST_COLUMNS = ("epoch", "learning_rate", "loss", "validation_loss", "dice")
"""Of the history; the figures of every output follow."""


def averaged_weights(decay: float) -> WeightAveraging:
    """An exponential moving average of the weights that forgets its random beginning.

    The decay grows from 0.1 to ``decay`` with the number of steps, (1 + n) / (10 + n), as is usual for short
    trainings. Validation and the final network use the average.
    """

    def average(mean: Tensor, current: Tensor, n_averaged: Tensor | int) -> Tensor:
        if not mean.is_floating_point():  # batch normalisation's count of batches
            return current
        n = int(n_averaged)
        return mean.lerp(current, 1.0 - min(decay, (1 + n) / (10 + n)))

    return WeightAveraging(avg_fn=average)


class StopTogether(Callback):
    """After SIGTERM to any of the processes that train together, interrupts all of them before the same batch.

    Lightning's own handler talks to the other processes from within the signal, wherever each of them is, and what
    they exchange then gets out of step: they would wait for each other until SLURM kills them.
    """

    def __init__(self) -> None:
        self._told = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes the place of Lightning's handler, which itself puts back what was there before when it ends."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._note)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, _: int) -> None:
        """Stops if anybody has been told to."""
        if trainer.strategy.reduce_boolean_decision(self._told, all=False):
            raise KeyboardInterrupt

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        self._told = True


class History(Callback):
    """Writes the figures of every epoch to a CSV file; an interrupted training goes on in the same file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Adds the epoch's figures."""
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.rows.append({"epoch": trainer.current_epoch + 1, "learning_rate": float(rate), **figures})
        if trainer.is_global_zero:
            self._write()

    def state_dict(self) -> dict[str, Any]:
        """The rows so far, for the checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The rows of the epochs before an interruption."""
        self.rows = state_dict["rows"]

    def _write(self) -> None:
        there = {name for row in self.rows for name in row}
        columns = [name for name in FIRST_COLUMNS if name in there] + sorted(there - set(FIRST_COLUMNS))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in self.rows)
        write_text(self._path, text.getvalue())


class ProgressLines(Callback):
    """Plain lines about the epochs, for log files; at most one in twenty seconds, and the last."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._last_line = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Says how far training is."""
        epoch, epochs = trainer.current_epoch + 1, trainer.max_epochs
        now = time.monotonic()
        if trainer.is_global_zero and (epoch == epochs or now - self._last_line > SECONDS_BETWEEN_LINES):
            figures = trainer.callback_metrics
            dice = f", validation Dice {float(figures['dice']):.3f}" if "dice" in figures else ""
            log.info(
                "%s: epoch %d of %d, loss %.3f%s", self._title, epoch, epochs, float(figures.get("loss", 0.0)), dice
            )
            self._last_line = now
