"""Step 2: one network per ontology."""

import logging
from collections.abc import Sequence

import numpy as np

from pom.errors import PomError
from pom.io.checkpoints import ModelCard
from pom.networks.devices import Devices
from pom.project.paths import Project
from pom.sampling.patches import PatchSet
from pom.training.objectives import single_objective, single_patches
from pom.training.run import Assignment, plan_of, train
from pom.workflow.alone import alone, training

log = logging.getLogger(__name__)

MADE_BY = "pom single initialize"


def single_train(
    project: Project, ontologies: Sequence[str], devices: Devices, counterexamples: bool
) -> dict[str, ModelCard]:
    """Trains the single networks of some ontologies, from pretrained weights where 'pom pretrain' has made them.

    Args:
        project: with sampled patches.
        ontologies: which; of several, those without patches are passed over with a warning, and those that an
            interrupted run of the same command finished are not trained again.
        devices: where.
        counterexamples: whether what was drawn of other ontologies serves as 'not this one'.

    Raises:
        PomError: there are no patches, or another process trains one of these networks.
    """
    with alone(project, [training(ontology) for ontology in ontologies]):
        return _train_all(project, ontologies, devices, counterexamples)


def _train_all(
    project: Project, ontologies: Sequence[str], devices: Devices, counterexamples: bool
) -> dict[str, ModelCard]:
    datasets = load_datasets(project)
    missing = [ontology for ontology in ontologies if ontology not in datasets]
    if missing and len(missing) == len(ontologies):
        raise PomError(
            f"{', '.join(missing)}: no box is annotated, so there is nothing to train on; place some, then run "
            f"'{MADE_BY}' again."
        )
    for ontology in missing:
        log.warning("%s has no annotated box and is not trained.", ontology)
    return {
        ontology: _train(project, ontology, datasets, devices, counterexamples, keep_finished=len(ontologies) > 1)
        for ontology in ontologies
        if ontology in datasets
    }


def load_datasets(project: Project) -> dict[str, PatchSet]:
    """The sampled patches per ontology that has some.

    Raises:
        PomError: nothing is sampled, or a file is damaged.
    """
    paths = {ontology: project.single_dataset(ontology) for ontology in project.listed_ontologies()}
    datasets = {ontology: PatchSet.load(path, MADE_BY) for ontology, path in paths.items() if path.exists()}
    if not datasets:
        raise PomError(f"There are no training patches yet; run '{MADE_BY}' first.")
    return datasets


def _train(
    project: Project,
    ontology: str,
    datasets: dict[str, PatchSet],
    devices: Devices,
    counterexamples: bool,
    *,
    keep_finished: bool,
) -> ModelCard:
    configuration = project.configuration
    patches = datasets[ontology]
    n_own = int((~patches.validation).sum())
    if counterexamples:
        others = [part for name, part in datasets.items() if name != ontology]
        # Only where something was drawn can another ontology's patch say 'not this one'.
        patches = PatchSet.concatenate([patches, *(part.with_drawn_pixels() for part in others)])
    labelled = single_patches(patches, ontology)
    assignment = Assignment(
        kind="single",
        title=ontology,
        outputs=(ontology,),
        patches=patches,
        labelled=labelled,
        counterexamples=int((~patches.validation).sum()) - n_own,
        folder=project.single_network(ontology),
        pretrained=project.pretrained_network,
        keep_finished=keep_finished,
    )
    epochs, batch_size = configuration.single_model_epochs, configuration.single_model_batch_size
    plan = plan_of(configuration, epochs, batch_size, datasets[ontology], devices)
    learnt_from = labelled.at(np.flatnonzero(~patches.validation))
    return train(assignment, single_objective(ontology, learnt_from), plan, devices)
