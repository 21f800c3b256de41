"""What plain ``pom`` does: makes a project, or shows where it stands."""

from pathlib import Path

import typer


def show_or_create(folder: Path) -> None:
    """Shows the overview of the project in ``folder``; where there is none, makes its configuration."""
    from pom.project.paths import CONFIGURATION_FILE, Project

    path = folder / CONFIGURATION_FILE
    if not path.exists():
        from pom.project.configuration import write_default_configuration

        write_default_configuration(path)
        typer.echo(created_message(CONFIGURATION_FILE))
        return
    project = Project.open(folder)
    from pom.cli.reports import report_overview
    from pom.workflow.overview import overview

    report_overview(folder.absolute(), overview(project))


def created_message(name: str) -> str:
    """Says what to do with a new configuration file."""
    return f"""Made {name}, the configuration of a new project.

Edit it next:
  apix            the voxel size of your tomograms in Angstrom
  macromolecules  the input channels, such as ["Density", "Membrane"]
  ontologies      what to segment, such as ["Mitochondrion", "Vesicle"]

Then put tomograms (NAME.mrc) into 'tomograms' and macromolecules
(NAME__Membrane.mrc) into 'macromolecules', or write other folders into the
configuration. Annotate with 'pom annotate', or in Ais: its files (NAME.scns)
belong beside the tomograms.

Run 'pom' again at any time: it shows where the project stands, and the next
command."""
