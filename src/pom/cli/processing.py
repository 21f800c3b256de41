"""What the commands that segment tomograms have in common."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pom.cli.options import Switch

if TYPE_CHECKING:
    from pom.jobs.pool import Slot
    from pom.networks.devices import Devices
    from pom.project.paths import Project
    from pom.workflow.process_tomograms import ProcessReport, Redo

Process = Callable[["Devices", "Sequence[Slot]"], "ProcessReport"]


def redo_of(overwrite: Switch, outdated: Switch) -> "Redo":
    """What the options say is to be made again."""
    from pom.workflow.process_tomograms import NOTHING, Redo

    if overwrite:
        return Redo.everything()
    return Redo(outdated=True) if outdated else NOTHING


def run_processing(project: "Project", gpus: str | None, workers: int | None, process: Process) -> None:
    """Starts the workers and shows what became of the tomograms.

    Raises:
        typer.Exit: with status 1, if any failed.
    """
    from pom.cli.reports import report_processing
    from pom.networks.devices import choose_devices
    from pom.workflow.process_tomograms import slots_for

    devices = choose_devices(gpus, project.configuration.GPUS)
    report_processing(process(devices, slots_for(devices, workers)))
