"""The command that shows the whole way on a made-up cell."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", show_default=False, help="Where to work; by default ./pom-demo.")
    ] = Path("pom-demo"),
    seed: Annotated[
        int, typer.Option("-seed", "--seed", min=0, metavar="NUMBER", help="Another number, another cell.")
    ] = 0,
) -> None:
    """Make a synthetic dataset and go the whole way through it.

    Draws tomograms of a made-up cell with annotations, trains the joint network straight from the annotations, segments
    tomograms that no training saw, and shows how well they match the truth. Takes some minutes on 2 CPU cores.
    """
    from pom.cli.reports import report_demo
    from pom.demo.run import run_demo

    report_demo(run_demo(folder, seed))
