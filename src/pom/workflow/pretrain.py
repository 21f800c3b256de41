"""Before the networks: weights to begin with, learnt from tomograms alone, annotated or not."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.channels import Preprocessing, read_network_input
from pom.io.pretrained import MAKE_AGAIN, PretrainedCard, misfit, read_pretrained_card
from pom.networks.devices import Devices
from pom.progress import track
from pom.project.paths import Project
from pom.sampling.crops import SIDE, cut_crops, plan_crops
from pom.training.hiding import Crops
from pom.training.pretraining import BATCH, STEPS_PER_EPOCH, Lesson, pretrain_network, pretraining_plan
from pom.words import counted
from pom.workflow.alone import PRETRAINING, alone
from pom.workflow.single_initialize import preprocessing_of
from pom.workflow.survey import survey_macromolecules

log = logging.getLogger(__name__)

STEPS = 800


@dataclass(frozen=True)
class Pretrained:
    """What ``pom pretrain`` made, or found there already."""

    card: PretrainedCard
    is_new: bool


@dataclass
class _Gathered:
    """The crops of some tomograms while they are read; of memory only what is filled is taken."""

    images: NDArray[np.float32]
    tomograms: list[str] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    """Of each crop's tomogram among ``tomograms``."""
    pixel_sizes: list[float] = field(default_factory=list)

    def crops(self, per_epoch: int | None = None) -> Crops:
        """All of them, of which an epoch shows so many, or each once."""
        number = len(self.indices)
        return Crops.shown(self.images[:number], np.array(self.indices, np.int64), per_epoch or number)


def pretrain(project: Project, devices: Devices, steps: int | None = None, *, overwrite: bool = False) -> Pretrained:
    """Learns the weights that every later training begins with.

    Args:
        project: with tomograms; annotations are not looked at.
        devices: where.
        steps: so many, rounded up to whole epochs; None: ``STEPS``.
        overwrite: whether to do it again where such weights are there already.

    Raises:
        PomError: there is no tomogram that can be used; weights are there already but do not fit the configuration, or
            are damaged, and are not to be overwritten; a file cannot be written; or another process does the same.
    """
    preprocessing = preprocessing_of(project)
    if not overwrite:
        card = read_pretrained_card(project.pretrained_network)
        if card is not None:
            _require_fit(project, card, preprocessing)
            return Pretrained(card, is_new=False)
    with alone(project, [PRETRAINING]):
        lesson = _gather(project, preprocessing)
        plan = pretraining_plan(project.configuration, steps or STEPS, devices)
        return Pretrained(pretrain_network(lesson, plan, devices, project.pretrained_network), is_new=True)


def _require_fit(project: Project, card: PretrainedCard, preprocessing: Preprocessing) -> None:
    unfit = misfit(card, preprocessing, card.widths)
    if unfit is not None:
        raise PomError(
            f"The pretrained network in {project.pretrained_network} does not fit the configuration, since {unfit}: "
            f"run '{MAKE_AGAIN}'."
        )


def _gather(project: Project, preprocessing: Preprocessing) -> Lesson:
    """Reads some of the tomograms, one after the other, and keeps crops of them."""
    configuration = project.configuration
    plan = plan_crops(_usable(project), len(preprocessing.channels), configuration.validation_share, configuration.seed)
    parts = [
        _Gathered(np.empty((len(names) * most, len(preprocessing.channels), SIDE, SIDE), np.float32))
        for names, most in ((plan.training, plan.crops), (plan.held_out, plan.held_out_crops))
    ]
    training, held_out = parts
    left_out: dict[str, str] = {}
    chosen = sorted((*plan.training, *plan.held_out))
    for name in track(chosen, "Tomograms to pretrain on", len(chosen)):
        part, most = (held_out, plan.held_out_crops) if name in plan.held_out else (training, plan.crops)
        try:
            _add_crops(project, name, preprocessing, most, part)
        except PomError as error:
            log.warning("%s left out: %s", name, error)
            left_out[name] = str(error)
    if not training.tomograms:
        name, reason = next(iter(left_out.items()))
        raise PomError(f"No tomogram could be used to pretrain on; {name}, for one: {reason}")
    return Lesson(
        preprocessing=preprocessing,
        pixel_size=float(np.mean(training.pixel_sizes)),
        tomograms=tuple(training.tomograms),
        training=training.crops(per_epoch=STEPS_PER_EPOCH * BATCH),
        validation_tomograms=tuple(held_out.tomograms),
        validation=held_out.crops(),
        left_out=left_out,
    )


def _usable(project: Project) -> Sequence[str]:
    """The tomograms whose input volumes are all there."""
    names = project.listed_tomograms()
    missing, lacking = survey_macromolecules(project, names)
    if len(lacking) == len(names):
        raise PomError(
            f"Every tomogram lacks a volume of {' or '.join(missing)} in {project.macromolecule_dir}: put them there, "
            "or take the channel out of 'macromolecules'."
        )
    if lacking:
        lack = counted(len(lacking), "tomogram lacks", "tomograms lack")
        log.info("%s a volume of %s and cannot be pretrained on.", lack, " or ".join(missing))
    return [name for name in names if name not in lacking]


def _add_crops(project: Project, name: str, preprocessing: Preprocessing, most: int, into: _Gathered) -> None:
    configuration = project.configuration
    files = project.input_files(name, channels=preprocessing.channels)
    network_input = read_network_input(files, preprocessing, configuration.apix)
    # By its name: what becomes of the other tomograms changes nothing here.
    crops = cut_crops(network_input.data, most, np.random.default_rng([configuration.seed, *name.encode()]))
    begin = len(into.indices)
    into.images[begin : begin + len(crops)] = crops
    into.indices += [len(into.tomograms)] * len(crops)
    into.tomograms.append(name)
    into.pixel_sizes.append(network_input.voxel_size[2] / preprocessing.binning[2])
