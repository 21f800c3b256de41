"""The segmentations in the form of other programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pom.cli.console import open_project
from pom.cli.options import Again, Processes, Switch
from pom.errors import PomError
from pom.words import counted, listed

if TYPE_CHECKING:
    from pom.workflow.export import ExportReport

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAMES]...", show_default=False, help="Tomograms, without .mrc; without any, all that are segmented."
    ),
]
OmeZarr = Annotated[
    bool,
    typer.Option("-ome-zarr", "--ome-zarr", help="As OME-Zarr 0.5, a folder NAME.ome.zarr for each tomogram."),
]
Folder = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "-output",
        "--output",
        metavar="FOLDER",
        file_okay=False,
        show_default=False,
        help="Where to; without it the project's output folder.",
    ),
]
Probabilities = Annotated[
    Switch,
    typer.Option(
        "-probabilities",
        "--probabilities",
        metavar="0|1",
        help="1: with every ontology's output, as 8-bit numbers; --probabilities alone means 1. 0: only the tomogram"
        " and, of every voxel, the ontology.",
    ),
]


def export(
    names: Names = None,
    ome_zarr: OmeZarr = False,
    output: Folder = None,
    probabilities: Probabilities = Switch.OFF,
    overwrite: Again = Switch.OFF,
    processes: Processes = 1,
) -> None:
    """Write tomograms with their segmentations as OME-Zarr, for napari, Neuroglancer and others.

    Needs 'pom shared process'. NAME.ome.zarr is a multiscale image of the tomogram with the label image 'segmentation',
    in the colours of the feature library. It may be interrupted: what is there and has not changed is left as it is. If
    a tomogram cannot be exported, the others are; it is listed, and the exit status is 1.
    """
    if not ome_zarr:
        raise PomError("Say in which form: pom export --ome-zarr.")
    project = open_project()
    from pom.workflow.export import export as write

    switches = {"probabilities": bool(probabilities), "overwrite": bool(overwrite)}
    _report(write(project, names or [], folder=output, processes=processes, **switches))


def _report(report: "ExportReport") -> None:
    """Shows what was written.

    Raises:
        typer.Exit: with status 1, if a tomogram could not be exported.
    """
    from pom.cli.reports import report_failed, show

    unchanged = f", {len(report.skipped)} the same already" if report.skipped else ""
    failed = f", {len(report.failed)} failed" if report.failed else ""
    show(f"{counted(len(report.done), 'tomogram')} written to {report.folder}{unchanged}{failed}.")
    if report.outputs:
        show(f"Segmented as OME-Zarr in the first place, and left as they are: {listed(report.outputs)}.")
    report_failed("Not exported", report.failed)
