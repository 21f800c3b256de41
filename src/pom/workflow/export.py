"""Tomograms and their segmentations as OME-Zarr, for viewers and other programs."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pom.errors import PomError
from pom.io.atomic import atomic_folder
from pom.io.ome_zarr import check_own, made_from
from pom.io.stamps import file_stamp
from pom.io.volume_files import stored_at
from pom.jobs.side_by_side import side_by_side
from pom.progress import track
from pom.project.names import DENSITY, UNKNOWN, did_you_mean
from pom.project.paths import Project
from pom.words import counted, listed
from pom.workflow.feature_volumes import feature_file
from pom.workflow.ome_zarr import Form, colours, write_store
from pom.workflow.survey import survey_outputs

log = logging.getLogger(__name__)

FORM = 1
"""Of the exports; a change makes all of them anew."""


@dataclass
class ExportReport:
    """What became of the tomograms.

    ``skipped``: an export of the same is there. ``outputs``: 'pom shared process' wrote them as OME-Zarr itself, to
    the same place. ``failed``: name to reason.
    """

    folder: Path
    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def export(
    project: Project,
    names: Sequence[str] = (),
    *,
    folder: Path | None = None,
    probabilities: bool = False,
    overwrite: bool = False,
    processes: int = 1,
) -> ExportReport:
    """Writes one OME-Zarr for each tomogram, ``NAME.ome.zarr``; one that is there is left if it is still the same.

    One that another program wrote is never replaced: the tomogram fails.

    Args:
        project: with segmentations.
        names: of the tomograms; all that are segmented without any.
        folder: where to; the output folder without one.
        probabilities: whether the outputs are in it, beside the classes that follow from them.
        overwrite: whether those that are there are made again.
        processes: so many at a time.

    Raises:
        PomError: a name is no tomogram's, nothing is segmented, or the disk is full.
    """
    project.listed_ontologies()
    folder = folder or project.output_dir
    report = ExportReport(folder)
    chosen = _chosen(project, names)
    work = partial(_export, project, folder, Form(probabilities), overwrite)
    for name, came in track(side_by_side(work, chosen, processes), "Exported tomograms", len(chosen)):
        if isinstance(came, PomError):
            log.warning("%s cannot be exported: %s", name, came)
            report.failed[name] = str(came)
        else:
            {"done": report.done, "skipped": report.skipped, "outputs": report.outputs}[came].append(name)
    return report


def _export(
    project: Project, folder: Path, form: Form, overwrite: bool, name: str
) -> Literal["done", "skipped", "outputs"]:
    """Writes the store of one tomogram where it has to be; says which list of the report that is for."""
    store = folder / project.ome_zarr(name).name
    outputs = {title: project.output(name, title) for title in (*project.ontologies, UNKNOWN)}
    if any(stored_at(path).is_relative_to(store) for path in outputs.values()):
        return "outputs"
    missing = [title for title in outputs if feature_file(project, name, title) is None]
    if missing:
        raise PomError(f"{name} is not segmented in full (no {listed(missing)}): run 'pom shared process' first.")
    made = _made_from(project, name, outputs, form)
    if not overwrite and _is_same(store, made):
        return "skipped"
    check_own(store)
    with atomic_folder(store, instead_of=()) as temporary:
        write_store(project, name, temporary, form, made, outputs)
        check_own(store)
    return "done"


def _chosen(project: Project, names: Sequence[str]) -> list[str]:
    """The tomograms to export; of those that nobody named, the ones that are segmented in full."""
    there = project.tomogram_names()
    for name in names:
        if name not in there:
            hint = did_you_mean(name, there)
            raise PomError(f"There is no tomogram {name!r}{hint}: give names without .mrc, or none for all.")
    if names:
        return list(dict.fromkeys(names))
    processed = survey_outputs(project, there).processed
    missing = [name for name in there if name not in processed]
    if not processed:
        raise PomError(f"No tomogram is segmented in full in {project.output_dir}: run 'pom shared process' first.")
    if missing:
        are = counted(len(missing), "tomogram is", "tomograms are")
        log.warning("%s not segmented in full, and left out: %s.", are, listed(missing))
    return [name for name in there if name in processed]


def _made_from(project: Project, name: str, outputs: Mapping[str, Path], form: Form) -> dict[str, Any]:
    """All that makes the export another one, as JSON gives it back."""
    files = {DENSITY: project.tomogram(name), **{title: stored_at(path) for title, path in outputs.items()}}
    return {
        "files": {title: list(file_stamp(path)[:2]) for title, path in files.items()},
        "classes": list(outputs),
        "colours": {title: list(colour) for title, colour in colours(project, list(outputs)).items()},
        "probabilities": form.probabilities,
        # They count where a header has no voxel size.
        "apix": project.configuration.apix,
        "binning": list(project.configuration.binning),
        "form": FORM,
    }


def _is_same(store: Path, made: Mapping[str, Any]) -> bool:
    try:
        return bool(made_from(store) == made)
    except PomError:
        return False
