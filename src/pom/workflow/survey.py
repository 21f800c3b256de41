"""What the files of a project tell: annotations, networks, outputs, missing inputs. Nothing is written."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pom.errors import PomError
from pom.io.checkpoints import ModelCard, read_card
from pom.io.mrc import is_placeholder
from pom.io.pretrained import MAKE_AGAIN, PretrainedCard, misfit, read_pretrained_card
from pom.io.volume_files import volume_status
from pom.project.listing import list_files
from pom.project.names import DENSITY, EMPTY, UNKNOWN, did_you_mean, segmentation_file
from pom.project.paths import Project
from pom.words import counted
from pom.workflow.annotations import annotated, in_both_forms
from pom.workflow.segmented import list_outputs
from pom.workflow.single_initialize import preprocessing_of

LARGEST_PLACEHOLDER = 16 * 1024
"""Bytes; a file larger than this is an output and need not be opened to know it."""


@dataclass
class AnnotationSurvey:
    """What the annotations hold, per feature title.

    ``tomograms``: in how many there are boxes of it; ``boxes``: how many; ``drawn``: in how many tomograms
    something of it is drawn. ``notes``: what one should know of them, a sentence each.
    """

    tomograms: Counter[str] = field(default_factory=Counter)
    boxes: Counter[str] = field(default_factory=Counter)
    drawn: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def survey_annotations(project: Project, names: Sequence[str]) -> AnnotationSurvey:
    """Counts boxes in the annotations of the tomograms ``names``, in the newer form; a damaged one becomes a note."""
    survey = AnnotationSurvey()
    found = annotated(project)
    for summary in (found[name] for name in names if name in found):
        if summary.fault:
            survey.notes.append(summary.fault)
        survey.boxes.update(summary.boxes)
        survey.tomograms.update(title for title, count in summary.boxes.items() if count)
        survey.drawn.update(title for title, count in summary.drawn.items() if count)
    survey.notes += [*_both(project, names), *_orphans(project), *_titles(project, survey)]
    return survey


def _both(project: Project, names: Sequence[str]) -> list[str]:
    both = [name for name in names if in_both_forms(project, name)]
    if not both:
        return []
    which = counted(len(both), "tomogram is", "tomograms are")
    return [f"{which} annotated in Ais and in Pom's own form, of which the newer counts, such as {both[0]}."]


def _orphans(project: Project) -> list[str]:
    orphans = project.orphaned_annotations()
    if not orphans:
        return []
    scns = project.annotation(orphans[0])
    first = (scns if scns.exists() else project.native_annotation(orphans[0])).name
    which = counted(len(orphans), "annotation does", "annotations do")
    return [f"{which} not count for want of a tomogram of the same name, such as {first}."]


def _titles(project: Project, survey: AnnotationSurvey) -> list[str]:
    """Notes on boxes that no ontology claims, and on ontologies that are drawn but have no box."""
    notes = []
    for title in sorted(set(+survey.boxes) - set(project.ontologies)):
        hint = did_you_mean(title, project.ontologies)
        boxes = counted(survey.boxes[title], "box is", "boxes are")
        notes.append(f"{boxes} titled {title!r}{hint}, which is no ontology.")
    for ontology in project.ontologies:
        if survey.drawn[ontology] and not survey.boxes[ontology]:
            where = counted(survey.drawn[ontology], "tomogram")
            notes.append(f"{ontology} is drawn in {where} but has no boxes, and only boxes are sampled.")
    return notes


def survey_card(folder: Path, notes: list[str]) -> ModelCard | None:
    """The card of the network in a folder, or None where there is none or a damaged one, which becomes a note."""
    if not folder.is_dir():
        return None
    try:
        return read_card(folder)
    except PomError as error:
        notes.append(str(error))
        return None


def survey_pretrained(project: Project, notes: list[str]) -> PretrainedCard | None:
    """The card of the pretrained weights that trainings begin with; a damaged or unfit one becomes a note."""
    folder = project.pretrained_network
    if not folder.is_dir():
        return None
    try:
        card = read_pretrained_card(folder)
    except PomError as error:
        notes.append(str(error))
        return None
    if card is None:
        return None
    unfit = misfit(card, preprocessing_of(project), card.widths)
    if unfit is not None:
        notes.append(f"The pretrained network is not used, since {unfit}: {MAKE_AGAIN}.")
        return None
    return card


@dataclass
class OutputSurvey:
    """What is segmented.

    ``counts``: in how many tomograms each ontology is. ``processed``: the tomograms with all outputs of the joint
    network, and when the older of two of them was written, in seconds since 1970.
    """

    counts: Counter[str] = field(default_factory=Counter)
    processed: dict[str, float] = field(default_factory=dict)


def survey_outputs(project: Project, names: Sequence[str]) -> OutputSurvey:
    """Finds the segmentations of the tomograms ``names``."""
    files = list_outputs(project.output_dir)
    wanted = (*project.ontologies, UNKNOWN)
    survey = OutputSurvey()
    for name in names:
        present = [ontology for ontology in wanted if segmentation_file(name, ontology) in files]
        # Asking each of 5,000 x 20 files for its size takes minutes on a network disk. Two of a tomogram's files
        # tell whether a run broke off there, and only then the others are looked at.
        times = [_written(project.output(name, probe)) for probe in present[:1] + present[1:][-1:]]
        if None in times:
            present = [ontology for ontology in present if _written(project.output(name, ontology)) is not None]
        survey.counts.update(present)
        if len(present) == len(wanted):
            survey.processed[name] = min(time for time in times if time is not None)
    return survey


def _written(path: Path) -> float | None:
    """When an output was written, in seconds since 1970; None where it is but a placeholder."""
    try:
        status = volume_status(path)
        placeholder = status.st_size <= LARGEST_PLACEHOLDER and is_placeholder(path)
    except OSError:
        return math.inf  # a link to a file that is gone: whoever reads it says so
    return None if placeholder else status.st_mtime


def survey_macromolecules(project: Project, names: Sequence[str]) -> tuple[dict[str, int], set[str]]:
    """Per channel how many tomograms lack its volume, and which tomograms lack any."""
    channels = [channel for channel in project.configuration.macromolecules if channel not in (DENSITY, EMPTY)]
    files = list_files(project.macromolecule_dir) if channels else frozenset()
    without = {channel: {n for n in names if segmentation_file(n, channel) not in files} for channel in channels}
    return {channel: len(lacking) for channel, lacking in without.items() if lacking}, set().union(*without.values())
