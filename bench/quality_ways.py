"""The ways from annotations to segmentations that bench/quality.py compares: Pom's, and what one would do instead.

Each way trains on the annotated tomograms of a project and names every voxel of the scored ones. A new way is a
function from ``Task`` to ``Outcome`` and a line in ``WAYS``.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim.optimizer import register_optimizer_step_post_hook

from held_out import HeldOut, Probabilities
from measure_process import Figures
from pom.io.channels import read_network_input
from pom.io.volume_files import open_volume
from pom.measure.confusion import Confusion
from pom.measure.reliability import expected_calibration_error, reliability
from pom.networks.devices import Devices, choose_devices
from pom.networks.orientations import orient, orientations, restore
from pom.project.names import UNKNOWN
from pom.project.paths import Project
from pom.training.data import LabelledPatches
from pom.volumes.normalise import full_scale
from pom.workflow.pretrain import pretrain
from pom.workflow.process_tomograms import Redo
from pom.workflow.segmented import Segmented
from pom.workflow.shared_initialize import shared_initialize
from pom.workflow.shared_process import shared_process
from pom.workflow.shared_train import shared_train
from pom.workflow.single_initialize import preprocessing_of, single_initialize
from pom.workflow.single_train import single_train
from published_recipe import train_published
from real_data import true_labels
from training import training_patches

DESIGN_ORIENTATIONS = 1
"""Over which the published design's answers are averaged; on a CPU one takes minutes."""

Classes = NDArray[np.uint8]
"""(z, y, x) binned: 0..n - 1 for the n ontologies, n for Unknown."""


@dataclass(frozen=True)
class Task:
    """What is to be done.

    Attributes:
        project: annotated, nothing made of it yet; a way may do with its folder what it likes.
        scored: the tomograms to segment; they have no annotation.
        seconds: how long a way may train that can be told.
        devices: where.
    """

    project: Project
    scored: Sequence[str]
    seconds: float
    devices: Devices


@dataclass
class Outcome:
    """What a way made of it.

    Attributes:
        training: seconds of the processor from annotations to the trained network or forest, by step; of all threads
            together. Other programs on the machine hardly change that, and a second thread of one's own adds little.
        inference: the same from the trained one to the classes of all scored tomograms.
        classes: by tomogram.
        confidence: by tomogram, how likely the class is said to be, (z, y, x), 0..1; none where a way does not say.
    """

    training: dict[str, float] = field(default_factory=dict)
    inference: float = 0.0
    classes: dict[str, Classes] = field(default_factory=dict)
    confidence: dict[str, NDArray[np.floating]] = field(default_factory=dict)

    def train(self, name: str, step: Callable[[], object]) -> None:
        """Does a step of the training, and keeps its time."""
        started = time.process_time()
        step()
        self.training[name] = self.training.get(name, 0.0) + time.process_time() - started


Way = Callable[[Task], Outcome]

Steps = dict[str, Callable[[], object]]
"""Of a training, by name, in order."""


def published(task: Task) -> Outcome:
    """Single networks, which label the patches for the joint network."""
    return _joint_network(task, _published_steps(task))


def published_pretrained(task: Task) -> Outcome:
    """The same after 'pom pretrain' on all tomograms, those scored among them, without their annotation."""
    return _joint_network(task, _pretraining(task) | _published_steps(task))


def direct(task: Task) -> Outcome:
    """The joint network straight from the annotations."""
    return _joint_network(task, _direct_steps(task))


def direct_pretrained(task: Task) -> Outcome:
    """The same after 'pom pretrain'."""
    return _joint_network(task, _pretraining(task) | _direct_steps(task))


def forest(task: Task) -> Outcome:
    """A random forest on multiscale features, from all boxes."""
    from forest import Forest

    outcome, project = Outcome(), task.project
    model = Forest(project, torch.get_num_threads())
    outcome.train("features", model.read_annotations)
    outcome.train("forest", model.fit)
    started = time.process_time()
    for name in task.scored:
        outcome.classes[name] = most_probable(model.probabilities(_images(project, name)))
    outcome.inference = time.process_time() - started
    return outcome


def design(task: Task) -> Outcome:
    """The published design's network and recipe, one network per ontology; all together get ``task.seconds``.

    It learns from all boxes. Reading and sampling, and the first step of each network, are not on its clock.
    """
    outcome = Outcome()
    project = Project(task.project.folder, task.project.configuration.model_copy(update={"validation_share": 0.0}))
    single_initialize(project)
    images = {name: _images(project, name) for name in task.scored}
    probabilities: dict[str, list[NDArray[np.float32]]] = {name: [] for name in images}
    for ontology in project.ontologies:
        if not project.single_dataset(ontology).exists():  # no box of it found room
            for name, sections in images.items():
                probabilities[name].append(np.zeros_like(sections[:, 0]))
            continue
        predict = _train_design(outcome, training_patches(project, ontology), task, len(project.ontologies))
        started = time.process_time()
        for name, sections in images.items():
            probabilities[name].append(_averaged(predict, sections))
        outcome.inference += time.process_time() - started
    outcome.classes = {name: most_probable(np.stack(each)) for name, each in probabilities.items()}
    return outcome


WAYS: Mapping[str, Way] = {
    "published": published,
    "published-pretrained": published_pretrained,
    "direct": direct,
    "direct-pretrained": direct_pretrained,
    "forest": forest,
    "design": design,
}
PRETRAINED = ("published-pretrained", "direct-pretrained")
"""Which ways begin with 'pom pretrain', or with what it has made already."""
AS_LONG_AS = {"design": "direct"}
"""Which way is given as many seconds of training as which other took."""


def measure(way: str, folder: str, scored: list[str], seconds: float) -> Figures:
    """Goes one way in a project's folder; for a process of its own.

    Returns:
        Dice by ontology as 'dice NAME' (left out where it is neither there nor named), seconds of training by step
        as 'training NAME', 'inference' (seconds), 'steps' of optimisers, and 'threads'.
    """
    project = Project.open(Path(folder))
    truths = {name: true_labels(project, name) for name in scored}
    devices = choose_devices(None, project.configuration.GPUS)
    steps: Counter[str] = Counter()
    counting = register_optimizer_step_post_hook(lambda *_: steps.update(["taken"]))
    outcome = WAYS[way](Task(project, scored, seconds, devices))
    counting.remove()
    confusion = Confusion.empty(len(project.ontologies) + 1)
    for name, truth in truths.items():
        for label in range(len(project.ontologies)):
            confusion.count(label, outcome.classes[name], truth == label + 1)
    scores = {ontology: confusion.score(label).dice for label, ontology in enumerate(project.ontologies)}
    return {
        **{f"dice {ontology}": dice for ontology, dice in scores.items() if dice is not None},
        **_calibration(outcome, truths),
        **{f"training {step}": seconds for step, seconds in outcome.training.items()},
        "inference": outcome.inference,
        "steps": steps["taken"],
        "threads": torch.get_num_threads(),
    }


def _calibration(outcome: Outcome, truths: Mapping[str, Classes]) -> Figures:
    """How far confidence is from the share that is right, over the voxels that have a name in truth."""
    if not outcome.confidence:
        return {}
    is_named = {name: truth > 0 for name, truth in truths.items()}
    said = [outcome.confidence[name][named] for name, named in is_named.items()]
    is_right = [(outcome.classes[name] + 1 == truth)[is_named[name]] for name, truth in truths.items()]
    bins = reliability(np.concatenate(said).astype(np.float64), np.concatenate(is_right))
    return {"calibration error": expected_calibration_error(bins)}


def most_probable(probabilities: NDArray[np.float32]) -> Classes:
    """The class of highest probability in (ontology, z, y, x), never Unknown: what is scored has a name everywhere."""
    classes: Classes = probabilities.argmax(axis=0).astype(np.uint8)
    return classes


def _pretraining(task: Task) -> Steps:
    return {"pretrain": lambda: pretrain(task.project, task.devices)}


def _published_steps(task: Task) -> Steps:
    project, devices = task.project, task.devices
    return {
        "single initialize": lambda: single_initialize(project),
        "single train": lambda: single_train(project, project.ontologies, devices, counterexamples=True),
        "shared initialize": lambda: shared_initialize(project, selective=True, devices=devices),
        "shared train": lambda: shared_train(project, devices, None),
    }


def _direct_steps(task: Task) -> Steps:
    project, devices = task.project, task.devices
    return {
        "single initialize": lambda: single_initialize(project),
        "shared train": lambda: shared_train(project, devices, None, direct=True),
    }


def _joint_network(task: Task, steps: Steps) -> Outcome:
    """Trains in steps, of which the last gives the joint network; then segments what is scored, and nothing else."""
    outcome, project = Outcome(), task.project
    for name, step in steps.items():
        outcome.train(name, step)
    for name in set(project.tomogram_names()) - set(task.scored):
        project.annotation(name).unlink(missing_ok=True)
        project.tomogram(name).unlink()
    started = time.process_time()
    shared_process(project, task.devices, redo=Redo.everything())
    outcome.inference = time.process_time() - started
    for name in task.scored:
        with Segmented(project, name) as segmented:
            outcome.classes[name] = segmented.read_all()
        outputs = (_probability(project.output(name, output)) for output in (*project.ontologies, UNKNOWN))
        outcome.confidence[name] = reduce(np.maximum, outputs)
    return outcome


def _probability(path: Path) -> NDArray[np.float32]:
    """What the joint network says of an ontology, (z, y, x), 0..1."""
    with open_volume(path) as reader:
        stored = reader.read(0, reader.header.shape[0])
    return stored.astype(np.float32) / np.float32(full_scale(stored.dtype))


def _images(project: Project, name: str) -> NDArray[np.float32]:
    """What the networks see of a tomogram, (z, channel, y, x)."""
    preprocessing = preprocessing_of(project)
    files = project.input_files(name, channels=preprocessing.channels)
    data = read_network_input(files, preprocessing, project.configuration.apix).data
    return np.ascontiguousarray(data.swapaxes(0, 1))


def _train_design(outcome: Outcome, patches: LabelledPatches, task: Task, shares: int) -> Probabilities:
    """Trains one network for its share of the time, and adds that up."""
    kept: list[Probabilities] = []

    class Keeper(HeldOut):
        """Instead of being scored, the network is kept."""

        def score(self, predict: Probabilities) -> float:
            kept.append(predict)
            return 0.0

    keeper, device = Keeper([], []), task.devices.first
    points = train_published(patches, 1, task.seconds / shares, math.inf, keeper, device, time.process_time)
    outcome.training["steps"] = outcome.training.get("steps", 0.0) + points[-1].seconds
    return kept[-1]


def _averaged(predict: Probabilities, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """A network's answers averaged over orientations, (z, y, x), 0..1."""
    turns = orientations(DESIGN_ORIENTATIONS)
    turned = (predict(orient(torch.from_numpy(images), turn).numpy()) for turn in turns)
    answers = [restore(torch.from_numpy(answer), turn) for answer, turn in zip(turned, turns, strict=True)]
    average: NDArray[np.float32] = torch.stack(answers).mean(dim=0).numpy()
    return average
