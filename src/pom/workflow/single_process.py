"""A single network over the test tomograms, or over all."""

from pom.inference.process import ProcessReport
from pom.networks.devices import Devices
from pom.project.paths import Project
from pom.workflow.process_tomograms import load_predictor, process_tomograms, require_names


def single_process(project: Project, ontology: str, devices: Devices, test: bool, overwrite: bool) -> ProcessReport:
    """Segments one ontology.

    Args:
        project: with a trained single network of the ontology.
        ontology: which.
        devices: where; the first GPU is used.
        test: the tomograms of the test folder, outputs beside them; otherwise all tomograms.
        overwrite: make outputs again that are there.

    Raises:
        PomError: no network, or no tomograms.
    """
    n_orientations = project.configuration.shared_model_runs_per_volume
    made_by = f'pom single train -o "{ontology}"'
    network = project.single_network(ontology)
    predictor = load_predictor(project, network, made_by, devices, n_orientations)
    if test:
        names, output = require_names(project.test_names(), project.test_dir), project.test_output
    else:
        names, output = require_names(project.tomogram_names(), project.tomogram_dir), project.output
    return process_tomograms(
        project,
        names,
        predictor,
        lambda name: {0: output(name, ontology)},
        network=network,
        test=test,
        overwrite=overwrite,
    )
