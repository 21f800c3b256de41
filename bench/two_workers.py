"""Two workers on different cores against one: what a second GPU would bring, were it not for the disk.

Each worker is a process of ``pom shared process`` that may use one core only, as a worker has one GPU. The clock runs
from the first tomogram that anybody begins to the last that is done, so that starting Python counts nowhere; it is
read from the records. The repetitions alternate, so that a slow hour of the machine hits both.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from pom.io.atomic import write_json
from pom.io.checkpoints import ModelCard, TrainingRecord, current_versions, save_network, timestamp
from pom.jobs.ledger import Ledger
from pom.networks.unet import UNet
from pom.project.configuration import Configuration
from pom.project.names import UNKNOWN
from pom.project.paths import CONFIGURATION_FILE, SHARED_STEP, Project
from report import report
from workload import CHANNELS, PREPROCESSING, VOXEL_SIZE, input_files, write_tomogram

ONTOLOGIES = ("A", "B", "C", "D")


def make_project(folder: Path, n_tomograms: int, shape: tuple[int, int, int]) -> Project:
    """Tomograms of noise and a joint network of random weights."""
    configuration = Configuration(
        macromolecules=CHANNELS, ontologies=ONTOLOGIES, apix=VOXEL_SIZE, z_sum=PREPROCESSING.z_sum,
        shared_model_runs_per_volume=4, GPUS="",
    )  # fmt: skip
    project = Project(folder, configuration)
    for made in (project.tomogram_dir, project.macromolecule_dir):
        made.mkdir(parents=True)
    write_tomogram(folder, shape)
    files = input_files(folder)
    for number in range(n_tomograms):
        name = f"TS_{number:03}"
        shutil.copy(files["Density"], project.tomogram(name))
        shutil.copy(files["Membrane"], project.macromolecule(name, "Membrane"))
    torch.manual_seed(0)
    network = UNet(len(CHANNELS), len(ONTOLOGIES) + 1)
    training = TrainingRecord(
        tomograms=(), validation_tomograms=(), patches=0, validation_patches=0, counterexamples=0, held_out="nothing",
        epochs=0, batch_size=0, learning_rate=0.0, precision="float32", seed=0, seconds=0.0, started_from="",
    )  # fmt: skip
    card = ModelCard(
        kind="joint", outputs=(*ONTOLOGIES, UNKNOWN), preprocessing=PREPROCESSING, pixel_size=VOXEL_SIZE,
        architecture="UNet", widths=network.widths, weights_sha256="", training=training, validation={},
        versions=current_versions(), created=timestamp(),
    )  # fmt: skip
    save_network(project.joint_network, network.state_dict(), card)
    write_json(folder / CONFIGURATION_FILE, configuration.model_dump(mode="json", by_alias=True))
    return project


def tomograms_per_minute(project: Project, cores: list[int]) -> float:
    """Segments everything anew, with a worker on each of ``cores``."""
    for folder in (project.output_dir, project.jobs(SHARED_STEP)):
        shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "pom", "shared", "process", "-gpus", "-1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            ["taskset", "--cpu-list", str(core), *command], cwd=project.folder, env=environment, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        for core in cores
    ]  # fmt: skip
    for worker in workers:
        _, errors = worker.communicate()
        if worker.returncode:
            raise RuntimeError(f"A worker failed: {errors}")
    records = list(Ledger(project.jobs(SHARED_STEP), project.records(SHARED_STEP)).records())
    begun = min(record.started for record in records)
    ended = max(record.started + record.seconds for record in records)
    return 60.0 * len(records) / (ended - begun)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--tomograms", type=int, default=12)
    parser.add_argument("--size", type=int, nargs=3, default=(64, 256, 256), metavar=("Z", "Y", "X"), help="voxels")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()
    first, second, *_ = sorted(os.sched_getaffinity(0))
    layouts = {"one worker": [first], "two workers": [first, second]}
    figures: dict[str, list[float]] = {name: [] for name in layouts}
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder) / "project", options.tomograms, tuple(options.size))
        for _ in range(options.repeat):
            for name, cores in layouts.items():
                figures[name].append(tomograms_per_minute(project, cores))
    one = statistics.median(figures["one worker"])
    rows = [
        [
            name, f"{statistics.median(values):.2f}", f"{min(values):.2f} to {max(values):.2f}",
            f"{statistics.median(values) / one:.2f}",
        ]
        for name, values in figures.items()
    ]  # fmt: skip
    report(
        f"{options.tomograms} tomograms of {' x '.join(map(str, options.size))}, a worker on each of so many cores",
        ["", "tomograms a minute, median", f"range of {options.repeat}", "of one worker"],
        rows,
        [],
        figures,
        options.json,
    )


if __name__ == "__main__":
    main()
