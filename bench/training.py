"""Time to a held-out Dice on the demo data: one single network of Pom's, and the published design by its recipe.

Both learn the same patches of one ontology and are scored alike: whole tomograms that no training saw, one
orientation, voxels with a probability of at least 0.5. Scoring is not on the clock.

Pom is the real training, with its validation and checkpoints on the clock; its averaged weights are kept epoch by
epoch and scored when it is done. The published recipe is Adam at 2.5e-5, no schedule, batches of 32, eight fixed
orientations of every patch in memory, float32, masked cross-entropy; by default only its speed is measured.
"""

import argparse
import math
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from held_out import HeldOut, Point
from pom.cli.console import start_logging
from pom.demo.dataset import write_demo_project
from pom.demo.phantom import ONTOLOGIES
from pom.inference.predictor import Predictor
from pom.io.checkpoints import ModelCard
from pom.networks.devices import choose_devices
from pom.project.paths import CONFIGURATION_FILE, Project
from pom.sampling.patches import PatchSet
from pom.training.data import LabelledPatches
from pom.training.objectives import single_patches
from pom.training.state import TrainingState
from pom.workflow.single_initialize import single_initialize
from pom.workflow.single_train import load_datasets, single_train
from published_recipe import train_published
from report import report


@dataclass
class Snapshots(pl.Callback):
    """Keeps the averaged weights every so many epochs."""

    every: int
    started: float
    taken: list[tuple[int, float, dict[str, Tensor]]] = field(default_factory=list)
    """Epochs, seconds, weights."""

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes the weights while validation has put the averages in their place."""
        epoch = trainer.current_epoch + 1
        if epoch % self.every == 0 or epoch == trainer.max_epochs:
            assert isinstance(pl_module.network, torch.nn.Module)
            weights = {name: value.detach().cpu().clone() for name, value in pl_module.network.state_dict().items()}
            self.taken.append((epoch, time.perf_counter() - self.started, weights))


def train_pom(project: Project, ontology: str, every: int, held_out: HeldOut) -> tuple[list[Point], ModelCard]:
    """Trains the single network of an ontology as the program does, and scores it every so many epochs."""
    snapshots = Snapshots(every, time.perf_counter())
    original = TrainingState.callbacks

    def with_snapshots(state: TrainingState, title: str) -> list[pl.Callback]:
        # First, because the averages go out again when the callback that put them there hears of the same event.
        return [snapshots, *original(state, title)]

    devices = choose_devices(None, project.configuration.GPUS)
    with mock.patch.object(TrainingState, "callbacks", with_snapshots):
        card = single_train(project, [ontology], devices, counterexamples=True)[ontology]

    def score(weights: dict[str, Tensor]) -> float:
        predictor = Predictor(weights, card, devices.first, bf16=False, n_orientations=1)
        return held_out.score(lambda images: np.concatenate(list(predictor.predict(images)))[:, 0])

    points = [
        Point(seconds, epoch * card.training.patches, score(weights)) for epoch, seconds, weights in snapshots.taken
    ]
    return points, card


def training_patches(project: Project, ontology: str) -> LabelledPatches:
    """The patches that Pom's single network learns from: its own, and what was drawn of others."""
    datasets = load_datasets(project)
    others = [part.with_drawn_pixels() for name, part in datasets.items() if name != ontology]
    patches = PatchSet.concatenate([datasets[ontology], *others])
    return single_patches(patches, ontology).at(np.flatnonzero(~patches.validation))


def first_at(points: list[Point], goal: float) -> Point | None:
    """The first point that reaches a Dice."""
    return next((point for point in points if point.dice >= goal), None)


def main() -> None:
    """Trains both and prints what was measured and what follows from it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--ontology", choices=ONTOLOGIES, default=ONTOLOGIES[1], help="the one to learn")
    parser.add_argument("--goal", type=float, default=0.80, help="Dice to reach")
    parser.add_argument("--epochs", type=int, help="of Pom's training, instead of the demo's")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="score Pom every N epochs")
    parser.add_argument("--score-slices", type=int, default=4, metavar="K", help="score on one slice in K")
    parser.add_argument("--baseline-steps", type=int, default=10, help="steps to measure the baseline's speed on")
    parser.add_argument("--baseline-minutes", type=float, default=0.0, help="train the baseline for up to so long")
    parser.add_argument("--work", type=Path, help="make the demo project here, or use the one that is here")
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()
    start_logging()
    with tempfile.TemporaryDirectory() as temporary:
        project = _project(options.work or Path(temporary), options.epochs)
        single_initialize(project)
        held_out = HeldOut.of(project, options.ontology, options.score_slices)
        pom, card = train_pom(project, options.ontology, options.every, held_out)
        patches = training_patches(project, options.ontology)
    device = choose_devices(None, project.configuration.GPUS).first
    seconds = 60.0 * options.baseline_minutes
    published = train_published(patches, options.baseline_steps, seconds, options.goal, held_out, device)
    _report(options, pom, card, published, patches)


def _project(folder: Path, epochs: int | None) -> Project:
    project = Project.open(folder) if (folder / CONFIGURATION_FILE).exists() else write_demo_project(folder)
    if epochs is None:
        return project
    return Project(folder, project.configuration.model_copy(update={"single_model_epochs": epochs}))


def _report(
    options: argparse.Namespace, pom: list[Point], card: ModelCard, published: list[Point], patches: LabelledPatches
) -> None:
    speed, slow_speed = pom[-1].patches / pom[-1].seconds, published[0].patches / published[0].seconds
    reached, slow_reached = first_at(pom, options.goal), first_at(published, options.goal)
    best, slow_best = (max((p.dice for p in each if p.dice >= 0), default=None) for each in (pom, published))
    goal = f"seconds to Dice {options.goal:.2f}"
    times = _ratio(reached, published, slow_reached)
    rows = [
        ["patches a second (measured)", f"{speed:.1f}", f"{slow_speed:.2f}", f"{speed / slow_speed:.1f}"],
        [f"{goal} (measured)", _seconds(pom, reached), _seconds(published, slow_reached), times],
    ]
    if reached is not None:
        same = reached.patches / slow_speed
        rows.append(
            [f"seconds to the {reached.patches} patches that took Pom there (baseline derived)",
             f"{reached.seconds:.1f}", f"{same:.0f}", f"{same / reached.seconds:.1f}"]
        )  # fmt: skip
    rows.append(["best Dice", _dice(best), _dice(slow_best), ""])
    size = " x ".join(map(str, patches.images.shape[2:]))
    notes = [
        f"{torch.get_num_threads()} threads; {len(patches)} patches of {size} pixels, {patches.images.shape[1]} "
        f"channels; scored on one slice in {options.score_slices} of whole tomograms that no training saw.",
        f"Pom: the real training, {card.training.epochs} epochs, batch {card.training.batch_size}, "
        f"{card.training.precision}, its validation and checkpoints on the clock; Dice of the averaged weights.",
        f"Published design: {published[0].patches} patches timed, then "
        + (f"trained for {published[-1].seconds:.0f} s." if len(published) > 1 else "not trained further."),
    ]
    if reached is not None:
        notes.append(
            "Derived: the baseline's seconds for as many patches are its patches a second times that number; that it "
            "would be as good after them is not claimed."
        )
    report(
        f"Training a single network of {options.ontology} on the demo data",
        ["", "Pom", "published design", "times"],
        rows,
        notes,
        {
            "pom": [_figures(point) for point in pom],
            "published": [_figures(point) for point in published],
        },
        options.json,
    )


def _seconds(points: list[Point], reached: Point | None) -> str:
    if reached is not None:
        return f"{reached.seconds:.1f}"
    if not any(point.dice >= 0 for point in points):
        return "not measured"
    return f"not in {points[-1].seconds:.0f}"


def _ratio(reached: Point | None, published: list[Point], slow_reached: Point | None) -> str:
    """How many times sooner Pom is there; a lower bound where the other never was, empty where nothing is known."""
    if reached is None or len(published) == 1:
        return ""
    sign, last = ("", slow_reached) if slow_reached is not None else ("> ", published[-1])
    return f"{sign}{last.seconds / reached.seconds:.1f}"


def _figures(point: Point) -> dict[str, float | None]:
    return {**vars(point), "dice": None if math.isnan(point.dice) else point.dice}


def _dice(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
