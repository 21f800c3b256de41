"""Sharing out tomograms among many workers: what claiming costs, and how long looking at everything takes.

The workers are real processes on one folder; a sleep takes the network's place. They are forked from this process and
wait until all are there; then they begin at the same moment, and time is taken from that moment on. So starting
Python counts nowhere.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Semaphore
from pathlib import Path

from pom.io.channels import Preprocessing
from pom.io.checkpoints import CARD_FILE, ModelCard, TrainingRecord
from pom.jobs.claims import Claims
from pom.jobs.ledger import Ledger, Record
from pom.jobs.worker import Identity, Listeners, Worker, from_own_place
from pom.networks.devices import Devices
from pom.project.configuration import Configuration
from pom.project.names import UNKNOWN, segmentation_file
from pom.project.paths import SHARED_STEP, Project
from pom.workflow.process_tomograms import process_tomograms
from pom.workflow.segmentation import Segmentation
from pom.workflow.status import StatusSurvey
from report import report

REAL_JOB = 2.0
"""Seconds that a network takes for a tomogram on a fast GPU; the overhead is compared with it."""
TARGET_SHARE = 0.05
TARGET_SECONDS = 2.0
N_ONTOLOGIES = 20
HEAD_START = 0.5
MILLI = 1e-3


@dataclass(frozen=True)
class Share:
    """What one worker did, in seconds."""

    gaps: list[float]
    """Before each job: since the one before it, or since the common start."""
    ended: float
    """When its last job ended, since the common start; what it waits for after that is nobody's loss."""
    in_jobs: float
    in_records: float
    """In writing the records, which every tomogram needs, however it was shared out."""
    processor: float


@dataclass(frozen=True)
class Sharing:
    """What all workers did together, in seconds; overhead and record are a worker's time per tomogram."""

    elapsed: float
    overhead: float
    median_overhead: float
    record: float
    processor: float
    idle_share: float

    @classmethod
    def of(cls, shares: list[Share]) -> "Sharing":
        """Adds up what the workers did."""
        gaps = [gap for share in shares for gap in share.gaps]
        n, elapsed = len(gaps), max(share.ended for share in shares)
        in_jobs = sum(share.in_jobs for share in shares)
        return cls(
            elapsed=elapsed,
            overhead=statistics.mean(gaps),
            median_overhead=statistics.median(gaps),
            record=sum(share.in_records for share in shares) / n,
            processor=sum(share.processor for share in shares) / n,
            idle_share=1.0 - in_jobs / (elapsed * len(shares)),
        )


class Sleep:
    """A worker's step that sleeps, and writes the record."""

    def __init__(self, ledger: Ledger, seconds: float) -> None:
        self._ledger = ledger
        self._seconds = seconds
        self.gaps: list[float] = []
        self.in_jobs = self.in_records = self.ended = 0.0

    def prepare(self) -> None:
        """Nothing."""

    def read(self, name: str) -> None:
        """Nothing."""

    def do(self, name: str, inputs: None, check: Callable[[], None]) -> None:
        """Sleeps; asks whether the claim still holds, as before an output appears; writes the record."""
        begun = time.monotonic()
        self.gaps.append(begun - self.ended)
        time.sleep(self._seconds)
        self.ended = time.monotonic()
        self.in_jobs += self.ended - begun
        check()
        begun = time.monotonic()
        self._ledger.write_record(record(name, self._seconds))
        self.in_records += time.monotonic() - begun

    def is_beyond_repair(self, error: Exception) -> bool:
        """Never."""
        return False


def record(name: str, seconds: float = 2.0, network: str = "network") -> Record:
    """The record of a tomogram, of about the size of a real one."""
    return Record(
        tomogram=name, step=SHARED_STEP, network=network, configuration="0" * 64, inputs={}, version="0", host="host",
        device="cpu", started=time.time() - seconds, seconds=seconds,
        outputs=tuple(segmentation_file(name, f"Ontology {number}") for number in range(N_ONTOLOGIES)),
    )  # fmt: skip


def worker(
    folder: Path, names: list[str], seconds: float, ready: Semaphore, start: Path, results: "SimpleQueue[Share]"
) -> None:
    """One process: waits for the file with the moment of the start, works, and hands over what it measured."""
    ledger, claims = Ledger(folder / "jobs", folder / "records"), Claims(folder / "jobs" / "claims")
    order = from_own_place(names, f"host {os.getpid()}")
    step = Sleep(ledger, seconds)
    listeners = Listeners(lambda name: None, lambda name, reason: None)
    ready.release()
    while not start.exists():
        time.sleep(0.05)
    moment = float(start.read_text())
    time.sleep(max(0.0, moment - time.monotonic()))
    step.ended, processor = moment, time.process_time()
    Worker(step, dict.fromkeys(order), claims, ledger, Identity("cpu"), listeners).work()
    claims.close()
    processor = time.process_time() - processor
    results.put(Share(step.gaps, step.ended - moment, step.in_jobs, step.in_records, processor))


def share_out(folder: Path, n_tomograms: int, n_workers: int, seconds: float) -> Sharing:
    """Lets workers do tomograms of ``seconds`` each.

    Raises:
        RuntimeError: a tomogram was not done exactly once.
    """
    context = multiprocessing.get_context("fork")
    ready, start, results = context.Semaphore(0), folder / "start", context.SimpleQueue()
    names = [f"TS_{number:05}" for number in range(n_tomograms)]
    arguments = (folder, names, seconds, ready, start, results)
    processes = [context.Process(target=worker, args=arguments, daemon=True) for _ in range(n_workers)]
    for process in processes:
        process.start()
    for _ in processes:
        ready.acquire()
    moment = folder / "moment"
    moment.write_text(str(time.monotonic() + HEAD_START))
    moment.rename(start)
    shares = [results.get() for _ in processes]
    for process in processes:
        process.join()
    recorded = Ledger(folder / "jobs", folder / "records").recorded()
    if sum(len(share.gaps) for share in shares) != n_tomograms or recorded != set(names):
        raise RuntimeError("Not every tomogram was done exactly once.")
    return Sharing.of(shares)


def survey(folder: Path, n_tomograms: int) -> dict[str, float]:
    """Seconds of looking at a project with all tomograms done, by what looks.

    ``status``: ``pom status``; ``again``: its next look with ``--watch``; ``process``: ``pom shared process`` up to
    the first tomogram, of which there is none to do.
    """
    project = Project(folder, Configuration(ontologies=tuple(f"Ontology {number}" for number in range(N_ONTOLOGIES))))
    _fill(project, [f"TS_{number:05}" for number in range(n_tomograms)])
    look = StatusSurvey(project).look
    seconds = {"status": _timed(look), "again": _timed(look)}
    segmentation = Segmentation.joint(project)
    seconds["process"] = _timed(lambda: process_tomograms(segmentation, Devices()))
    return seconds


def _timed(function: Callable[[], object]) -> float:
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def _fill(project: Project, names: list[str]) -> None:
    """Makes a project whose files have names and records but no content."""
    card = _card((*project.ontologies, UNKNOWN))
    records, network = project.records(SHARED_STEP), project.joint_network
    for folder in (project.tomogram_dir, project.output_dir, records, project.jobs(SHARED_STEP), network):
        folder.mkdir(parents=True, exist_ok=True)
    (network / CARD_FILE).write_text(card.model_dump_json())
    text = record("NAME", network=card.weights_sha256).model_dump_json(indent=2)
    outputs = project.output_dir
    for name in names:
        project.tomogram(name).touch()
        for output in card.outputs:
            os.close(os.open(f"{outputs}/{segmentation_file(name, output)}", os.O_CREAT))
        (records / f"{name}.json").write_text(text.replace("NAME", name))


def _card(outputs: tuple[str, ...]) -> ModelCard:
    training = TrainingRecord(
        tomograms=("TS_00000",), validation_tomograms=(), patches=1, validation_patches=0, counterexamples=0,
        held_out="nothing", epochs=1, batch_size=1, learning_rate=0.1, precision="float32", seed=0, seconds=1.0,
        started_from="",
    )  # fmt: skip
    return ModelCard(
        kind="joint", outputs=outputs, pixel_size=10.0, architecture="UNet", widths=(8, 8, 8),
        preprocessing=Preprocessing(channels=("Density",), z_sum=1, binning=(2, 2, 2)),
        weights_sha256="0" * 64, training=training, validation={}, versions={}, created="",
    )  # fmt: skip


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--tomograms", type=int, default=2000, help="to share out")
    parser.add_argument("--workers", type=int, default=100, help="processes")
    parser.add_argument("--jobs", type=float, nargs="+", default=(0.02, REAL_JOB), help="seconds of one, in turn")
    parser.add_argument("--listed", type=int, default=10_000, help="tomograms to look at")
    parser.add_argument("--folder", type=Path, help="where the temporary files go, such as on a network disk")
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()
    sharings: dict[float, Sharing] = {}
    for seconds in options.jobs:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            sharings[seconds] = share_out(Path(folder), options.tomograms, options.workers, seconds)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        looks = survey(Path(folder), options.listed)
    notes = [
        "Overhead: a worker's time between two jobs, or between the common start and its first job, mean and median; "
        "record: the part of it in which the record is written; processor: the processor time of a tomogram. Target: "
        f"a mean below {100 * TARGET_SHARE:.0f} % of a job of {REAL_JOB:g} s.",
        "Idle: the share of all workers' time, from the common start until the last tomogram was done, that was not "
        "in a job; the wait of those who find nothing more at the end is part of it.",
        f"{options.workers} workers ask for {options.workers / REAL_JOB:.0f} tomograms a second with jobs of "
        f"{REAL_JOB:g} s, all on this one machine; with shorter jobs they wait for its processors.",
        f"{options.listed} tomograms of {N_ONTOLOGIES + 1} outputs, all done: pom status {looks['status']:.2f} s, its "
        f"next look {looks['again']:.2f} s, pom shared process with nothing to do {looks['process']:.2f} s; "
        f"target {TARGET_SECONDS:g} s.",
    ]
    figures = {"sharing": {str(key): vars(value) for key, value in sharings.items()}, "seconds": looks}
    report(
        f"{options.tomograms} tomograms shared out among {options.workers} workers",
        ["job", "in all, s", "overhead, ms", "median, ms", "record, ms", "processor, ms", f"of {REAL_JOB:g} s", "idle"],
        [_row(seconds, sharing) for seconds, sharing in sharings.items()],
        notes,
        figures,
        options.json,
    )


def _row(seconds: float, sharing: Sharing) -> list[str]:
    parts = (sharing.overhead, sharing.median_overhead, sharing.record, sharing.processor)
    milliseconds = [f"{each / MILLI:.1f}" for each in parts]
    return [
        f"{seconds:g} s", f"{sharing.elapsed:.1f}", *milliseconds, f"{100 * sharing.overhead / REAL_JOB:.1f} %",
        f"{100 * sharing.idle_share:.1f} %",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
