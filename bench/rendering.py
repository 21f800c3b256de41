"""Drawing tomograms: how long a picture takes, with and without VTK's start; how commands that draw scale with -p.

The tomogram is made up: a nuclear envelope of two membranes with pores, vesicles, and ribosomes. All of it is drawn,
without margins. Processor time is told beside the clock's, since other work on the machine slows the clock only.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pom.io.feature_library import FeatureLibrary
from pom.io.mrc import MrcWriter
from pom.project.paths import CONFIGURATION_FILE, Project
from report import report

FEATURES = ("Nuclear_envelope", "Vesicle", "Ribosome")
VOXEL_SIZE = 15.68
TARGET = 3.0
"""Seconds a picture of 1024 pixels may take on one core."""
N_VESICLES, N_RIBOSOMES, N_PORES = 14, 220, 5
NAME = "made_up"
COMMANDS = ("projections", "render")


@dataclass(frozen=True)
class Took:
    """Seconds."""

    clock: float
    processor: float


def write_project(folder: Path, shape: tuple[int, int, int], copies: int) -> Project:
    """A project of tomograms that are all the same."""
    settings = {"ontologies": FEATURES, "z_margin_summary": 0.0, "apix": VOXEL_SIZE}
    (folder / CONFIGURATION_FILE).write_text(json.dumps(settings))
    (folder / "render_configuration.json").write_text(json.dumps({"All": FEATURES}))
    project = Project.open(folder)
    volumes = make_volumes(shape)
    for number in range(copies):
        name = f"{NAME}_{number:02d}"
        _write(project.tomogram(name), np.zeros((1, 8, 8), np.int8))
        for feature, volume in volumes.items():
            _write(project.output(name, feature), volume)
    return project


def make_volumes(shape: tuple[int, int, int]) -> dict[str, NDArray[np.int8]]:
    """What a network might say, (z, y, x), 0..127."""
    rng = np.random.default_rng(4)
    depth, height, width = shape
    z, y, x = np.ogrid[:depth, :height, :width]
    bend = 0.12 * width * np.sin(x / width * 2.2 + 0.4) + 0.06 * height * (z / depth)
    across = y - 0.72 * height - bend  # how far above the middle of the envelope
    gap = 0.022 * width
    envelope = _near(abs(across) - gap, 3.2)
    for centre in np.linspace(0.1, 0.9, N_PORES) * width:
        level = rng.uniform(0.2, 0.8) * depth
        envelope *= np.clip((np.sqrt((x - centre) ** 2 + (z - level) ** 2) - 0.035 * width) / 4, 0, 1)
    free = across < -0.09 * width
    vesicles = np.zeros(shape, np.float32)
    bodies: list[tuple[NDArray[np.float64], float]] = []
    while len(bodies) < N_VESICLES:
        radius = rng.uniform(0.025, 0.075) * width
        centre = rng.uniform((0, 0, 0), shape)
        apart = all(np.linalg.norm(centre - other) > radius + r + 0.02 * width for other, r in bodies)
        if apart and free[tuple(centre.astype(int))]:
            bodies.append((centre, radius))
            distance = np.sqrt((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2)
            np.maximum(vesicles, _near(distance - radius, 3.2), out=vesicles)
    ribosomes = np.zeros(shape, np.float32)
    n_left = N_RIBOSOMES
    while n_left:
        place = rng.uniform((4, 4, 4), np.array(shape) - 4).astype(int)
        if free[tuple(place)] and all(np.linalg.norm(place - centre) > r + 0.02 * width for centre, r in bodies):
            ribosomes[tuple(place)] = 1
            n_left -= 1
    dots = np.clip(2.2 * np.exp(-((ndimage.distance_transform_edt(ribosomes == 0) / 6.0) ** 2)), 0, 1)
    found: tuple[NDArray[Any], ...] = (envelope, vesicles, dots)
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), 1.0)
    return {
        name: (np.clip(volume + 0.25 * noise, 0, 1) * 127).astype(np.int8)
        for name, volume in zip(FEATURES, found, strict=True)
    }


def run_command(folder: str, command: str, processes: int) -> None:
    """Draws all pictures of a project anew with one of Pom's commands."""
    arguments = [sys.executable, "-m", "pom", command, "-p", str(processes), "-o", "1"]
    subprocess.run(arguments, cwd=folder, check=True, capture_output=True)


def measure(work: Callable[[], object]) -> Took:
    """Runs it once."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return Took(time.perf_counter() - clock, time.process_time() - processor)


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(128, 512, 512), metavar=("Z", "Y", "X"))
    parser.add_argument("--side", type=int, default=1024, help="pixels of a picture")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="of the commands, one after the other")
    parser.add_argument("--copies", type=int, default=12, help="tomograms for them")
    parser.add_argument("--picture", type=Path, help="where to keep the picture (PNG)")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = write_project(Path(folder), tuple(arguments.shape), arguments.copies)
        from pom.render.files import write_png
        from pom.workflow.render import render_picture

        def draw() -> None:
            name = f"{NAME}_00"
            picture = render_picture(project, name, FEATURES, FeatureLibrary(), arguments.side)
            if arguments.picture is not None:
                write_png(arguments.picture, picture, "")

        took = {"first, with VTK's start": measure(draw), "second": measure(draw), "third": measure(draw)}
        rows = [[name, f"{t.clock:.2f}", f"{t.processor:.2f}"] for name, t in took.items()]
        figures: dict[str, object] = {name: [t.clock, t.processor] for name, t in took.items()}
        for command in COMMANDS:
            for processes in arguments.processes:
                clock = measure(partial(run_command, folder, command, processes)).clock / arguments.copies
                name = f"pom {command} -p {processes}"
                rows.append([f"{name!r}, each of {arguments.copies}", f"{clock:.2f}", ""])
                figures[name] = clock
    sides = " x ".join(map(str, arguments.shape))
    threads = os.environ.get("LP_NUM_THREADS", "not set, so that it uses all cores")
    notes = [f"Target: {TARGET:g} s on one core. Software OpenGL; LP_NUM_THREADS is {threads}."]
    title = f"Pictures of {arguments.side} pixels of {sides} voxels, three features: seconds"
    report(title, ("Picture", "Clock", "Processor"), rows, notes, figures, arguments.json)


def _near(distance: NDArray[Any], width: float) -> NDArray[np.float32]:
    """1 where a distance is 0, falling to the sides."""
    return np.clip(1.9 * np.exp(-((distance / width) ** 2)), 0, 1).astype(np.float32)


def _write(path: Path, volume: NDArray[np.int8]) -> None:
    depth, height, width = volume.shape
    with MrcWriter(path, (depth, height, width), volume.dtype, (VOXEL_SIZE,) * 3) as writer:
        writer.write(volume)


if __name__ == "__main__":
    main()
