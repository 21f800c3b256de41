"""The commands of the single networks."""

from typing import TYPE_CHECKING

import typer

from pom.cli.console import StepCommand, open_project
from pom.cli.options import (
    AllOntologies,
    Counterexamples,
    Gpus,
    Ontologies,
    Ontology,
    Outdated,
    Overwrite,
    Switch,
    WorkerGpus,
    Workers,
)
from pom.cli.processing import redo_of, run_processing
from pom.cli.slurm import TRAINING, WORKERS, submittable
from pom.cli.training import run_training
from pom.errors import PomError

if TYPE_CHECKING:
    from pom.project.paths import Project
    from pom.workflow.process_tomograms import Redo

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""One network per ontology.

    In this order:

    \b
    1. initialize   when annotations are new or have changed
    2. train        for one ontology, or for all
    3. test         to look at the result on a few tomograms
    4. process      where one ontology in all tomograms is all that is wanted

    The next step is 'pom shared initialize'.
    """,
)


@app.command(cls=StepCommand)
def initialize() -> None:
    """Cut the annotated boxes into training patches.

    Reads every annotation in the tomogram folder, those of 'pom annotate' and those of Ais (NAME.scns); where a
    tomogram has both, the newer. Writes training_datasets/single/. At the end a table tells, per ontology, how many
    boxes there are and what was left out. Run it again after annotating more. If an annotated tomogram cannot be
    used, the others are; it is listed, and the exit status is 1.
    """
    project = open_project()
    from pom.cli.reports import report_sampling
    from pom.workflow.single_initialize import single_initialize

    report_sampling(single_initialize(project))


@app.command(cls=StepCommand)
@submittable(TRAINING, lambda project, options: _names_to_train(project, **options))
def train(
    ontology: Ontologies = None,
    all_ontologies: AllOntologies = Switch.OFF,
    gpus: Gpus = None,
    counterexamples: Counterexamples = Switch.ON,
) -> None:
    """Train the network of one ontology (-o NAME) or of all (--all).

    Needs 'pom single initialize'. Writes models/single/NAME/: the network, its card, the curves and a picture of
    validation patches. When interrupted, the same command goes on from the last epoch.
    """
    project = open_project()
    names = _names_to_train(project, ontology, all_ontologies)
    # After the checks: this brings torch, and a mistyped name need not wait for it.
    from pom.workflow.single_train import single_train

    run_training(project, gpus, lambda devices: single_train(project, names, devices, bool(counterexamples)))


@app.command(cls=StepCommand)
def test(
    ontology: Ontology = None,
    gpus: WorkerGpus = None,
    workers: Workers = None,
    overwrite: Overwrite = Switch.OFF,
    outdated: Outdated = Switch.OFF,
) -> None:
    """Segment one ontology in the tomograms of the test folder.

    Needs 'pom single train'. The outputs, NAME__Ontology.mrc, are written beside the test tomograms; their
    macromolecules are read from the macromolecule folder.
    """
    _segment(ontology, gpus, workers, redo_of(overwrite, outdated), test=True)


@app.command(cls=StepCommand)
@submittable(WORKERS, lambda project, options: _chosen(project, options["ontology"]))
def process(
    ontology: Ontology = None,
    gpus: WorkerGpus = None,
    workers: Workers = None,
    overwrite: Overwrite = Switch.OFF,
    outdated: Outdated = Switch.OFF,
) -> None:
    """Segment one ontology in all tomograms.

    Needs 'pom single train'. The outputs, NAME__Ontology.mrc, are written to the output folder. It may be started on
    any number of machines that share the project folder. Where all ontologies are wanted, 'pom shared process' does
    it in one go.
    """
    _segment(ontology, gpus, workers, redo_of(overwrite, outdated), test=False)


def _segment(ontology: str | None, gpus: str | None, workers: int | None, redo: "Redo", *, test: bool) -> None:
    project = open_project()
    name = _chosen(project, ontology)
    from pom.workflow.single_process import single_process

    run_processing(
        project,
        gpus,
        workers,
        lambda devices, slots: single_process(project, name, devices, test=test, slots=slots, redo=redo),
    )


def _chosen(project: "Project", ontology: str | None) -> str:
    if ontology is None:
        raise PomError(f"Which ontology? Give -o NAME, {_one_of(project)}.")
    return project.known_ontology(ontology)


def _names_to_train(
    project: "Project", ontology: list[str] | None, all_ontologies: Switch, **_others: object
) -> list[str]:
    chosen = ontology or []
    if chosen and all_ontologies:
        raise PomError("-o NAME and --all exclude each other: give one of them.")
    if not chosen and not all_ontologies:
        raise PomError(f"Which ontology? Give -o NAME, {_one_of(project)}, or --all.")
    if all_ontologies:
        return list(project.listed_ontologies())
    return list(dict.fromkeys(project.known_ontology(name) for name in chosen))


def _one_of(project: "Project") -> str:
    return f"one of {', '.join(project.listed_ontologies())}"
