"""The commands that turn annotations from one form into the other."""

from typing import TYPE_CHECKING, Annotated

import typer

from pom.cli.console import StepCommand, open_project
from pom.words import counted

if TYPE_CHECKING:
    from pom.workflow.annotations import Conversion

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Annotations to Ais and back.

    'pom annotate' keeps a tomogram's annotation in the folder NAME.annotation beside it, Ais in the file NAME.scns.
    Every command reads both, and of two the one that was changed last. What export or import would overwrite is kept
    beside it under another name, NAME.scns.kept-DATE or NAME.annotation.kept-DATE.
    """,
)

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAMES]...", show_default=False, help="Tomograms, without .mrc; without any, all."),
]


@app.command(name="export", cls=StepCommand)
def export_annotations(
    names: Names = None,
    scns: Annotated[
        bool,
        typer.Option(
            "-scns", "--scns", help="As files of Ais, NAME.scns; the only form so far, so it may be left out."
        ),
    ] = True,
) -> None:
    """Write the annotations of 'pom annotate' as files of Ais.

    Boxes and drawn pixels are the same in both. The files are then as old as what they were made from, so that no
    other step takes them for a change. If an annotation cannot be exported, the others are; it is listed, and the exit
    status is 1.
    """
    project = open_project()
    from pom.workflow.annotations import export_scns

    _report("exported", export_scns(project, names or []))


@app.command(name="import", cls=StepCommand)
def import_annotations(names: Names = None) -> None:
    """Take the annotations of Ais (NAME.scns) over, so that 'pom annotate' goes on from them.

    'pom annotate' does so by itself when it opens a tomogram whose NAME.scns is newer than its own annotation. The
    files of Ais stay as they are. If one cannot be imported, for instance because somebody just edits that tomogram
    in the browser, the others are; it is listed, and the exit status is 1.
    """
    project = open_project()
    from pom.workflow.annotations import import_scns

    _report("imported", import_scns(project, names or []))


def _report(what: str, conversion: "Conversion") -> None:
    """Shows what was written and kept.

    Raises:
        typer.Exit: with status 1, if an annotation could not be converted.
    """
    from pom.cli.reports import report_failed, show

    unchanged = f", {len(conversion.unchanged)} the same already" if conversion.unchanged else ""
    failed = f", {len(conversion.failed)} failed" if conversion.failed else ""
    show(f"{counted(len(conversion.done), 'annotation')} {what}{unchanged}{failed}.")
    for path in conversion.kept:
        show(f"Kept what was there: {path}")
    report_failed("Failed", conversion.failed)
