"""A single network over the test tomograms, or over all."""

from collections.abc import Sequence

from pom.jobs.pool import Slot
from pom.networks.devices import Devices
from pom.project.paths import Project
from pom.workflow.process_tomograms import NOTHING, ProcessReport, Redo, process_tomograms
from pom.workflow.segmentation import Segmentation


def single_process(
    project: Project,
    ontology: str,
    devices: Devices,
    *,
    test: bool,
    slots: Sequence[Slot] | None = None,
    redo: Redo = NOTHING,
) -> ProcessReport:
    """Segments one ontology.

    Args:
        project: with a trained single network of the ontology.
        ontology: which.
        devices: where to work in this process; the first GPU is used.
        test: the tomograms of the test folder, outputs beside them; otherwise all tomograms.
        slots: worker processes to start instead.
        redo: which outputs that are there are made again.

    Raises:
        PomError: no network, no tomograms, or something that stops every worker.
    """
    return process_tomograms(Segmentation.single(project, ontology, test=test), devices, slots, redo)
