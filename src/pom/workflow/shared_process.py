"""Step 5: the joint network over all tomograms."""

from collections.abc import Sequence

from pom.jobs.pool import Slot
from pom.networks.devices import Devices
from pom.project.paths import Project
from pom.workflow.process_tomograms import NOTHING, ProcessReport, Redo, process_tomograms
from pom.workflow.segmentation import Segmentation


def shared_process(
    project: Project, devices: Devices, slots: Sequence[Slot] | None = None, redo: Redo = NOTHING
) -> ProcessReport:
    """Segments every ontology, and Unknown, in every tomogram.

    Args:
        project: with a trained joint network.
        devices: where to work in this process; the first GPU is used.
        slots: worker processes to start instead.
        redo: which outputs that are there are made again.

    Raises:
        PomError: no network, no tomograms, or something that stops every worker.
    """
    return process_tomograms(Segmentation.joint(project), devices, slots, redo)
