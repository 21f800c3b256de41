"""The entry point: a table of commands. Nothing heavy is imported before a command runs."""

from pathlib import Path
from typing import Annotated

import typer

from pom import __version__
from pom.cli import annotations, shared, single
from pom.cli.annotate import annotate
from pom.cli.browse import browse
from pom.cli.console import PomGroup, StepCommand
from pom.cli.demo import demo
from pom.cli.evaluate import evaluate
from pom.cli.export import export
from pom.cli.pretrain import pretrain
from pom.cli.projections import projections
from pom.cli.render import render
from pom.cli.status import retry, status
from pom.cli.summarize import summarize

app = typer.Typer(
    cls=PomGroup,
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(annotate)
app.add_typer(annotations.app, name="annotations")
app.command(cls=StepCommand)(pretrain)
app.add_typer(single.app, name="single")
app.add_typer(shared.app, name="shared")
app.command(cls=StepCommand)(evaluate)
app.command(cls=StepCommand)(export)
app.command(cls=StepCommand)(summarize)
app.command(cls=StepCommand)(projections)
app.command(cls=StepCommand)(render)
app.command()(browse)
app.command(cls=StepCommand)(status)
app.command(cls=StepCommand)(retry)
app.command(cls=StepCommand)(demo)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pom {__version__}")
        raise typer.Exit


HELP = """Name every voxel of cryo-ET datasets, from a few annotated slices.

'pom' alone makes a new project in the working folder, or shows where the project there stands and the command
that comes next. The steps, each restartable, are:

\b
pom annotate              draw and place boxes, in the browser
pom single initialize     annotated boxes become training patches
pom shared train --direct one network for all ontologies
pom shared process        all tomograms are segmented
pom evaluate              how good the segmentations are
pom summarize             what is in each tomogram, as a table
pom projections           flat pictures of all tomograms
pom render                three-dimensional pictures of all tomograms
pom browse                table, gallery, 3-D and subsets, in the browser
pom export --ome-zarr     tomograms and segmentations for other programs

The published way has four steps in place of 'pom shared train --direct': 'pom single train --all', a network per
ontology; 'pom single test -o NAME', a look at one on a few tomograms; 'pom shared initialize', in which they label
every patch; and 'pom shared train'.

'pom pretrain', before the trainings, is optional: it gives them a start from the tomograms alone. 'pom status' shows
how far 'pom shared process' is, whoever runs it, and 'pom retry' lets what failed be tried again.
"""


@app.callback(help=HELP)
def start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", envvar="POM_DEBUG", help="Show the traceback of an error too; may stand anywhere on the line."
        ),
    ] = False,
) -> None:
    """What holds for all commands; without one, shows the project or makes it."""
    if context.invoked_subcommand is None:
        from pom.cli.overview import show_or_create

        show_or_create(Path())


def main() -> None:
    """Runs the command line and exits."""
    app(prog_name="pom")
