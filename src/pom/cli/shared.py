"""The commands of the joint network."""

import typer

from pom.cli.console import StepCommand, open_project
from pom.cli.options import (
    Checkpoint,
    Direct,
    FirstGpu,
    Gpus,
    Outdated,
    Overwrite,
    Selective,
    Switch,
    WorkerGpus,
    Workers,
)
from pom.cli.processing import redo_of, run_processing
from pom.cli.slurm import TRAINING, WORKERS, submittable
from pom.cli.training import run_training

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""One joint network for all ontologies and Unknown.

    In this order:

    \b
    1. initialize   when the single networks are trained
    2. train        with --direct straight from the annotations, without 1
    3. process      all tomograms; it goes on where it was stopped
    """,
)


@app.command(cls=StepCommand)
def initialize(selective: Selective = Switch.ON, gpus: FirstGpu = None) -> None:
    """Label every training patch with all ontologies at once.

    Needs 'pom single train' for every ontology. Each single network labels the patches of all; what a person
    annotated overrules it; where no network is sure the label is Unknown. Writes training_datasets/joint.npz.
    """
    project = open_project()
    from pom.cli.reports import report_fields
    from pom.networks.devices import choose_devices
    from pom.workflow.shared_initialize import shared_initialize

    devices = choose_devices(gpus, project.configuration.GPUS)
    report_fields("Joint labels", shared_initialize(project, bool(selective), devices))


@app.command(cls=StepCommand)
@submittable(TRAINING)
def train(direct: Direct = Switch.OFF, gpus: Gpus = None, checkpoint: Checkpoint = None) -> None:
    """Train the joint network.

    Needs 'pom shared initialize', or with --direct only 'pom single initialize'. Writes models/joint/: the network,
    its card, the curves and a picture of validation patches. When interrupted, the same command goes on from the last
    epoch.
    """
    project = open_project()
    from pom.workflow.shared_train import shared_train

    run_training(
        project, gpus, lambda devices: {"joint": shared_train(project, devices, checkpoint, direct=bool(direct))}
    )


@app.command(cls=StepCommand)
@submittable(WORKERS)
def process(
    gpus: WorkerGpus = None, workers: Workers = None, overwrite: Overwrite = Switch.OFF, outdated: Outdated = Switch.OFF
) -> None:
    """Segment all tomograms with the joint network.

    Needs 'pom shared train'. Writes NAME__Ontology.mrc for every ontology, and NAME__Unknown.mrc, to the output
    folder, or one NAME.ome.zarr with all of them, by 'output_format' of the configuration; the voxel size is the
    tomogram's times the binning. It may be started on any number of machines that share the project folder: they share
    the tomograms out among themselves. A tomogram that fails is tried three times and does not stop the others: it is
    listed at the end, and the exit status is 1.
    """
    project = open_project()
    from pom.workflow.shared_process import shared_process

    redo = redo_of(overwrite, outdated)
    run_processing(project, gpus, workers, lambda devices, slots: shared_process(project, devices, slots, redo))
