"""Where a project stands, and the command that comes next."""

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from pom.io.checkpoints import CARD_FILE, ModelCard
from pom.project.listing import list_folders
from pom.project.names import DENSITY_PICTURES, PROJECTION
from pom.project.paths import CONFIGURATION_FILE, Project
from pom.workflow.annotations import annotated
from pom.workflow.evaluation import REPORT_FILE
from pom.workflow.freshness import Outdated, find_outdated, learnt_directly, modified
from pom.workflow.segmentation import Segmentation
from pom.workflow.survey import (
    AnnotationSurvey,
    survey_annotations,
    survey_card,
    survey_macromolecules,
    survey_outputs,
    survey_pretrained,
)


@dataclass(frozen=True)
class OntologyState:
    """How far one ontology is.

    ``tomograms`` and ``boxes``: how many tomograms hold boxes of it, and how many boxes.
    ``sampled``, ``trained``: whether its training patches, and its single network, are there.
    ``single_dice``, ``joint_dice``: validation Dice, 0..1, of its single network and of the joint network, or None.
    ``outputs``: in how many tomograms it is segmented.
    """

    ontology: str
    tomograms: int
    boxes: int
    sampled: bool
    trained: bool
    single_dice: float | None
    joint_dice: float | None
    outputs: int


@dataclass(frozen=True)
class Overview:
    """How far a project is.

    ``annotated``: tomograms with an annotation. ``outdated``: what is older than what it was made from.
    ``direct``: whether the joint network learns straight from the annotations, or is to. ``processed``: tomograms with
    every output of the joint network. ``waiting``: those without, whose inputs are all there.
    ``pretrained``: how many tomograms the weights are from that trainings begin with; None where there are none.
    ``missing_macromolecules``: per channel the number of tomograms without its volume. ``notes``: what a person
    should know, a sentence each. ``next_command``: the command to give now, or what to do where there is none.
    """

    tomograms: int
    annotated: int
    test_tomograms: int
    ontologies: tuple[OntologyState, ...]
    outdated: Outdated
    joint_sampled: bool
    joint_trained: bool
    direct: bool
    processed: int
    waiting: int
    missing_macromolecules: Mapping[str, int]
    notes: tuple[str, ...]
    next_command: str
    pretrained: int | None = None


def overview(project: Project) -> Overview:
    """Gathers the state of a project from its files; writes nothing.

    A damaged annotation or network becomes a note. Each folder is listed once, so that thousands of
    tomograms take a moment and not minutes.

    Raises:
        PomError: a folder of the project cannot be read.
    """
    names = project.tomogram_names()
    annotated_names = project.annotated_names()
    annotations = survey_annotations(project, annotated_names)
    notes = annotations.notes
    joint = survey_card(project.joint_network, notes)
    pretrained = survey_pretrained(project, notes)
    outputs = survey_outputs(project, names)
    ontologies = [
        _ontology(project, name, annotations, survey_card(project.single_network(name), notes))
        for name in project.ontologies
    ]
    records = {record.tomogram: record for record in Segmentation.joint(project).ledger.records()}
    outdated = find_outdated(project, annotated_names, joint, outputs.processed, records)
    notes += outdated.notes()
    missing, lacking = survey_macromolecules(project, names)
    state = Overview(
        tomograms=len(names),
        annotated=len(annotated_names),
        test_tomograms=len(project.test_names()),
        ontologies=tuple(
            replace(o, joint_dice=_dice(joint, o.ontology), outputs=outputs.counts[o.ontology]) for o in ontologies
        ),
        outdated=outdated,
        joint_sampled=project.joint_dataset.exists(),
        joint_trained=joint is not None,
        direct=_goes_straight(project, joint, ontologies),
        processed=len(outputs.processed),
        waiting=len(set(names) - outputs.processed.keys() - lacking),
        missing_macromolecules=missing,
        notes=tuple(notes),
        next_command="",
        pretrained=len(pretrained.tomograms) if pretrained is not None else None,
    )
    next_command = _next_command(project, state)
    if next_command is None:
        newest = max(outputs.processed.values(), default=0.0)
        unjudged = joint is not None and _is_unjudged(project, joint, outputs.processed)
        next_command = _next_of_looking(project, newest, unjudged=unjudged)
    return replace(state, next_command=next_command)


def _ontology(project: Project, name: str, annotations: AnnotationSurvey, single: ModelCard | None) -> OntologyState:
    """What concerns the ontology alone; the joint network and the outputs are added by the caller."""
    return OntologyState(
        ontology=name,
        tomograms=annotations.tomograms[name],
        boxes=annotations.boxes[name],
        sampled=project.single_dataset(name).exists(),
        trained=single is not None,
        single_dice=_dice(single, name),
        joint_dice=None,
        outputs=0,
    )


def _dice(card: ModelCard | None, ontology: str) -> float | None:
    return None if card is None else card.validation.get(ontology, {}).get("dice")


def _goes_straight(project: Project, joint: ModelCard | None, ontologies: Sequence[OntologyState]) -> bool:
    """Whether the joint network is one to learn straight from the annotations.

    As the one that is there did; without any, unless somebody has begun with single networks.
    """
    if joint is not None:
        return learnt_directly(joint)
    return not (project.joint_dataset.exists() or any(ontology.trained for ontology in ontologies))


def _next_command(project: Project, state: Overview) -> str | None:
    """What is left to do until all tomograms are segmented; None: nothing."""
    if not state.tomograms:
        return f"put tomograms (NAME.mrc) into {project.tomogram_dir}"
    if not state.ontologies:
        return f"list the names of what to segment under 'ontologies' in {project.folder / CONFIGURATION_FILE}"
    return _next_of_training(project, state) or _next_of_processing(project, state)


def _next_of_training(project: Project, state: Overview) -> str | None:
    outdated = state.outdated
    done = state.joint_trained and not outdated.joint_outputs
    if not done and not any(o.boxes or o.sampled or o.trained for o in state.ontologies):
        return (
            f"annotate {', '.join(project.ontologies)}: draw and place boxes with pom annotate, or in Ais and save"
            f" NAME.scns beside NAME.mrc in {project.tomogram_dir}"
        )
    # Patches that were deleted when all training was done are no work left undone.
    unsampled = [o for o in state.ontologies if o.boxes and not o.sampled and not (o.trained and done)]
    if outdated.patches or unsampled:
        return "pom single initialize"
    training = None if done and not outdated.joint else f"pom shared train{' --direct' if state.direct else ''}"
    return training if state.direct else _next_of_single_networks(state, done=done) or training


def _next_of_single_networks(state: Overview, *, done: bool) -> str | None:
    outdated = state.outdated
    sampled = [o for o in state.ontologies if o.sampled]
    untrained = [o.ontology for o in sampled if not o.trained or o.ontology in outdated.networks]
    if untrained and len(untrained) == len(sampled):
        return "pom single train --all"
    if untrained:
        return " ".join(["pom single train", *(f"-o {shlex.quote(ontology)}" for ontology in untrained)])
    if outdated.labels or not (state.joint_sampled or done):
        return "pom shared initialize"
    return None


def _next_of_processing(project: Project, state: Overview) -> str | None:
    if state.waiting:
        return "pom shared process"
    if state.processed < state.tomograms:
        channels = ", ".join(state.missing_macromolecules)
        return f"put the missing volumes of {channels} into {project.macromolecule_dir}, then pom shared process"
    if state.outdated.outputs:
        return "pom shared process --outdated"
    return None


def _is_unjudged(project: Project, joint: ModelCard, processed: Collection[str]) -> bool:
    """Whether there is annotation, held out from the joint network, that it was not compared with yet."""
    judged, trained = modified(project.evaluation / REPORT_FILE), modified(project.joint_network / CARD_FILE)
    if judged is not None and trained is not None and judged > trained:
        return False
    unseen = {name: held for name, held in annotated(project).items() if name not in joint.training.tomograms}
    return any(
        name in processed and any(held.boxes.get(o) for o in project.ontologies) for name, held in unseen.items()
    )


def _next_of_looking(project: Project, newest_output: float, *, unjudged: bool) -> str:
    """What shows how good the segmentations are, and then what is in them.

    Args:
        project: whose.
        newest_output: when the last of them was written, in seconds since 1970.
        unjudged: whether 'pom evaluate' has something to judge them by, and has not; whoever goes on without is not
            asked again.
    """
    summarised = modified(project.summary)
    if summarised is None or summarised < newest_output:
        return "pom evaluate" if unjudged else "pom summarize"
    kinds = list_folders(project.image_dir)
    flat = {kind for kind in kinds if kind == DENSITY_PICTURES or kind.endswith(PROJECTION)}
    if not flat:
        return "pom projections"
    return "pom browse" if kinds - flat else "pom render"
