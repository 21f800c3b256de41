"""What is in each tomogram: every segmentation measured once, and the table of all."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING

from pom.errors import PomError
from pom.io.feature_library import Preset
from pom.io.stamps import file_stamp
from pom.io.summary_files import (
    COMPONENTS,
    CONFIDENCE,
    FIGURES_PER_FEATURE,
    RESERVED,
    TOMOGRAM,
    UNLIKE,
    UNLIKE_FLAG,
    VOLUME,
    Figures,
    Measurement,
    Settings,
    TomogramSummary,
    read_tomogram_summary,
    unlike_flags,
    write_csv,
    write_parquet,
    write_workbook,
)
from pom.io.volume_files import stored_at
from pom.jobs.ledger import ENDING, Ledger, Record
from pom.jobs.side_by_side import side_by_side, usual_processes
from pom.measure.tomogram import Stored, Task, is_up_to_date, measure_tomogram
from pom.progress import track
from pom.project.names import SEPARATOR, did_you_mean
from pom.project.paths import SHARED_STEP, SUMMARY_STEP, Project
from pom.words import counted, listed
from pom.workflow.feature_library import load_library
from pom.workflow.feature_volumes import find_segmentations, is_output, known_features

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

READERS = 8
"""Threads that look at files; on a network disk one file after the other takes minutes for 5,000 tomograms."""


@dataclass(frozen=True)
class Feature:
    """What is measured: an ontology, Unknown or a macromolecule."""

    title: str
    is_macromolecule: bool
    settings: Settings


@dataclass(frozen=True)
class Summary:
    """What the table holds, and what this run did for it.

    ``measured``: segmentations measured now; ``unchanged``: known from before. ``placeholders``: files that only hold
    a place. ``failed``: by file name, why it was not measured.
    """

    project: Project
    table: "pd.DataFrame"
    measured: int
    unchanged: int
    placeholders: tuple[str, ...]
    failed: Mapping[str, str]


def summarize(
    project: Project,
    *,
    overwrite: bool = False,
    skip_macromolecules: bool = False,
    target: str | None = None,
    processes: int | None = None,
) -> Summary:
    """Measures what is new or changed among the segmentations, and writes the table of all.

    Args:
        project: whose.
        overwrite: whether all is measured again.
        skip_macromolecules: whether macromolecules are left as they were measured before.
        target: the only feature to measure; of the others that holds too.
        processes: how many measure; without it as many as there are cores, at most 8.

    Raises:
        PomError: there is nothing to summarise, no such feature, or a file cannot be written.
    """
    features = features_of(project)
    wanted = _wanted(features, target, skip_macromolecules)
    found, failed = _find(project, features)
    if not found and not failed:
        project.listed_ontologies()
        raise PomError(
            f"There is nothing to summarise: no segmentation of {listed(list(features))} is in {project.output_dir} or"
            f" {project.macromolecule_dir}; run 'pom shared process' first."
        )
    tasks, n_outdated = _plan(project, found, wanted, overwrite)
    n_wanted = sum(len(task.wanted) for task in tasks)
    unchanged = sum(feature in wanted for files in found.values() for feature in files) - n_wanted
    n_failed = len(failed)
    placeholders: list[str] = []
    done = side_by_side(measure_tomogram, tasks, processes or usual_processes())
    for task, result in track(done, "Summarised tomograms", len(tasks)):
        if isinstance(result, PomError):
            failed |= {f"{task.name}{SEPARATOR}{feature}": str(result) for feature in task.wanted}
            continue
        placeholders += [f"{task.name}{SEPARATOR}{feature}" for feature in result.placeholders]
        failed |= {f"{task.name}{SEPARATOR}{feature}": reason for feature, reason in result.failed.items()}
    _warn(sorted(placeholders), n_outdated)
    known = _known(project, found, {*placeholders, *failed})
    table, records = _table(project, list(features), known)
    if len(table):
        _write(project, table, records, list(features))
    measured = n_wanted - len(placeholders) - (len(failed) - n_failed)
    return Summary(project, table, measured, unchanged, tuple(sorted(placeholders)), dict(sorted(failed.items())))


def features_of(project: Project) -> dict[str, Feature]:
    """All that can be measured, in the order of the table's columns: ontologies, Unknown, macromolecules.

    Raises:
        PomError: the feature library is damaged, or a feature bears the name of another column.
    """
    library = load_library(project)
    configuration = project.configuration
    titles = known_features(project)
    both = [title for title in titles if is_output(project, title) and title in configuration.macromolecules]
    if both:
        log.warning("%s: both ontology and macromolecule; the ontology is summarised.", listed(both))
    columns = {*RESERVED, *(title + ending for title in titles for ending in FIGURES_PER_FEATURE)}
    features = {}
    for title in titles:
        if title in columns:
            raise PomError(f"No feature may be called {title!r}, which is another column of the summary: rename it.")
        of_network = is_output(project, title)
        preset = library.get(title) or Preset(title=title, colour=(0.0, 0.0, 0.0))
        settings = Settings(
            level=preset.level,
            dust=preset.dust,
            margin=configuration.z_margin_summary,
            voxel_size=project.voxel_size(is_output=of_network),
        )
        features[title] = Feature(title, not of_network, settings)
    return features


def _wanted(features: Mapping[str, Feature], target: str | None, skip_macromolecules: bool) -> set[str]:
    """The features to measure."""
    if target is None:
        return {title for title, feature in features.items() if not (skip_macromolecules and feature.is_macromolecule)}
    if target not in features:
        hint = did_you_mean(target, features)
        raise PomError(f"There is no feature {target!r}{hint}: the project has {', '.join(features)}.")
    if skip_macromolecules and features[target].is_macromolecule:
        raise PomError(
            f"{target} is a macromolecule, which -skip leaves out: give -feature {target} or -skip, not both."
        )
    return {target}


def _find(project: Project, features: Mapping[str, Feature]) -> tuple[dict[str, dict[str, Stored]], dict[str, str]]:
    """As ``find_segmentations``, and how each is to be measured."""
    found, failed = find_segmentations(project, features)

    def stored(title: str, path: Path) -> Stored:
        return Stored(path, features[title].settings, features[title].is_macromolecule)

    return {name: {title: stored(title, path) for title, path in of.items()} for name, of in found.items()}, failed


def _plan(
    project: Project, found: Mapping[str, Mapping[str, Stored]], wanted: set[str], overwrite: bool
) -> tuple[list[Task], int]:
    """What is to be measured, and how many figures stay although their file has changed."""

    def look(name: str, entry: TomogramSummary | None) -> tuple[dict[str, Stored], int]:
        before = {} if entry is None else entry.features
        changed = {
            title: stored
            for title, stored in found[name].items()
            if not is_up_to_date(before.get(title), stored, file_stamp(stored_at(stored.path)))
        }
        again = {title: it for title, it in found[name].items() if title in wanted and (overwrite or title in changed)}
        return again, sum(title in before and title not in again for title in changed)

    with ThreadPoolExecutor(READERS, "summary") as readers:
        looks = list(readers.map(look, found, _entries(project, found)))
    records = project.records(SUMMARY_STEP)
    tasks = [
        Task(name, records / f"{name}{ENDING}", again) for name, (again, _) in zip(found, looks, strict=True) if again
    ]
    return tasks, sum(outdated for _, outdated in looks)


def _known(
    project: Project, found: Mapping[str, Mapping[str, Stored]], failed: Collection[str]
) -> dict[str, dict[str, Measurement]]:
    """What is known by now of the segmentations that are there, also what another run has measured meanwhile.

    ``failed``: what is not known any more, as NAME__Feature.
    """
    return {
        name: {
            title: measurement
            for title, measurement in ({} if entry is None else entry.features).items()
            if title in found[name] and f"{name}{SEPARATOR}{title}" not in failed
        }
        for name, entry in zip(found, _entries(project, found), strict=True)
    }


def _entries(project: Project, names: Iterable[str]) -> list[TomogramSummary | None]:
    """What was measured of each tomogram, as it is on disk now."""
    records = project.records(SUMMARY_STEP)
    with ThreadPoolExecutor(READERS, "summary") as readers:
        return list(readers.map(lambda name: read_tomogram_summary(records / f"{name}{ENDING}"), names))


def _warn(placeholders: Sequence[str], n_outdated: int) -> None:
    if placeholders:
        log.warning(
            "%s what the published Pom puts in an output's place, and taken as not there: %s.",
            counted(len(placeholders), "file is", "files are"),
            listed(placeholders),
        )
    if n_outdated:
        log.warning(
            "%s older than the segmentation, which was not asked for; plain 'pom summarize' measures it.",
            counted(n_outdated, "figure is", "figures are"),
        )


def _table(
    project: Project,
    features: Sequence[str],
    known: Mapping[str, Mapping[str, Measurement]],
) -> tuple["pd.DataFrame", Mapping[str, Record]]:
    """The wide table, a row per tomogram of which anything is known, and where the outputs come from."""
    import numpy as np
    import pandas as pd

    names = [name for name in known if known[name]]
    ledger = Ledger(project.jobs(SHARED_STEP), project.records(SHARED_STEP))
    records = {record.tomogram: record for record in ledger.records()}
    titles = [title for title in features if any(title in known[name] for name in names)]
    columns: dict[str, list[float | None]] = {}
    for title in titles:
        measured = [known[name].get(title) for name in names]
        figures: list[Figures | None] = [None if one is None else one.figures for one in measured]
        columns[title] = [None if one is None else one.percent for one in figures]
        columns[title + VOLUME] = [None if one is None else one.volume for one in figures]
        columns[title + COMPONENTS] = [None if one is None else one.components for one in figures]
        columns[title + CONFIDENCE] = [None if one is None else one.confidence for one in figures]
    columns[UNLIKE] = [records[name].unlike if name in records else None for name in names]
    index = pd.Index(np.array(names, dtype=object), name=TOMOGRAM)
    table = pd.DataFrame({title: np.array(values, np.float64) for title, values in columns.items()}, index=index)
    return table.assign(**{UNLIKE_FLAG: unlike_flags(table[UNLIKE])}), records


def _write(project: Project, table: "pd.DataFrame", records: Mapping[str, Record], features: Sequence[str]) -> None:
    """Writes the table in its three forms; the workbook has a sheet per kind of figure."""
    import pandas as pd

    there = [feature for feature in features if feature in table]
    sheets = {"Summary": table[there]}
    for title, ending in (("Volume um3", VOLUME), ("Components", COMPONENTS), ("Confidence", CONFIDENCE)):
        sheets[title] = table[[feature + ending for feature in there]].set_axis(there, axis=1)
    found = [records.get(name) for name in table.index]
    missing = [list(compress(there, row)) for row in table[there].isna().to_numpy()]
    origin = {
        "Segmented": [None if record is None else _date(record.finished) for record in found],
        "Network": [None if record is None else record.network[:12] for record in found],
        "Host": [None if record is None else record.host for record in found],
        "Version": [None if record is None else record.version for record in found],
        "Without": [listed(titles) or None for titles in missing],
    }
    sheets["Tomograms"] = pd.concat([table[[UNLIKE, UNLIKE_FLAG]], pd.DataFrame(origin, index=table.index)], axis=1)
    write_csv(project.summary_csv, table)
    write_parquet(project.summary_parquet, table)
    # Last, since it takes long, and most can go wrong with it.
    write_workbook(project.summary, sheets)


def _date(seconds: float) -> str:
    """Seconds since 1970 as date and time, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
