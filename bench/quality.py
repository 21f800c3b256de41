"""Learning curves: Dice against boxes per ontology, of Pom's ways and of what one would do instead.

Demo data (--data demo): phantom tomograms of a seed; --boxes N places N boxes of each ontology in each of the four
annotated tomograms, N // 4 of them without anything of it; the two others are scored, on their truth. Real data
(--data real --maker SCRIPT): the script places N boxes of each ontology in one half (--train); the other (--test) is
scored. An ontology that finds no room for all of its boxes has fewer. Within a seed the boxes of a larger N need not
contain those of a smaller one.

A score is the Dice of an ontology over all scored tomograms together, at binned resolution. Every run has a process
of its own, and is written to the JSON file when it is done: the same command goes on where it was interrupted.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from os import link
from pathlib import Path

from measure_process import Figures, run_alone
from pom.cli.console import start_logging
from pom.demo.dataset import DEMO_CONFIGURATION, DEMO_TOMOGRAMS, Role, write_demo_project
from pom.demo.run import DEMO_SETTINGS
from pom.io.atomic import write_json
from pom.io.checkpoints import CARD_FILE, current_versions, timestamp
from pom.project.paths import CONFIGURATION_FILE, Project
from quality_ways import AS_LONG_AS, DESIGN_ORIENTATIONS, PRETRAINED, WAYS, measure
from real_data import summary
from report import machine, report

SCORED = [plan.name for plan in DEMO_TOMOGRAMS if plan.role is Role.SCORED]
PRETRAINING_FILE = "processor.json"
"""With kept pretrained networks: how many seconds they took."""
LIBRARIES = ("numpy", "scikit-learn", "scikit-image")


@dataclass(frozen=True)
class Run:
    """One way on one dataset with so many boxes; what it gave.

    ``training`` and ``inference`` are seconds of the processor, ``calibration_error`` is that of the classes (0..1;
    None where a way does not say how sure it is), ``peak_bytes`` is the memory that the process had at most.
    """

    data: str
    way: str
    boxes: int
    seed: int
    settings: dict[str, object]
    dice: dict[str, float]
    training: dict[str, float]
    inference: float
    calibration_error: float | None
    steps: int
    threads: int
    peak_bytes: int
    machine: str
    versions: dict[str, str]
    finished: str = field(default_factory=timestamp)

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What tells it from others."""
        return self.data, self.way, self.boxes, self.seed

    @property
    def mean(self) -> float:
        """Over the ontologies."""
        return sum(self.dice.values()) / len(self.dice)

    @property
    def worst(self) -> float:
        """Of the ontologies."""
        return min(self.dice.values())

    @property
    def seconds(self) -> float:
        """Of training, all steps."""
        return sum(self.training.values())


def main() -> None:
    """Does the runs that are not done yet, and prints the table."""
    options = _options()
    start_logging()
    runs = _read(options.resume or options.json)
    others = [run for run in runs if run.data == options.data and run.settings != _settings(options)]
    if others:
        raise SystemExit(f"{options.resume or options.json} holds runs with other settings: {others[0].settings}")
    with tempfile.TemporaryDirectory() as temporary:
        for seed in options.seeds if not options.only_show else ():
            for boxes in options.boxes:
                runs = _run_all(options, boxes, seed, runs, Path(temporary))
    wanted = [run for run in runs if run.data == options.data and run.way in options.ways]
    _report(options, [run for run in wanted if run.boxes in options.boxes and run.seed in options.seeds], runs)
    if options.figure is not None:
        from quality_figure import draw

        draw(options.figure, runs)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("demo", "real"), required=True)
    parser.add_argument("--maker", type=Path, help="the script that makes the project of real data")
    parser.add_argument("--train", default="VNC_1", help="real data: what is annotated (%(default)s)")
    parser.add_argument("--test", default="VNC_2", help="real data: what is scored (%(default)s)")
    parser.add_argument("--boxes", type=int, nargs="+", default=[1, 2, 4, 8, 16], help="per ontology (%(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of data and training (%(default)s)")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), help="(all)")
    parser.add_argument("--epochs", type=int, nargs=2, metavar=("SINGLE", "JOINT"), help="(those of demo or maker)")
    parser.add_argument("--validation-share", type=float, help="of Pom's ways (the configuration's default)")
    parser.add_argument("--json", type=Path, help="gets every run when it is done; those in it are not done again")
    parser.add_argument("--resume", type=Path, metavar="JSON", help="runs that are not done again, if not in --json")
    parser.add_argument("--only-show", action="store_true", help="the runs that are there, and no more")
    parser.add_argument("--figure", type=Path, metavar="PNG", help="gets the curves of all runs in the JSON file")
    options = parser.parse_args()
    if options.data == "real" and options.maker is None:
        parser.error("--data real needs --maker")
    options.ways = [way for way in WAYS if way in options.ways]
    return options


def _settings(options: argparse.Namespace) -> dict[str, object]:
    """What changes the figures, beside what tells runs apart."""
    halves = {"train": options.train, "test": options.test} if options.data == "real" else {}
    return {
        **halves,
        "epochs": options.epochs,
        "validation_share": options.validation_share,
    }


def _read(path: Path | None) -> list[Run]:
    if path is None or not path.exists():
        return []
    return [Run(**run) for run in json.loads(path.read_text())["figures"]["runs"]]


def _run_all(options: argparse.Namespace, boxes: int, seed: int, runs: list[Run], temporary: Path) -> list[Run]:
    """Goes the ways that are not gone yet with so many boxes; returns the old runs and the new."""
    done = {run.key: run for run in runs}
    ways = [way for way in options.ways if (options.data, way, boxes, seed) not in done]
    if not ways:
        return runs
    made = temporary / f"{options.data}_{seed}_{boxes}"
    _make_project(options, boxes, seed, made)
    for way in ways:
        model = done.get((options.data, AS_LONG_AS.get(way, ""), boxes, seed))
        if way in AS_LONG_AS and model is None:
            raise SystemExit(f"{way} trains as long as {AS_LONG_AS[way]} does, which is not there for {boxes} boxes")
        # Each way in a copy, since all use the same folders; nothing writes into a file that is there.
        copy = temporary / "copy"
        shutil.copytree(made, copy, copy_function=link)
        # Pretraining looks at no annotation, so that it is the same for any number of boxes.
        pretrained, kept = Project.open(copy).pretrained_network, temporary / f"{options.data}_{seed}_pretrained"
        is_kept = way in PRETRAINED and kept.exists()
        if is_kept:
            shutil.copytree(kept, pretrained)
        scored = SCORED if options.data == "demo" else [options.test]
        limit = model.seconds if model else 0.0
        figures = run_alone(measure, way=way, folder=str(copy), scored=scored, seconds=limit)
        if is_kept:
            figures["training pretrain"] = json.loads((kept / PRETRAINING_FILE).read_text())["seconds"]
            figures["steps"] += json.loads((kept / CARD_FILE).read_text())["steps"]
        elif way in PRETRAINED:
            shutil.copytree(pretrained, kept)
            write_json(kept / PRETRAINING_FILE, {"seconds": figures["training pretrain"]})
        shutil.rmtree(copy)
        run = _run(options, way, boxes, seed, figures)
        done[run.key] = run
        print(
            f"{run.data}, seed {seed}, {boxes} boxes, {way}: {run.mean:.3f}, worst {run.worst:.3f}; "
            f"{run.seconds:.0f} + {run.inference:.0f} s, {run.peak_bytes / 2**30:.1f} GiB",
            flush=True,
        )
        if options.json is not None:
            write_json(options.json, {"figures": {"runs": [asdict(run) for run in done.values()]}})
    shutil.rmtree(made)
    return list(done.values())


def _make_project(options: argparse.Namespace, boxes: int, seed: int, folder: Path) -> None:
    """Makes the annotated project."""
    if options.data == "demo":
        configuration = DEMO_CONFIGURATION.model_copy(update=DEMO_SETTINGS)
        plans = [plan for plan in DEMO_TOMOGRAMS if plan.role is not Role.TEST]
        write_demo_project(folder, seed, configuration, plans, (boxes - boxes // 4, boxes // 4))
    else:
        arguments = ["--annotate", options.train, "--boxes", boxes, "--seed", seed]
        subprocess.run([sys.executable, options.maker, folder, *map(str, arguments)], check=True)
    path = folder / CONFIGURATION_FILE
    configured = {**json.loads(path.read_text()), "seed": seed}
    if options.epochs is not None:
        configured["single_model_epochs"], configured["shared_model_epochs"] = options.epochs
    if options.validation_share is not None:
        configured["validation_share"] = options.validation_share
    write_json(path, configured)
    Project.open(folder)  # says what is wrong with it, if anything is


def _run(options: argparse.Namespace, way: str, boxes: int, seed: int, figures: Figures) -> Run:
    def part(prefix: str) -> dict[str, float]:
        return {name.removeprefix(prefix): value for name, value in figures.items() if name.startswith(prefix)}

    return Run(
        data=options.data,
        way=way,
        boxes=boxes,
        seed=seed,
        settings=_settings(options),
        dice=part("dice "),
        training=part("training "),
        inference=figures["inference"],
        calibration_error=figures.get("calibration error"),
        steps=round(figures["steps"]),
        threads=round(figures["threads"]),
        peak_bytes=round(figures["peak_bytes"]),
        machine=machine(),
        versions={**current_versions(), **{library: version(library) for library in LIBRARIES}},
    )


def _report(options: argparse.Namespace, wanted: list[Run], runs: list[Run]) -> None:
    ontologies = list(dict.fromkeys(ontology for run in wanted for ontology in run.dice))
    rows = []
    for boxes in options.boxes:
        for way in options.ways:
            same = [run for run in wanted if (run.way, run.boxes) == (way, boxes)]
            if not same:
                continue
            each = [[run.dice[ontology] for run in same if ontology in run.dice] for ontology in ontologies]
            errors = [run.calibration_error for run in same if run.calibration_error is not None]
            rows.append(
                [
                    f"{boxes}",
                    way,
                    f"{len(same)}",
                    summary([run.mean for run in same]),
                    summary([run.worst for run in same]),
                    summary(errors) if errors else "",
                    *(f"{sum(values) / len(values):.2f}" if values else "" for values in each),
                    f"{sum(run.seconds for run in same) / len(same):.0f}",
                    f"{sum(run.inference for run in same) / len(same):.0f}",
                ]
            )
    what = f"trained on {options.train}, scored on {options.test}" if options.data == "real" else "demo data"
    report(
        f"Dice, {what} (mean ± standard deviation over seeds)",
        [
            "boxes",
            "way",
            "seeds",
            "mean",
            "worst class",
            "calibration error",
            *ontologies,
            "training, s",
            "inference, s",
        ],
        rows,
        [
            "Boxes: of each ontology, "
            + ("in each of four tomograms, a quarter of them empty." if options.data == "demo" else "in one tomogram.")
            + " Worst class: of each seed its own.",
            "Seconds are those of the processor, all threads together.",
            "forest and design learn from all boxes; the others keep some to validate by, as configured.",
            f"design: as many seconds of steps as direct took in all; orientations when scored: {DESIGN_ORIENTATIONS}.",
        ],
        {"runs": [asdict(run) for run in runs]},
        options.json,
    )


if __name__ == "__main__":
    main()
