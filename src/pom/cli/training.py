"""What the commands that train have in common."""

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pom.cli.console import start_logging

if TYPE_CHECKING:
    from pom.io.checkpoints import ModelCard
    from pom.networks.devices import Devices
    from pom.project.paths import Project

Train = Callable[["Devices"], Mapping[str, "ModelCard"]]


def run_training(project: "Project", gpus: str | None, train: Train) -> None:
    """Trains, and shows how good the networks are; of several processes that train together one speaks."""
    from pom.cli.reports import report_training
    from pom.networks.devices import choose_devices
    from pom.training.team import is_first_process

    if not is_first_process():
        start_logging(level=logging.ERROR)
    cards = train(choose_devices(gpus, project.configuration.GPUS))
    if is_first_process():
        report_training(cards)
