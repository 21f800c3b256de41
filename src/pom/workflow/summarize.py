"""What is in each tomogram: every segmentation measured once, and the table of all."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import compress
from typing import TYPE_CHECKING

from pom.errors import PomError
from pom.io.feature_library import Preset
from pom.io.summary_files import (
    COMPONENTS,
    CONFIDENCE,
    RESERVED,
    TOMOGRAM,
    UNLIKE,
    UNLIKE_FLAG,
    VOLUME,
    Figures,
    Measurement,
    Settings,
    read_tomogram_summary,
    write_csv,
    write_parquet,
    write_workbook,
)
from pom.io.volume_files import outputs_in_stores
from pom.jobs.ledger import ENDING, Ledger, Record
from pom.jobs.side_by_side import side_by_side, usual_processes
from pom.measure.tomogram import Stored, Task, is_up_to_date, measure_tomogram, stamp_of
from pom.progress import track
from pom.project.listing import list_files
from pom.project.names import DENSITY, SEPARATOR, UNKNOWN, nearest, without_empty
from pom.project.paths import SHARED_STEP, Project
from pom.words import counted, listed
from pom.workflow.feature_library import load_library

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

STEP = "summary"
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
    found = _find(project, features)
    if not found:
        raise PomError(
            f"There is nothing to summarise: no segmentation of {listed(list(features))} is in {project.output_dir} or"
            f" {project.macromolecule_dir}; run 'pom shared process' first."
        )
    known, tasks, n_outdated = _plan(project, found, wanted, overwrite)
    n_wanted = sum(len(task.wanted) for task in tasks)
    unchanged = sum(feature in wanted for files in found.values() for feature in files) - n_wanted
    placeholders: list[str] = []
    failed: dict[str, str] = {}
    done = side_by_side(measure_tomogram, tasks, processes or usual_processes())
    for task, result in track(done, "Summarised tomograms", len(tasks)):
        if isinstance(result, PomError):
            failed |= {f"{task.name}{SEPARATOR}{feature}": str(result) for feature in task.wanted}
            continue
        known[task.name] = dict(result.summary.features)
        placeholders += [f"{task.name}{SEPARATOR}{feature}" for feature in result.placeholders]
        failed |= {f"{task.name}{SEPARATOR}{feature}": reason for feature, reason in result.failed.items()}
    _warn(sorted(placeholders), n_outdated)
    table, records = _table(project, list(features), found, known)
    if len(table):
        _write(project, table, records, list(features))
    measured = n_wanted - len(placeholders) - len(failed)
    return Summary(project, table, measured, unchanged, tuple(sorted(placeholders)), dict(sorted(failed.items())))


def features_of(project: Project) -> dict[str, Feature]:
    """All that can be measured, in the order of the table's columns: ontologies, Unknown, macromolecules.

    Raises:
        PomError: the feature library is damaged, or a feature bears the name of another column.
    """
    library = load_library(project)
    configuration = project.configuration
    macromolecules = [title for title in without_empty(configuration.macromolecules) if title != DENSITY]
    ontologies = list(dict.fromkeys((*project.ontologies, UNKNOWN)))
    both = [title for title in macromolecules if title in ontologies]
    if both:
        log.warning("%s: both ontology and macromolecule; the ontology is summarised.", listed(both))
    features = {}
    for title in dict.fromkeys((*ontologies, *macromolecules)):
        if title in RESERVED:
            raise PomError(f"No feature may be called {title!r}, which is another column of the summary: rename it.")
        is_macromolecule = title not in ontologies
        preset = library.get(title) or Preset(title=title, colour=(0.0, 0.0, 0.0))
        z, y, x = (1, 1, 1) if is_macromolecule else configuration.binning
        settings = Settings(
            level=preset.level,
            dust=preset.dust,
            margin=configuration.z_margin_summary,
            voxel_size=(configuration.apix * z, configuration.apix * y, configuration.apix * x),
        )
        features[title] = Feature(title, is_macromolecule, settings)
    return features


def _wanted(features: Mapping[str, Feature], target: str | None, skip_macromolecules: bool) -> set[str]:
    """The features to measure."""
    if target is None:
        return {title for title, feature in features.items() if not (skip_macromolecules and feature.is_macromolecule)}
    if target not in features:
        closest = nearest(target, features)
        hint = f" (did you mean {closest!r}?)" if closest else ""
        raise PomError(f"There is no feature {target!r}{hint}: the project has {', '.join(features)}.")
    return {target}


def _find(project: Project, features: Mapping[str, Feature]) -> dict[str, dict[str, Stored]]:
    """The segmentations that are there, by tomogram and feature, both in order; none of test tomograms."""
    output_dir, macromolecule_dir = project.output_dir, project.macromolecule_dir
    files = {
        False: (output_dir, list_files(output_dir) | outputs_in_stores(output_dir)),
        True: (macromolecule_dir, list_files(macromolecule_dir)),
    }
    elsewhere = set(project.test_names()) - set(project.tomogram_names())
    found: dict[str, dict[str, Stored]] = {}
    for title, feature in features.items():
        folder, names = files[feature.is_macromolecule]
        ending = f"{SEPARATOR}{title}.mrc"
        for file in names:
            name = file.removesuffix(ending)
            if name != file and name and SEPARATOR not in name and name not in elsewhere:
                found.setdefault(name, {})[title] = Stored(folder / file, feature.settings, feature.is_macromolecule)
    return dict(sorted(found.items()))


def _plan(
    project: Project, found: Mapping[str, Mapping[str, Stored]], wanted: set[str], overwrite: bool
) -> tuple[dict[str, dict[str, Measurement]], list[Task], int]:
    """What is known, what is to be measured, and how many figures stay although their file has changed."""
    records = project.records(STEP)

    def look(name: str) -> tuple[dict[str, Measurement], dict[str, Stored], int]:
        entry = read_tomogram_summary(records / f"{name}{ENDING}")
        files = found[name]
        before = {} if entry is None else {title: entry.features[title] for title in files if title in entry.features}
        changed = {
            title
            for title, stored in files.items()
            if not is_up_to_date(before.get(title), stored, stamp_of(stored.path))
        }
        again = {
            title: stored for title, stored in files.items() if title in wanted and (overwrite or title in changed)
        }
        kept = {title: measurement for title, measurement in before.items() if title not in again}
        return kept, again, len(changed & set(kept))

    with ThreadPoolExecutor(READERS, "summary") as readers:
        looks = list(readers.map(look, found))
    known = {name: kept for name, (kept, _, _) in zip(found, looks, strict=True)}
    tasks = [
        Task(name, records / f"{name}{ENDING}", kept, again)
        for name, (kept, again, _) in zip(found, looks, strict=True)
        if again
    ]
    return known, tasks, sum(outdated for _, _, outdated in looks)


def _warn(placeholders: Sequence[str], n_outdated: int) -> None:
    if placeholders:
        log.warning(
            "%s what the published Pom puts in an output's place, and count as not there: %s.",
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
    found: Mapping[str, Mapping[str, Stored]],
    known: Mapping[str, Mapping[str, Measurement]],
) -> tuple["pd.DataFrame", Mapping[str, Record]]:
    """The wide table, a row per tomogram of which anything is known, and where the outputs come from."""
    import numpy as np
    import pandas as pd

    names = [name for name in found if known[name]]
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
    return table.assign(**{UNLIKE_FLAG: table[UNLIKE] > 1}), records


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
    write_workbook(project.summary, sheets)
    write_csv(project.summary_csv, table)
    # Last, since it is what the pages look at.
    write_parquet(project.summary_parquet, table)


def _date(seconds: float) -> str:
    """Seconds since 1970 as date and time, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
