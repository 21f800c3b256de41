"""Three-dimensional pictures of all tomograms."""

import logging
import random
from pathlib import Path
from typing import Annotated

import typer

from pom.cli.console import open_project
from pom.cli.options import OverwritePictures, Processes, Switch
from pom.cli.projections import report_pictures
from pom.errors import PomError
from pom.project.names import did_you_mean
from pom.project.render_configuration import misspelt
from pom.words import counted, listed

log = logging.getLogger(__name__)

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
    needed. If a tomogram fails, the others are done; it is listed, and the exit status is 1. So it is where a
    composition names what the project does not have.
    """
    project = open_project()
    from pom.workflow.feature_volumes import known_features
    from pom.workflow.pictures import pictured_tomograms
    from pom.workflow.render import project_compositions, project_library
    from pom.workflow.render import render as draw

    features = known_features(project)
    there, _ = pictured_tomograms(project, features)
    names = _chosen(there, tomogram, max_number, project.configuration.seed)
    compositions = project_compositions(project, configuration)
    file = (configuration or project.render_configuration).name
    faults = [f"{file}: {fault}" for fault in misspelt(compositions, features)]
    for fault in faults:
        log.warning("%s", fault)
    library = project_library(project, feature_library)
    report_pictures(draw(project, names, compositions, library, processes, bool(overwrite), bool(spin)))
    if faults:
        others = len(faults) - 1
        more = f" {counted(others, 'more such name is', 'more such names are')} told above." if others else ""
        raise PomError(f"{faults[0]}{more} All else was drawn.")


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
            raise PomError(f"No tomogram's name holds {part!r}{did_you_mean(part, names)}: there are {listed(names)}.")
        return found
    if most is None or most >= len(names):
        return names
    return sorted(random.Random(seed).sample(names, most))
