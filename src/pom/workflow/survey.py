"""What the files of a project tell: annotations, networks, outputs, missing inputs. Nothing is written."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pom.errors import PomError
from pom.io.checkpoints import ModelCard, read_card
from pom.io.mrc import is_placeholder
from pom.io.scns import read_scns
from pom.project.listing import list_files
from pom.project.names import DENSITY, EMPTY, UNKNOWN, nearest, segmentation_file
from pom.project.paths import Project
from pom.words import counted

LARGEST_PLACEHOLDER = 16 * 1024
"""Bytes; a file larger than this is an output and need not be opened to know it."""


@dataclass
class AnnotationSurvey:
    """What the annotation files hold, per feature title.

    ``tomograms``: in how many there are boxes of it; ``boxes``: how many; ``drawn``: in how many tomograms
    something of it is drawn. ``notes``: what is wrong with the files, a sentence each.
    """

    tomograms: Counter[str] = field(default_factory=Counter)
    boxes: Counter[str] = field(default_factory=Counter)
    drawn: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def survey_annotations(project: Project, names: Sequence[str]) -> AnnotationSurvey:
    """Counts boxes in the annotation files of the tomograms ``names``; a damaged file becomes a note."""
    survey = AnnotationSurvey()
    for name in names:
        try:
            annotation = read_scns(project.annotation(name))
        except PomError as error:
            survey.notes.append(str(error))
            continue
        boxes: Counter[str] = Counter()
        for feature in annotation.features:
            boxes[feature.title] += sum(len(centres) for centres in feature.boxes.values())
        survey.boxes.update(boxes)
        survey.tomograms.update(title for title, count in boxes.items() if count)
        survey.drawn.update({feature.title for feature in annotation.features if feature.slices})
    survey.notes += [*_orphans(project), *_titles(project, survey)]
    return survey


def _orphans(project: Project) -> list[str]:
    orphans = project.orphaned_annotations()
    if not orphans:
        return []
    first = project.annotation(orphans[0]).name
    which = counted(len(orphans), "annotation file does", "annotation files do")
    return [f"{which} not count for want of a tomogram of the same name, such as {first}."]


def _titles(project: Project, survey: AnnotationSurvey) -> list[str]:
    """Notes on boxes that no ontology claims, and on ontologies that are drawn but have no box."""
    notes = []
    for title in sorted(set(+survey.boxes) - set(project.ontologies)):
        closest = nearest(title, project.ontologies)
        hint = f"; the nearest is {closest!r}" if closest else ""
        boxes = counted(survey.boxes[title], "box is", "boxes are")
        notes.append(f"{boxes} titled {title!r}, which is no ontology{hint}.")
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
    files = list_files(project.output_dir)
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
        status = path.stat()
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
