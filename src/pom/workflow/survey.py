"""What the files of a project tell: annotations, networks, outputs, missing inputs. Nothing is written."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pom.errors import PomError
from pom.io.mrc import is_placeholder
from pom.io.scns import read_scns
from pom.project.listing import list_files
from pom.project.names import DENSITY, EMPTY, UNKNOWN, nearest, segmentation_file
from pom.project.paths import Project

if TYPE_CHECKING:
    from pom.io.checkpoints import ModelCard

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
    return [f"{len(orphans)} annotation file(s) have no tomogram beside them and do not count, such as {first}."]


def _titles(project: Project, survey: AnnotationSurvey) -> list[str]:
    """Notes on boxes that no ontology claims, and on ontologies that are drawn but have no box."""
    notes = []
    for title in sorted(set(+survey.boxes) - set(project.ontologies)):
        closest = nearest(title, project.ontologies)
        hint = f"; the nearest is {closest!r}" if closest else ""
        notes.append(f"{survey.boxes[title]} box(es) are titled {title!r}, which is no ontology{hint}.")
    for ontology in project.ontologies:
        if survey.drawn[ontology] and not survey.boxes[ontology]:
            where = f"{survey.drawn[ontology]} tomogram(s)"
            notes.append(f"{ontology} is drawn in {where} but has no boxes, and only boxes are sampled.")
    return notes


def survey_card(folder: Path, notes: list[str]) -> "ModelCard | None":
    """The card of the network in a folder, or None where there is none or a damaged one, which becomes a note."""
    if not folder.is_dir():
        return None
    # Imported here: with the networks comes torch, and a project without any need not wait for it.
    from pom.io.checkpoints import read_card

    try:
        return read_card(folder)
    except PomError as error:
        notes.append(str(error))
        return None


def survey_outputs(project: Project, names: Sequence[str]) -> tuple[Counter[str], set[str]]:
    """In how many tomograms each ontology is segmented, and which have all outputs of the joint network."""
    files = list_files(project.output_dir)
    wanted = (*project.ontologies, UNKNOWN)
    counts: Counter[str] = Counter()
    processed: set[str] = set()
    for name in names:
        present = [ontology for ontology in wanted if segmentation_file(name, ontology) in files]
        # Asking each of 5,000 x 20 files for its size takes minutes on a network disk. Two of a tomogram's files
        # tell whether a run broke off there, and only then the others are looked at.
        if present and any(_is_placeholder(project.output(name, probe)) for probe in {present[0], present[-1]}):
            present = [ontology for ontology in present if not _is_placeholder(project.output(name, ontology))]
        counts.update(present)
        if len(present) == len(wanted):
            processed.add(name)
    return counts, processed


def _is_placeholder(path: Path) -> bool:
    try:
        return path.stat().st_size <= LARGEST_PLACEHOLDER and is_placeholder(path)
    except OSError:
        return False


def survey_macromolecules(project: Project, names: Sequence[str]) -> tuple[dict[str, int], set[str]]:
    """Per channel how many tomograms lack its volume, and which tomograms lack any."""
    channels = [channel for channel in project.configuration.macromolecules if channel not in (DENSITY, EMPTY)]
    files = list_files(project.macromolecule_dir) if channels else frozenset()
    without = {channel: {n for n in names if segmentation_file(n, channel) not in files} for channel in channels}
    return {channel: len(lacking) for channel, lacking in without.items() if lacking}, set().union(*without.values())


def is_stale(project: Project, annotated_names: Sequence[str]) -> bool:
    """Whether an annotation file was saved after the oldest training patches were sampled."""
    sampled = _times(project.single_dataset(ontology) for ontology in project.ontologies)
    saved = _times(project.annotation(name) for name in annotated_names)
    return bool(sampled and saved) and max(saved) > min(sampled)


def _times(paths: Iterable[Path]) -> list[float]:
    return [path.stat().st_mtime for path in paths if path.exists()]
