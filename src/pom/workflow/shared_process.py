"""Step 5: the joint network over all tomograms."""

from pathlib import Path

from pom.inference.process import ProcessReport
from pom.networks.devices import Devices
from pom.project.names import EMPTY
from pom.project.paths import Project
from pom.workflow.process_tomograms import load_predictor, process_tomograms, require_names


def shared_process(project: Project, devices: Devices, overwrite: bool) -> ProcessReport:
    """Segments every ontology, and Unknown, in every tomogram.

    Args:
        project: with a trained joint network.
        devices: where; the first GPU is used.
        overwrite: make outputs again that are there.

    Raises:
        PomError: no network, or no tomograms.
    """
    names = require_names(project.tomogram_names(), project.tomogram_dir)
    n_orientations = project.configuration.shared_model_runs_per_volume
    network = project.joint_network
    predictor = load_predictor(project, network, "pom shared train", devices, n_orientations)

    def outputs_of(name: str) -> dict[int, Path]:
        outputs = enumerate(predictor.card.outputs)
        return {index: project.output(name, ontology) for index, ontology in outputs if ontology != EMPTY}

    return process_tomograms(project, names, predictor, outputs_of, network=network, test=False, overwrite=overwrite)
