"""Which steps of work on all tomograms were begun in a project, and what each reads and writes."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pom.errors import PomError
from pom.io.checkpoints import ModelCard, read_card
from pom.project.listing import TOMOGRAM, list_files
from pom.project.names import SEPARATOR, UNKNOWN, without_empty
from pom.project.paths import SHARED_STEP, SINGLE_STEP, TEST_STEP, Project
from pom.workflow.segmented import list_outputs

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """What is done to each of some tomograms.

    ``name``: ``shared``, ``single/Vesicle``, ``test/Vesicle``.
    ``outputs``: the network's, by name. ``folder``: theirs, and ``files`` the names of what lies in it.
    ``network``: the network's folder, and ``card`` what is known of it, if it is there.
    """

    name: str
    tomograms: Sequence[str]
    outputs: Sequence[str]
    folder: Path
    files: Collection[str]
    network: Path
    card: ModelCard | None


def begun_steps(project: Project) -> list[Step]:
    """The steps that workers have begun, or that have outputs: shared, then the single ones, then their tests.

    Each folder is listed once; into OME-Zarrs a look is taken.

    Raises:
        PomError: a folder of the project cannot be read.
    """
    begun = steps_with_jobs(project)
    files, test_files = list_outputs(project.output_dir), list_files(project.test_dir)
    outputs = _outputs(files)
    # Both kinds of network write into one folder, but only a joint one writes Unknown; where that is, the other
    # outputs are taken for its own.
    shared = SHARED_STEP in begun or UNKNOWN in outputs
    single_steps = _single_steps(project, begun, () if shared else outputs, test=False)
    test_steps = _single_steps(project, begun, _outputs(test_files), test=True)
    names = project.tomogram_names() if shared or single_steps else []
    test_names = project.test_names() if test_steps else []

    steps = []
    if shared:
        card = _card(project.joint_network)
        wanted = without_empty(card.outputs) if card else (*project.ontologies, UNKNOWN)
        steps.append(Step(SHARED_STEP, names, wanted, project.output_dir, files, project.joint_network, card))
    for step, ontology in single_steps.items():
        network = project.single_network(ontology)
        steps.append(Step(step, names, (ontology,), project.output_dir, files, network, _card(network)))
    for step, ontology in test_steps.items():
        network = project.single_network(ontology)
        steps.append(Step(step, test_names, (ontology,), project.test_dir, test_files, network, _card(network)))
    return steps


def steps_with_jobs(project: Project) -> list[str]:
    """The steps that workers have begun, also those of ontologies that the configuration has no more."""
    shared = [SHARED_STEP] if project.jobs(SHARED_STEP).is_dir() else []
    parts = [f"{kind}/{name}" for kind in (SINGLE_STEP, TEST_STEP) for name in _subfolders(project.jobs(kind))]
    return shared + parts


def _single_steps(project: Project, begun: Collection[str], outputs: Collection[str], *, test: bool) -> dict[str, str]:
    """The steps of single networks, with their ontologies: the configuration's in its order, then any others."""
    prefix = project.single_step("", test=test)
    others = [step.removeprefix(prefix) for step in begun if step.startswith(prefix)]
    steps = {project.single_step(name, test=test): name for name in dict.fromkeys((*project.ontologies, *others))}
    return {step: ontology for step, ontology in steps.items() if step in begun or ontology in outputs}


def _outputs(files: Collection[str]) -> set[str]:
    """Of which ontologies there are segmentations among these files."""
    return {file.rpartition(SEPARATOR)[2].removesuffix(TOMOGRAM) for file in files if SEPARATOR in file}


def _subfolders(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if path.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise PomError(f"The folder {folder} cannot be read: {error.strerror or error}.") from error


def _card(folder: Path) -> ModelCard | None:
    try:
        return read_card(folder)
    except PomError as error:
        log.warning("%s", error)
        return None
