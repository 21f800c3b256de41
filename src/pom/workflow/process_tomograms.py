"""What single and shared process have in common: which tomograms, which outputs, which network."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from pom.errors import PomError
from pom.inference.predictor import Predictor
from pom.inference.process import Job, ProcessReport, process
from pom.io.channels import NetworkInput, read_network_input
from pom.io.checkpoints import ModelCard, load_network
from pom.io.mrc import is_placeholder
from pom.networks.devices import Devices, use_bf16
from pom.project.paths import Project
from pom.words import counted
from pom.workflow.freshness import count_older

log = logging.getLogger(__name__)

LARGEST_DIFFERENCE = 0.1
"""Of pixel sizes, as a share, before a person should hear of it."""


def load_predictor(project: Project, folder: Path, made_by: str, devices: Devices, n_orientations: int) -> Predictor:
    """The network in a folder, ready to predict.

    Raises:
        PomError: there is none.
    """
    weights, card = load_network(folder, made_by)
    bf16 = use_bf16(devices, project.configuration.precision)
    return Predictor(weights, card, devices.first, bf16=bf16, n_orientations=n_orientations)


def process_tomograms(
    project: Project,
    names: Sequence[str],
    predictor: Predictor,
    outputs_of: Callable[[str], Mapping[int, Path]],
    *,
    network: Path,
    test: bool,
    overwrite: bool,
) -> ProcessReport:
    """Applies a network to tomograms.

    Args:
        project: whose configuration says how to write.
        names: of the tomograms.
        predictor: the network.
        outputs_of: where a tomogram's outputs go, by the network's output index.
        network: its folder; outputs that are older than its card are mentioned.
        test: whether the tomograms are those of the test folder.
        overwrite: whether outputs that are there are made again.
    """
    report = ProcessReport()
    jobs = []
    n_older = 0
    for name in names:
        outputs = dict(outputs_of(name))
        if not overwrite and all(path.exists() and not is_placeholder(path) for path in outputs.values()):
            report.skipped.append(name)
            n_older += count_older(outputs.values(), network)
            continue
        files = project.input_files(name, test=test, channels=predictor.card.preprocessing.channels)
        read = partial(_read, files, predictor.card, project.configuration.apix)
        jobs.append(Job(name, read, outputs))
    if n_older:
        were = counted(n_older, "output is", "outputs are")
        log.warning("%s older than the network; --overwrite makes them again.", were)
    process(jobs, predictor, project.configuration.output_dtype, report)
    return report


def _read(files: Mapping[str, Path], card: ModelCard, apix: float) -> NetworkInput:
    """The network's input; warns where its pixels are of another size than those that the network knows."""
    network_input = read_network_input(files, card.preprocessing, apix)
    pixel_size = network_input.voxel_size[2] / card.preprocessing.binning[2]
    if abs(pixel_size / card.pixel_size - 1.0) > LARGEST_DIFFERENCE:
        log.warning(
            "%s has pixels of %.4g Angstrom, but the network was trained at %.4g: what it finds may be wrong.",
            next(iter(files.values())), pixel_size, card.pixel_size,
        )  # fmt: skip
    return network_input


def require_names(names: Sequence[str], folder: Path) -> Sequence[str]:
    """The names, of which there must be one.

    Raises:
        PomError: there is none.
    """
    if not names:
        raise PomError(f"There are no tomograms (.mrc) in {folder}; put some there.")
    return names
