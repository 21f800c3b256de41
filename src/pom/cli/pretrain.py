"""The command that gives all networks a start from tomograms alone."""

from pom.cli.console import open_project
from pom.cli.options import Gpus, PretrainAgain, Steps, Switch
from pom.cli.slurm import TRAINING, submittable


@submittable(TRAINING)
def pretrain(steps: Steps = None, gpus: Gpus = None, overwrite: PretrainAgain = Switch.OFF) -> None:
    """Give all networks a start from the tomograms alone.

    Needs no annotation. A network learns to fill in hidden parts of slices of at most 64 tomograms. Writes
    models/pretrained/: the weights, their card, the curve and a picture of what was filled in. Every later 'pom
    single train' and 'pom shared train' begins with these weights; to train without them, remove or rename that
    folder. When interrupted, the same command goes on from the last epoch. If a tomogram cannot be used, the others
    are; it is listed, and the exit status is 1.
    """
    project = open_project()
    from pom.cli.reports import report_pretraining
    from pom.cli.training import devices_of_team
    from pom.training.team import is_first_process
    from pom.workflow.pretrain import pretrain as pretrain_project

    devices = devices_of_team(project, gpus)
    made = pretrain_project(project, devices, steps, overwrite=bool(overwrite))
    if is_first_process():
        report_pretraining(project.pretrained_network, made)
