"""How good the joint network's segmentations are: against label volumes, or against annotation that it has not seen."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pom.errors import PomError
from pom.io.atomic import write_json
from pom.io.checkpoints import ModelCard, read_card, require_card
from pom.io.mrc import ANGSTROM_PER_NM, read_header
from pom.measure.confusion import Confusion
from pom.measure.surface import surface_distances
from pom.progress import track
from pom.project.names import UNKNOWN
from pom.project.paths import Project
from pom.sampling.sections import annotated_sections
from pom.words import counted, listed
from pom.workflow.annotations import annotation_of, newer_annotation
from pom.workflow.evaluation import Evaluation, Judged, as_json
from pom.workflow.evaluation_picture import draw_evaluation
from pom.workflow.segmentation import Segmentation
from pom.workflow.segmented import Segmented
from pom.workflow.survey import survey_outputs
from pom.workflow.truth import Grid, TruthFiles, find_truths, read_truth

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Assignment:
    """Which tomograms are to be judged, how, and by what; ``judge`` gives None where there is nothing to judge by."""

    names: Sequence[str]
    judge: Callable[[str], Judged | None]
    card: ModelCard | None
    truth: Path | None


def evaluate(project: Project, truth: Path | None) -> Evaluation:
    """Judges what 'pom shared process' wrote, and writes the figures as JSON and as a picture.

    Args:
        project: with segmentations.
        truth: a folder of label volumes or masks; without it annotation is the judge, of tomograms that the joint
            network did not learn from, or where there are none of all.

    Raises:
        PomError: there is nothing to judge, or nothing to judge by, or no tomogram could be judged.
    """
    project.listed_ontologies()
    assignment = _by_annotation(project) if truth is None else _by_truth(project, truth)
    left_out = _without_outputs(project, assignment.names)
    failed: dict[str, str] = {}
    tomograms: dict[str, Judged] = {}
    names = [name for name in assignment.names if name not in left_out]
    for name in track(names, "Evaluated tomograms", len(names)):
        try:
            judged = assignment.judge(name)
        except PomError as error:
            log.warning("%s cannot be judged: %s", name, error)
            failed[name] = str(error)
            continue
        if judged is None:
            left_out[name] = "none of its boxes is of an ontology of the configuration"
        else:
            tomograms[name] = judged
    if not tomograms:
        raise PomError(_why_nothing(left_out, failed))
    evaluation = Evaluation(
        classes=(*project.ontologies, UNKNOWN),
        truth=assignment.truth,
        network=assignment.card,
        tomograms=tomograms,
        learnt_from=[name for name in tomograms if assignment.card and name in assignment.card.training.tomograms],
        outdated=_outdated(project, list(tomograms), assignment.card),
        left_out=left_out,
        failed=failed,
        folder=project.evaluation,
    )
    _warn(evaluation)
    write_json(evaluation.report, as_json(evaluation))
    draw_evaluation(evaluation.picture, evaluation)
    return evaluation


def _by_truth(project: Project, folder: Path) -> _Assignment:
    truths = find_truths(folder, project.ontologies)
    card = read_card(project.joint_network)
    binning = card.preprocessing.binning if card else project.configuration.binning
    present = project.tomogram_names()
    names = [name for name in truths if name in present]
    strangers = sorted(set(truths) - set(present) - set(project.test_names()))
    if not names:
        raise PomError(
            f"The truth in {folder} is of {listed(list(truths))}, and no tomogram in {project.tomogram_dir} bears such"
            " a name: name the files after the tomograms."
        )
    if strangers:
        log.warning("%s: no tomogram is called %s.", folder, listed(strangers))
    return _Assignment(names, lambda name: _judge_volume(project, name, truths[name], binning), card, folder)


def _by_annotation(project: Project) -> _Assignment:
    card = require_card(project.joint_network, "pom shared train")
    annotated = project.annotated_names()
    if not annotated:
        raise PomError(
            f"No tomogram in {project.tomogram_dir} is annotated: annotate some that the networks do not learn from,"
            " or give --truth the folder of label volumes."
        )
    unseen = [name for name in annotated if name not in card.training.tomograms]
    if not unseen:
        log.warning(
            "The joint network learnt from every annotated tomogram, so that these figures flatter it: annotate one"
            " more tomogram, or give --truth."
        )
    binning = card.preprocessing.binning
    return _Assignment(unseen or annotated, lambda name: _judge_slices(project, name, binning), card, None)


def _judge_volume(project: Project, name: str, files: TruthFiles, binning: tuple[int, int, int]) -> Judged:
    """Counts every voxel of which the truth says something."""
    path = project.tomogram(name)
    with Segmented(project, name) as segmented:
        grid = Grid(segmented.shape, binning, read_header(path).shape if path.exists() else None)
        predicted = segmented.read_all()
    z, y, x = segmented.voxel_size
    voxel_size = (z / ANGSTROM_PER_NM, y / ANGSTROM_PER_NM, x / ANGSTROM_PER_NM)
    confusion = Confusion.empty(len(project.ontologies) + 1)
    surfaces = {}
    for truth in read_truth(files, project.ontologies, grid):
        confusion.count(truth.label, predicted, truth.there, truth.known)
        if truth.label < len(project.ontologies):
            distances = surface_distances(predicted == truth.label, truth.there, truth.known, voxel_size)
            if distances is not None:
                surfaces[project.ontologies[truth.label]] = distances
    return Judged(confusion, surfaces)


def _judge_slices(project: Project, name: str, binning: tuple[int, int, int]) -> Judged | None:
    """Counts the pixels in boxes; a surface that a slice cuts has no distance in three dimensions."""
    annotation = annotation_of(project, name)
    if annotation is None:
        return None
    full_shape = (annotation.n_slices, annotation.height, annotation.width)
    confusion = Confusion.empty(len(project.ontologies) + 1)
    n_sections = 0
    with Segmented(project, name) as segmented:
        if segmented.shape != tuple(-(-n // factor) for n, factor in zip(full_shape, binning, strict=True)):
            raise PomError(
                f"{newer_annotation(project, name)} annotates a tomogram of {full_shape} voxels (z, y, x), but its"
                f" segmentations have {segmented.shape}, which binning by {binning} does not give: segment it again"
                " (pom shared process --outdated)."
            )
        for label, ontology in enumerate(project.ontologies):
            features = [feature for feature in annotation.features if feature.title == ontology]
            for section in annotated_sections(features, full_shape, binning):
                z = section.z // binning[0]
                confusion.count(label, segmented.read(z, z + 1)[0], section.drawn, section.boxed)
                n_sections += 1
    return Judged(confusion, {}) if n_sections else None


def _without_outputs(project: Project, names: Sequence[str]) -> dict[str, str]:
    """The tomograms that are not segmented in full, with the reason; there must be others."""
    processed = survey_outputs(project, names).processed
    missing = [name for name in names if name not in processed]
    if len(missing) == len(names):
        raise PomError(
            f"{listed(missing)} {'is' if len(missing) == 1 else 'are'} not segmented in full in {project.output_dir}:"
            " run 'pom shared process' first."
        )
    if missing:
        log.warning("Not segmented in full, and left out: %s; 'pom shared process' does that.", listed(missing))
    return dict.fromkeys(missing, "not segmented in full")


def _outdated(project: Project, names: Sequence[str], card: ModelCard | None) -> list[str]:
    """The tomograms whose record names another network than the present one."""
    if card is None:
        return []
    ledger = Segmentation.joint(project).ledger
    records = {name: ledger.record(name) for name in names}
    return [name for name, record in records.items() if record and record.network != card.weights_sha256]


def _warn(evaluation: Evaluation) -> None:
    """Says what the figures must not be taken for."""
    if evaluation.learnt_from and (evaluation.truth or len(evaluation.learnt_from) < len(evaluation.tomograms)):
        log.warning("The joint network learnt from %s, which flatters it.", listed(evaluation.learnt_from))
    if evaluation.outdated:
        log.warning(
            "%s segmented by an older network, which these figures then tell of: 'pom shared process --outdated'.",
            counted(len(evaluation.outdated), "tomogram was", "tomograms were"),
        )


def _why_nothing(left_out: Mapping[str, str], failed: Mapping[str, str]) -> str:
    if failed:
        name, reason = next(iter(failed.items()))
        return f"No tomogram could be judged; {name}, for one: {reason}"
    return f"There is nothing to judge by in {listed(list(left_out))}: place boxes named after the ontologies."
