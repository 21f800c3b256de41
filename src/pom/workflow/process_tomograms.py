"""A network over all tomograms that wait for it: in this process, or in worker processes beside others' elsewhere."""

import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pom.errors import PomError
from pom.io.mrc import is_placeholder
from pom.io.volume_files import stored_at
from pom.jobs.ledger import MOST_TRIES, Ledger
from pom.jobs.pool import Message, Pool, Slot
from pom.jobs.signals import interrupted_once
from pom.jobs.worker import Identity, Listeners, Worker
from pom.networks.devices import Devices
from pom.progress import Progress
from pom.words import counted
from pom.workflow.freshness import count_older, modified
from pom.workflow.segmentation import Segmentation
from pom.workflow.segmented import list_outputs
from pom.workflow.worker_process import Order, run_worker

log = logging.getLogger(__name__)

SECONDS_BETWEEN_COUNTS = 10.0


@dataclass(frozen=True)
class Redo:
    """Which outputs are made again though they are there."""

    before: float | None = None
    """Those that were written before this moment, in seconds since 1970."""
    outdated: bool = False
    """Those that an older network made than the one that is there now."""

    @classmethod
    def everything(cls) -> "Redo":
        """All that is there now."""
        return cls(before=time.time())


NOTHING = Redo()


@dataclass
class ProcessReport:
    """What became of the tomograms, by whichever worker."""

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """Their outputs were there."""
    failed: dict[str, str] = field(default_factory=dict)
    """Name to reason."""


def slots_for(devices: Devices, workers: int | None) -> list[Slot]:
    """One worker per GPU; without a GPU one with all threads, or ``workers`` that divide them.

    Raises:
        PomError: ``workers`` was given though GPUs are used.
    """
    if devices.gpus:
        if workers is not None:
            raise PomError("--workers divides the CPU, but GPUs are used here: leave it out, or give -gpus -1 too.")
        return [Slot(number, gpu) for number, gpu in enumerate(devices.gpus)]
    if workers is None:
        return [Slot(0)]
    # What this process may use, which on a shared server or in a SLURM job is less than what is there.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [Slot(number, threads=max(1, cores // workers)) for number in range(workers)]


def process_tomograms(
    segmentation: Segmentation, devices: Devices, slots: Sequence[Slot] | None = None, redo: Redo = NOTHING
) -> ProcessReport:
    """Segments the tomograms that have no outputs yet, together with whoever else does at the same time.

    Args:
        segmentation: which network, and which tomograms.
        devices: where to work in this process; the first GPU is used.
        slots: worker processes to start instead.
        redo: which tomograms to do again.

    Raises:
        PomError: no network, no tomograms, or something that stops every worker, such as a full disk.
    """
    ledger = segmentation.ledger
    report = ProcessReport()
    _forget_mended(segmentation, ledger)
    waiting = dict(_waiting(segmentation, ledger, redo, report))
    n_failed = sum(name in waiting and len(tries) >= MOST_TRIES for name, tries in ledger.failures().items())
    with Progress(segmentation.step, len(waiting) + len(report.skipped)) as progress:
        progress.show(len(report.skipped))
        if len(waiting) > n_failed:
            # A batch system ends a job by SIGTERM; then too the workers are to let go of what they have.
            with interrupted_once():
                listeners = Listeners(lambda _: progress.advance(), partial(_tell_of_failure, ledger, report))
                if slots is None:
                    _work_here(segmentation, ledger, devices, waiting, listeners)
                else:
                    others = _Others(ledger, waiting, len(report.skipped), progress)
                    _work_in_processes(segmentation, ledger, slots, waiting, listeners, others)
    failures = ledger.failures()
    for name, before in waiting.items():
        if ledger.finished_at(name) != before:
            report.done.append(name)
            report.failed.pop(name, None)
        elif len(tries := failures.get(name, ())) >= MOST_TRIES:
            report.failed[name] = tries[-1].reason
    return report


def _waiting(
    segmentation: Segmentation, ledger: Ledger, redo: Redo, report: ProcessReport
) -> Iterator[tuple[str, float | None]]:
    """The tomograms to do, each with when its record was written, if there is one; the others go to the report."""
    names = segmentation.names()
    records = {record.tomogram: record for record in ledger.records()}
    there, endings = list_outputs(segmentation.folder), segmentation.endings
    n_older = 0
    for name in names:
        # By the names alone where that will do: 10,000 tomograms have 210,000 outputs.
        whole, older, record = all(f"{name}{ending}" in there for ending in endings), False, records.get(name)
        outputs = segmentation.outputs(name).values() if whole and (record is None or redo.before is not None) else ()
        if whole and record is not None:
            older = record.network != segmentation.card.weights_sha256
        elif whole:
            whole = not any(is_placeholder(path) for path in outputs)
            older = bool(count_older(outputs, segmentation.network))
        if not whole or (redo.outdated and older) or _any_before(outputs, redo.before):
            yield name, ledger.finished_at(name)
        else:
            report.skipped.append(name)
            n_older += older
    if n_older:
        were = counted(n_older, "tomogram was", "tomograms were")
        log.warning("%s segmented by an older network; --outdated makes such outputs again.", were)


def _any_before(outputs: Iterable[Path], moment: float | None) -> bool:
    return moment is not None and any((modified(stored_at(path)) or 0.0) < moment for path in outputs)


def _forget_mended(segmentation: Segmentation, ledger: Ledger) -> None:
    """Lets tomograms be tried again whose files were changed since they failed."""
    for name, tries in ledger.failures().items():
        last = tries[-1].started
        changes = (_changed(path) for path in segmentation.inputs(name).values())
        if any(change is not None and change > last for change in changes):
            ledger.forget(name)


def _changed(path: Path) -> float | None:
    """When a file was written, or came to lie where it is, in seconds since 1970."""
    try:
        found = path.stat()
    except OSError:
        return None
    return max(found.st_mtime, found.st_ctime)


def _work_here(
    segmentation: Segmentation,
    ledger: Ledger,
    devices: Devices,
    waiting: Mapping[str, float | None],
    listeners: Listeners,
) -> None:
    from pom.workflow.segment_tomogram import SegmentTomogram

    step = SegmentTomogram(segmentation, devices)
    claims = segmentation.claims
    try:
        Worker(step, waiting, claims, ledger, Identity(devices.first), listeners).work()
    finally:
        claims.close()


def _work_in_processes(
    segmentation: Segmentation,
    ledger: Ledger,
    slots: Sequence[Slot],
    waiting: Mapping[str, float | None],
    listeners: Listeners,
    others: "_Others",
) -> None:
    def hear(message: Message) -> None:
        if message.kind == "done":
            listeners.done(message.tomogram)
        elif message.kind == "failed":
            listeners.failed(message.tomogram, message.text)
        else:
            log.warning("%s", message.text)

    claims = segmentation.claims
    try:
        Pool(run_worker, Order(segmentation, waiting), slots, claims, ledger, hear).work(look=others.count)
    finally:
        claims.close()


class _Others:
    """Counts what the workers of other commands and machines have done, so that progress is that of the project."""

    def __init__(self, ledger: Ledger, waiting: Mapping[str, float | None], n_skipped: int, progress: Progress) -> None:
        self._ledger = ledger
        # What is done again has its record already, and cannot be told from what waits by its name.
        self._new = {name for name, before in waiting.items() if before is None}
        self._n_skipped = n_skipped
        self._progress = progress
        self._counted_at = time.monotonic()

    def count(self) -> None:
        """Shows what is done by now; it lists a folder, and so does that rarely."""
        now = time.monotonic()
        if now - self._counted_at > SECONDS_BETWEEN_COUNTS:
            self._counted_at = now
            self._progress.show(self._n_skipped + len(self._new & self._ledger.recorded()))


def _tell_of_failure(ledger: Ledger, report: ProcessReport, name: str, reason: str) -> None:
    report.failed[name] = reason  # the ledger, asked at the end, may have no file for such a name
    log.warning("%s failed: %s", name, reason)
    log.debug("Traceback of %s:\n%s", name, "".join(attempt.traceback for attempt in ledger.tries(name)[-1:]))
