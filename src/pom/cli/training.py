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
    from pom.training.team import is_first_process

    cards = train(devices_of_team(project, gpus))
    if is_first_process():
        report_training(cards)


def devices_of_team(project: "Project", gpus: str | None) -> "Devices":
    """The devices that train; of several processes that train together all but one are quiet from here on."""
    from pom.networks.devices import choose_devices
    from pom.training.team import is_first_process

    if not is_first_process():
        start_logging(level=logging.ERROR)
    return choose_devices(gpus, project.configuration.GPUS)
