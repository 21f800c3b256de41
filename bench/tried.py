"""What each choice of the training is worth: one change at a time against the training as it is.

Every row trains the single networks of some ontologies for the same number of epochs. On the demo data it reports
the validation Dice, on the tomogram that the demo holds out of training; the scored tomograms of the demo are not
touched. On the real data (--maker) the halves are exchanged: VNC_2 is annotated and VNC_1 scored, in full, so that
nothing is chosen by the half that bench/real_data.py scores.
"""

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from pom.cli.console import start_logging
from pom.demo.dataset import DEMO_CONFIGURATION, write_demo_project
from pom.networks import unet
from pom.networks.devices import Devices
from pom.networks.unet import UNet
from pom.project.paths import Project
from pom.sampling import augmentation, boxes
from pom.training import objectives, run, state
from pom.workflow.process_tomograms import Redo
from pom.workflow.single_initialize import single_initialize
from pom.workflow.single_process import single_process
from pom.workflow.single_train import single_train
from real_data import make_project, single_dice, summary
from report import report

REAL_TRAIN, REAL_TEST = "VNC_2", "VNC_1"

Change = Callable[[], AbstractContextManager[object]]


def constant(module: object, **values: Any) -> Change:
    """Gives constants of a module other values."""
    return lambda: mock.patch.multiple(module, **values)


def widths(*channels: int) -> Change:
    """Gives the network other channels per level."""
    return lambda: mock.patch.object(run, "UNet", lambda i, o: UNet(i, o, channels))


def each_patch_once() -> AbstractContextManager[object]:
    """Shows own patches no more often than those of others."""
    return mock.patch.object(objectives, "_half_own", lambda is_own, training: np.ones(len(is_own)))


def padded_by_repetition() -> AbstractContextManager[object]:
    """Repeats the last pixels beyond the edge, where convolutions otherwise see zeros."""

    class Padded(unet.ConvolutionBlock):
        def __init__(self, in_channels: int, out_channels: int) -> None:
            super().__init__(in_channels, out_channels)
            for layer in self:
                if isinstance(layer, torch.nn.Conv2d):
                    layer.padding_mode = "replicate"

    return mock.patch.object(unet, "ConvolutionBlock", Padded)


CHANGES: dict[str, tuple[dict[str, object], list[Change]]] = {
    "as it is": ({}, []),
    "learning rate 1e-3": ({"learning_rate": 1e-3}, []),
    "learning rate 1e-2": ({"learning_rate": 1e-2}, []),
    "batch 16": ({"single_model_batch_size": 16}, []),
    "float32": ({"precision": "float32"}, []),
    "no averaged weights": ({}, [constant(state, DECAY=0.0)]),
    "rare pixels weigh no more": ({}, [constant(objectives, RARITY=0.0)]),
    "rare pixels weigh fully": ({}, [constant(objectives, RARITY=1.0)]),
    "each patch once an epoch": ({}, [each_patch_once]),
    "no shift": ({}, [constant(augmentation, LARGEST_SHIFT=0.0)]),
    "no shift, each patch once an epoch": ({}, [constant(augmentation, LARGEST_SHIFT=0.0), each_patch_once]),
    "edges repeated in convolutions, no shift": (
        {},
        [constant(augmentation, LARGEST_SHIFT=0.0), padded_by_repetition],
    ),
    "16 pixels of context": ({}, [constant(boxes, CONTEXT=16)]),
    "patches shown whole": ({}, [constant(augmentation, SHOWN_SHARE=1.0)]),
    "no turn, no zoom": ({}, [constant(augmentation, LARGEST_TURN=0.0, LARGEST_ZOOM=1.0)]),
    "no contrast, noise, blur": (
        {},
        [constant(augmentation, CONTRAST=0.0, BRIGHTNESS=0.0, NOISE=0.0, BLUR_SHARE=0.0)],
    ),
    "three levels, 32-64-128": ({}, [widths(32, 64, 128)]),
    "narrow, 16-32-64-128": ({}, [widths(16, 32, 64, 128)]),
}


def main() -> None:
    """Runs the rows and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--maker", type=Path, help="the script that makes the project of real data; else the demo's")
    parser.add_argument("--ontologies", nargs="+", required=True)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="*", default=list(CHANGES), choices=list(CHANGES), metavar="ROW")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    start_logging()
    dices: dict[str, list[dict[str, float]]] = {name: [] for name in arguments.only}
    seconds: dict[str, list[float]] = {name: [] for name in arguments.only}
    for seed in arguments.seeds:
        for name in arguments.only:
            with tempfile.TemporaryDirectory() as folder:
                project = prepare(Path(folder), arguments.maker, seed, arguments.epochs)
                scores, taken = measure(project, name, arguments.ontologies, real=arguments.maker is not None)
            print(f"seed {seed}, {name}: {scores}, {taken:.0f} s", flush=True)
            dices[name].append(scores)
            seconds[name].append(taken)
    rows = [
        [name, *(summary([scores[o] for scores in dices[name]]) for o in arguments.ontologies), summary(seconds[name])]
        for name in arguments.only
    ]
    where = f"Dice on {REAL_TEST}, trained on {REAL_TRAIN}" if arguments.maker else "validation Dice on the demo data"
    report(
        f"Single networks after {arguments.epochs} epochs, seeds {arguments.seeds}: {where}",
        ["what", *arguments.ontologies, "seconds"],
        rows,
        [],
        {"dice": dices, "seconds": seconds},
        arguments.json,
    )


def prepare(folder: Path, maker: Path | None, seed: int, epochs: int) -> Project:
    """A project of one seed, its patches not sampled yet."""
    if maker is not None:
        return make_project(maker, folder, REAL_TRAIN, seed, (epochs, 1))
    settings = {"single_model_epochs": epochs, "single_model_batch_size": 8, "seed": seed}
    return write_demo_project(folder, seed, DEMO_CONFIGURATION.model_copy(update=settings))


def measure(project: Project, name: str, ontologies: list[str], *, real: bool) -> tuple[dict[str, float], float]:
    """Dice per ontology, and seconds of training in all, with one change."""
    settings, changes = CHANGES[name]
    project = dataclasses.replace(project, configuration=project.configuration.model_copy(update=settings))
    with ExitStack() as stack:
        for change in changes:
            stack.enter_context(change())
        single_initialize(project)
        started = time.perf_counter()
        cards = single_train(project, ontologies, Devices(), counterexamples=True)
        seconds = time.perf_counter() - started
        if not real:
            return {ontology: card.validation[ontology].get("dice", 0.0) for ontology, card in cards.items()}, seconds
        for ontology in ontologies:
            single_process(project, ontology, Devices(), test=False, redo=Redo.everything())
    return {ontology: single_dice(project, REAL_TEST, ontology) for ontology in ontologies}, seconds


if __name__ == "__main__":
    main()
