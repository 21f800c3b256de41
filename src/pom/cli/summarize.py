"""What is in each tomogram, as a table."""

from typing import TYPE_CHECKING, Annotated

import typer

from pom.cli.console import open_project
from pom.cli.options import Again, Switch
from pom.words import counted

if TYPE_CHECKING:
    from pom.workflow.summarize import Summary

SkipMacromolecules = Annotated[
    Switch,
    typer.Option(
        "-skip",
        "--skip",
        "-skip-macromolecules",
        "--skip-macromolecules",
        metavar="0|1",
        help="1: measure no macromolecules, only ontologies and Unknown; --skip alone means 1.",
    ),
]

TargetFeature = Annotated[
    str | None,
    typer.Option(
        "-feature",
        "--feature",
        "-target-feature",
        "--target-feature",
        metavar="NAME",
        show_default=False,
        help="Measure this ontology or macromolecule only; what is known of the others stays in the table.",
    ),
]

Processes = Annotated[
    int | None,
    typer.Option(
        "-p",
        "-processes",
        "--processes",
        metavar="N",
        min=1,
        show_default=False,
        help="Measure in N processes; without it there are as many as cores, at most 8.",
    ),
]


def summarize(
    overwrite: Again = Switch.OFF,
    skip_macromolecules: SkipMacromolecules = Switch.OFF,
    target_feature: TargetFeature = None,
    processes: Processes = None,
) -> None:
    """Measure what is in each tomogram.

    Measures every segmentation that is new or has changed: share of the volume, volume, pieces, confidence. Writes
    summary.xlsx, summary.csv and summary.parquet. When interrupted, the same command goes on. If a segmentation cannot
    be measured, the others are; it is listed, and the exit status is 1.
    """
    project = open_project()
    from pom.workflow.summarize import summarize as measure

    report_summary(
        measure(
            project,
            overwrite=bool(overwrite),
            skip_macromolecules=bool(skip_macromolecules),
            target=target_feature,
            processes=processes,
        )
    )


def report_summary(summary: "Summary") -> None:
    """Shows a row per feature, and what was not measured.

    Raises:
        typer.Exit: with status 1, if a segmentation could not be measured.
    """
    from pom.cli.reports import report_failed, show, show_table
    from pom.io.summary_files import VOLUME, percent_columns

    table, project = summary.table, summary.project
    before = f", {summary.unchanged} known from before" if summary.unchanged else ""
    show(
        f"{counted(len(table), 'tomogram')}: {counted(summary.measured, 'segmentation')} measured{before};"
        f" {project.configuration.z_margin_summary:.0%} of the slices left out above and below."
    )
    if len(table):
        rows = []
        for feature in percent_columns(table.columns):
            percent = table[feature]
            figures = (f"{value:.2f}" for value in (percent.mean(), percent.median(), percent.max()))
            rows.append((feature, *figures, int((table[feature + VOLUME] > 0).sum())))
        show_table(("Percent of the volume", "Mean", "Median", "Most", "Tomograms"), rows)
        written = (project.summary, project.summary_csv, project.summary_parquet)
        show(f"Written: {written[0]}, {written[1].name} and {written[2].name}")
    report_failed("Not measured", summary.failed)
