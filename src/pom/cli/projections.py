"""Flat pictures of all tomograms."""

from typing import TYPE_CHECKING

from pom.cli.console import open_project
from pom.cli.options import OverwritePictures, Processes, Switch
from pom.words import counted

if TYPE_CHECKING:
    from pom.workflow.pictures import PictureReport


def projections(processes: Processes = 1, overwrite: OverwritePictures = Switch.OFF) -> None:
    """Draw flat pictures of all tomograms.

    Of each, the central slab of the density, and the ontologies and Unknown as seen along z and from the side, along
    y. They go to the folders 'density' and 'ONTOLOGY_projection' in image_dir. If a tomogram fails, the others are
    done; it is listed, and the exit status is 1.
    """
    project = open_project()
    from pom.workflow.projections import draw_projections

    report_pictures(draw_projections(project, processes, bool(overwrite)))


def report_pictures(report: "PictureReport") -> None:
    """Shows what became of the pictures.

    Raises:
        typer.Exit: with status 1, if a tomogram failed.
    """
    from pom.cli.reports import report_failed, show

    kept = f", {report.kept} there already" if report.kept else ""
    failed = f", {len(report.failed)} failed" if report.failed else ""
    drawn = counted(report.drawn, "picture was drawn", "pictures were drawn")
    show(f"{drawn}{kept}, of {counted(report.tomograms, 'tomogram')}{failed}.")
    report_failed("Failed", report.failed)
