"""Three-dimensional pictures of all tomograms."""

import random
from pathlib import Path
from typing import Annotated

import typer

from pom.cli.console import open_project
from pom.cli.options import OverwritePictures, Processes, Switch
from pom.cli.projections import report_pictures
from pom.errors import PomError

ConfigurationFile = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "-configuration",
        "--configuration",
        metavar="FILE",
        show_default=False,
        help="The compositions: a JSON object such as render_configuration.json. Without it the project's counts.",
    ),
]
MaxNumber = Annotated[
    int | None,
    typer.Option(
        "-n",
        "-max_number",
        "--max_number",
        "--max-number",
        metavar="MAX",
        min=1,
        show_default=False,
        help="At most so many tomograms, chosen by the configuration's seed: to try settings.",
    ),
]
Library = Annotated[
    Path | None,
    typer.Option(
        "-f",
        "-feature-library-path",
        "--feature-library-path",
        metavar="FILE",
        show_default=False,
        help="A feature_library.txt of Ais: colours, levels, dust and opacity. Without it the project's counts.",
    ),
]
Tomogram = Annotated[
    str | None,
    typer.Option(
        "-t",
        "-tomogram",
        "--tomogram",
        metavar="NAME",
        show_default=False,
        help="Only the tomograms whose names hold NAME; all of them, whatever -n says.",
    ),
]
Spin = Annotated[
    Switch,
    typer.Option("-spin", "--spin", metavar="0|1", help="1: turning movies (WebP) too; --spin alone means 1."),
]


def render(
    configuration: ConfigurationFile = None,
    max_number: MaxNumber = None,
    feature_library: Library = None,
    tomogram: Tomogram = None,
    overwrite: OverwritePictures = Switch.OFF,
    processes: Processes = 1,
    spin: Spin = Switch.OFF,
) -> None:
    """Draw three-dimensional pictures of all tomograms.

    Of each, one per composition of render_configuration.json, in a folder of its name in image_dir. No display is
    needed. If a tomogram fails, the others are done; it is listed, and the exit status is 1.
    """
    project = open_project()
    from pom.workflow.render import project_compositions, project_library
    from pom.workflow.render import render as draw

    names = _chosen(project.tomogram_names(), tomogram, max_number, project.configuration.seed)
    compositions = project_compositions(project, configuration)
    library = project_library(project, feature_library)
    report_pictures(draw(project, names, compositions, library, processes, bool(overwrite), bool(spin)))


def _chosen(names: list[str], part: str | None, most: int | None, seed: int) -> list[str]:
    """The tomograms to draw.

    Raises:
        PomError: no name holds the part.
    """
    if part:
        # A path, or a name with its ending, as published Pom takes it.
        part = Path(part).name.removesuffix(".mrc")
        found = [name for name in names if part in name]
        if not found:
            raise PomError(f"No tomogram's name holds {part!r}: 'pom status' lists them.")
        return found
    if most is None or most >= len(names):
        return names
    return sorted(random.Random(seed).sample(names, most))
