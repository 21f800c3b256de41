"""What in a project is older than what it was made from, by the files' times. Nothing is written."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pom.io.checkpoints import CARD_FILE, ModelCard
from pom.io.volume_files import stored_at
from pom.jobs.ledger import Record
from pom.project.names import UNKNOWN
from pom.project.paths import Project
from pom.words import counted
from pom.workflow.annotations import last_change


@dataclass(frozen=True)
class Outdated:
    """What has to be made again, step by step.

    ``patches``: annotations were saved after the patches were sampled. ``networks``: ontologies whose patches were
    sampled after their single network was trained. ``labels``: a single network was trained after the joint labels
    were made, or they are of other outputs than the configuration's. ``joint``: likewise the joint network and its
    labels, or the patches where it learnt straight from them. ``joint_outputs``: those of the joint network where
    they are not the configuration's, otherwise none.
    ``outputs``: tomograms segmented before the joint network was trained.
    """

    patches: bool = False
    networks: tuple[str, ...] = ()
    labels: bool = False
    joint: bool = False
    joint_outputs: tuple[str, ...] = ()
    outputs: int = 0

    def notes(self) -> list[str]:
        """What a person should know of it, a sentence each."""
        notes = []
        if self.patches:
            notes.append("Annotations have changed since the patches were sampled: sample and train again to use them.")
        if self.networks:
            listed = ", ".join(self.networks)
            notes.append(f"Patches have been sampled again since these single networks were trained: {listed}.")
        if self.joint_outputs:
            notes.append(
                f"The joint network has the outputs {', '.join(self.joint_outputs)}, which are not the configuration's "
                "ontologies and Unknown: the joint steps must be done again."
            )
        elif self.labels:
            notes.append("The joint labels are older than the single networks or the ontologies that they come from.")
        elif self.joint:
            notes.append("What the joint network learnt from has been made again since it was trained.")
        if self.outputs:
            were = counted(self.outputs, "tomogram was", "tomograms were")
            notes.append(f"{were} segmented by an older network: pom shared process --outdated.")
        return notes


def find_outdated(
    project: Project,
    annotated_names: Sequence[str],
    joint: ModelCard | None,
    segmented: Mapping[str, float],
    records: Mapping[str, Record],
) -> Outdated:
    """Compares the times of a project's files along the way from annotations to outputs; a missing one is not old.

    Args:
        project: whose files.
        annotated_names: of the tomograms with an annotation, of either form.
        joint: the card of the joint network, if there is one.
        segmented: when each segmented tomogram was, as a file's time.
        records: of the tomograms that have one; it says which network made the outputs, whatever the times are.
    """
    sampled = {ontology: modified(project.single_dataset(ontology)) for ontology in project.ontologies}
    trained = {ontology: modified(project.single_network(ontology) / CARD_FILE) for ontology in project.ontologies}
    labelled, joint_trained = modified(project.joint_dataset), modified(project.joint_network / CARD_FILE)
    wanted = (*project.ontology_slots, UNKNOWN)
    learnt_from = sampled.values() if joint is not None and learnt_directly(joint) else [labelled]
    misfit = joint is not None and joint.outputs != wanted
    labels_misfit = labelled is not None and _joint_outputs(project.joint_dataset) not in (wanted, None)
    return Outdated(
        patches=_any_newer((last_change(project, name) for name in annotated_names), _oldest(sampled.values())),
        networks=tuple(name for name in sampled if _any_newer([sampled[name]], trained[name])),
        labels=labels_misfit or _any_newer(trained.values(), labelled),
        joint=misfit or _any_newer(learnt_from, joint_trained),
        joint_outputs=joint.outputs if misfit and joint is not None else (),
        outputs=sum(
            joint is not None and records[name].network != joint.weights_sha256
            if name in records
            else joint_trained is not None and time < joint_trained
            for name, time in segmented.items()
        ),
    )


def learnt_directly(joint: ModelCard) -> bool:
    """Whether a joint network learnt straight from the annotations."""
    return joint.training.labels == "annotations"


def modified(path: Path) -> float | None:
    """When a file was last written, in seconds since 1970; None where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def count_older(paths: Iterable[Path], network: Path) -> int:
    """How many of these outputs were written before the network in a folder was trained."""
    trained = modified(network / CARD_FILE)
    return sum(_any_newer([trained], modified(stored_at(path))) for path in paths)


def _any_newer(times: Iterable[float | None], than: float | None) -> bool:
    return than is not None and any(time is not None and time > than for time in times)


def _oldest(times: Iterable[float | None]) -> float | None:
    return min((time for time in times if time is not None), default=None)


def _joint_outputs(dataset: Path) -> tuple[str, ...] | None:
    """The outputs that the joint labels are of, read without the patches; None where the file is damaged."""
    try:
        with np.load(dataset, allow_pickle=False) as archive:
            return tuple(archive["outputs"].tolist())
    except Exception:  # a damaged archive fails in many ways; the training that loads it says so
        return None
