"""What each choice of the training is worth: one change at a time against the training as it is, on the demo data.

Every row trains the single networks of some ontologies for the same number of epochs and reports the validation
Dice, on the tomogram that the demo holds out of training; the scored tomograms of the demo are not touched.
"""

import argparse
import dataclasses
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

from pom.cli.console import start_logging
from pom.demo.dataset import DEMO_CONFIGURATION, write_demo_project
from pom.networks.devices import Devices
from pom.networks.unet import UNet
from pom.project.configuration import Configuration
from pom.project.paths import Project
from pom.sampling import augmentation
from pom.training import fit, objectives, run
from pom.workflow.single_initialize import single_initialize
from pom.workflow.single_train import single_train
from report import report

Change = Callable[[], AbstractContextManager[object]]


def constant(module: object, **values: Any) -> Change:
    """Gives constants of a module other values."""
    return lambda: mock.patch.multiple(module, **values)


def widths(*channels: int) -> Change:
    """Gives the network other channels per level."""
    return lambda: mock.patch.object(run, "UNet", lambda i, o: UNet(i, o, channels))


CHANGES: dict[str, tuple[dict[str, object], list[Change]]] = {
    "as it is": ({}, []),
    "learning rate 1e-3": ({"learning_rate": 1e-3}, []),
    "learning rate 1e-2": ({"learning_rate": 1e-2}, []),
    "batch 16": ({"single_model_batch_size": 16}, []),
    "float32": ({"precision": "float32"}, []),
    "no averaged weights": ({}, [constant(fit, DECAY=0.0)]),
    "rare pixels weigh no more": ({}, [constant(objectives, RARITY=0.0)]),
    "rare pixels weigh fully": ({}, [constant(objectives, RARITY=1.0)]),
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ontologies", nargs="+", default=["Vesicle", "Droplet"])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(CHANGES), choices=list(CHANGES))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    start_logging()
    base = DEMO_CONFIGURATION.model_copy(
        update={"single_model_epochs": arguments.epochs, "single_model_batch_size": 8, "seed": arguments.seed}
    )
    rows, figures = [], {}
    with tempfile.TemporaryDirectory() as folder:
        project = write_demo_project(Path(folder), arguments.seed, base)
        single_initialize(project)
        for name in arguments.only:
            dices, seconds = measure(project, base, name, arguments.ontologies)
            rows.append([name, *(f"{dices[o]:.3f}" for o in arguments.ontologies), f"{seconds:.0f}"])
            figures[name] = {"dice": dices, "seconds": seconds}
    report(
        f"Single networks after {arguments.epochs} epochs, seed {arguments.seed}: validation Dice",
        ["what", *arguments.ontologies, "seconds"],
        rows,
        ["One run a row: differences of a few hundredths are within what another seed changes."],
        figures,
        arguments.json,
    )


def measure(project: Project, base: Configuration, name: str, ontologies: list[str]) -> tuple[dict[str, float], float]:
    """Validation Dice per ontology, and seconds in all, with one change."""
    settings, changes = CHANGES[name]
    changed = dataclasses.replace(project, configuration=base.model_copy(update=settings))
    with ExitStack() as stack:
        for change in changes:
            stack.enter_context(change())
        # What several trainings finished is kept; here every row is to be trained.
        shutil.rmtree(project.folder / "models", ignore_errors=True)
        started = time.perf_counter()
        cards = single_train(changed, ontologies, Devices(), counterexamples=True)
        seconds = time.perf_counter() - started
    return {ontology: card.validation[ontology].get("dice", 0.0) for ontology, card in cards.items()}, seconds


if __name__ == "__main__":
    main()
