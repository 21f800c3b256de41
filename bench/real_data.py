"""Real data with expert labels, the whole way: annotate one tomogram, score single and joint networks on the other.

A script of the data's own makes the project (OUT --annotate NAME --seed N); it leaves the truth in
truth/NAME__labels.mrc, 1 for the first ontology. Scores are at binned resolution, where the truth of a bin is the
label that most of its voxels have. Single networks: probability at least 0.5; joint network: the most probable of
all its outputs, Unknown among them.
"""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pom.cli.console import start_logging
from pom.io.mrc import MrcReader
from pom.measure.dice import dice, majority_labels
from pom.project.names import UNKNOWN, segmentation_file
from pom.project.paths import CONFIGURATION_FILE, Project
from report import report

Scores = dict[str, float]
"""Dice by ontology."""


def make_project(
    maker: Path, folder: Path, train: str, seed: int, epochs: Sequence[int] | None, validation_share: float = 0.2
) -> Project:
    """Makes the project of one seed; ``epochs`` of single and joint networks, or the maker's own."""
    subprocess.run([sys.executable, maker, folder, "--annotate", train, "--seed", str(seed)], check=True)
    path = folder / CONFIGURATION_FILE
    configuration = {**json.loads(path.read_text()), "seed": seed, "validation_share": validation_share}
    if epochs is not None:
        configuration["single_model_epochs"], configuration["shared_model_epochs"] = epochs
    path.write_text(json.dumps(configuration, indent=2))
    return Project.open(folder)


def run_workflow(project: Project) -> tuple[Project, dict[str, float]]:
    """Trains and applies all networks of a project.

    Returns:
        The project with another output folder, which holds what the single networks say, and the seconds per step.
    """
    from pom.networks.devices import choose_devices
    from pom.workflow.process_tomograms import Redo
    from pom.workflow.shared_initialize import shared_initialize
    from pom.workflow.shared_process import shared_process
    from pom.workflow.shared_train import shared_train
    from pom.workflow.single_initialize import single_initialize
    from pom.workflow.single_process import single_process
    from pom.workflow.single_train import single_train

    configuration = project.configuration.model_copy(update={"output_dir": "output_single"})
    single = dataclasses.replace(project, configuration=configuration)
    devices = choose_devices(None, project.configuration.GPUS)

    def process_singles() -> None:
        for ontology in project.ontologies:
            single_process(single, ontology, devices, test=False, redo=Redo.everything())

    steps: dict[str, Callable[[], object]] = {
        "single initialize": lambda: single_initialize(project),
        "single train": lambda: single_train(project, project.ontologies, devices, counterexamples=True),
        "single process": process_singles,
        "shared initialize": lambda: shared_initialize(project, selective=True, devices=devices),
        "shared train": lambda: shared_train(project, devices, checkpoint=None),
        "shared process": lambda: shared_process(project, devices, redo=Redo.everything()),
    }
    seconds = {}
    for name, step in steps.items():
        started = time.perf_counter()
        step()
        seconds[name] = time.perf_counter() - started
    return single, seconds


def score(project: Project, single: Project, name: str) -> tuple[Scores, Scores]:
    """Dice per ontology in tomogram ``name``, of the single networks and of the joint network."""
    truth = true_labels(project, name)
    outputs = [_read(project.output(name, ontology)) for ontology in (*project.ontologies, UNKNOWN)]
    joint = np.argmax(np.stack(outputs), axis=0) + 1
    singles = {ontology: single_dice(single, name, ontology) for ontology in project.ontologies}
    joints = {
        ontology: dice(joint == label, truth == label) for label, ontology in enumerate(project.ontologies, start=1)
    }
    return singles, joints


def single_dice(project: Project, name: str, ontology: str) -> float:
    """Dice of what a single network wrote of tomogram ``name``."""
    from pom.inference.segment import FULL_SCALE

    half = 0.5 * FULL_SCALE.get(project.configuration.output_dtype, 1)
    truth = true_labels(project, name) == project.ontologies.index(ontology) + 1
    return dice(_read(project.output(name, ontology)) >= half, truth)


def true_labels(project: Project, name: str) -> NDArray[np.uint8]:
    """The truth of a tomogram at binned resolution, (z, y, x); 1 is the first ontology."""
    truth_file = project.folder / "truth" / segmentation_file(name, "labels")
    return majority_labels(
        _read(truth_file).astype(np.int64), project.configuration.binning, len(project.ontologies) + 1
    )


def _read(path: Path) -> NDArray[np.float32]:
    with MrcReader(path) as reader:
        return reader.read(0, reader.header.shape[0]).astype(np.float32)


def summary(values: Sequence[float]) -> str:
    """Mean and standard deviation over the seeds."""
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{spread}"


def main() -> None:
    """Runs every seed and prints Dice per ontology."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--maker", type=Path, required=True, help="the script that makes the project")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of annotation and training")
    parser.add_argument("--train", default="VNC_1", help="the annotated tomogram")
    parser.add_argument("--test", default="VNC_2", help="the tomogram that is scored")
    parser.add_argument("--epochs", type=int, nargs=2, metavar=("SINGLE", "JOINT"), help="instead of the maker's")
    parser.add_argument("--validation-share", type=float, default=0.2, help="of the boxes; 0: all are trained on")
    parser.add_argument("--work", type=Path, help="keep the projects here, seed_N each; else they are temporary")
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()
    start_logging()
    singles: list[Scores] = []
    joints: list[Scores] = []
    seconds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for seed in options.seeds:
            folder = (options.work or Path(temporary)) / f"seed_{seed}"
            project = make_project(options.maker, folder, options.train, seed, options.epochs, options.validation_share)
            single, taken = run_workflow(project)
            scores = score(project, single, options.test)
            singles.append(scores[0])
            joints.append(scores[1])
            seconds.append(taken)
            print(f"seed {seed}: joint {statistics.fmean(scores[1].values()):.3f}, {sum(taken.values()):.0f} s")
    rows = [
        [ontology, summary([s[ontology] for s in singles]), summary([s[ontology] for s in joints])]
        for ontology in singles[0]
    ]
    rows.append(["mean", *(summary([statistics.fmean(s.values()) for s in each]) for each in (singles, joints))])
    total = [sum(taken.values()) for taken in seconds]
    steps = ", ".join(f"{step} {statistics.fmean(t[step] for t in seconds):.1f}" for step in seconds[0])
    report(
        f"Dice on {options.test}, trained on {options.train}, {len(options.seeds)} seeds (mean ± standard deviation)",
        ["ontology", "single networks", "joint network"],
        rows,
        [f"Seconds per seed: {statistics.fmean(total):.0f} ({steps})."],
        {"seeds": options.seeds, "single": singles, "joint": joints, "seconds": seconds},
        options.json,
    )


if __name__ == "__main__":
    main()
