"""How far the work on all tomograms is, step by step, whoever does it; and the clearing of failures."""

import math
import statistics
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pom.errors import PomError
from pom.io.checkpoints import CARD_FILE
from pom.io.mrc import is_placeholder
from pom.io.volume_files import volume_status
from pom.jobs.claims import Claims, Holder
from pom.jobs.ledger import MOST_TRIES, Ledger, Record, Try, WorkerNote
from pom.project.names import did_you_mean, segmentation_file
from pom.project.paths import Project
from pom.workflow.begun_steps import Step, begun_steps, steps_with_jobs
from pom.workflow.freshness import modified
from pom.workflow.survey import LARGEST_PLACEHOLDER, survey_pretrained

if TYPE_CHECKING:
    from pom.jobs.slurm import SlurmJob

SECONDS_OF_RATE = 3600.0
"""What was done in this time before now tells how fast the work goes."""
SECONDS_BETWEEN_QUESTIONS = 30.0
MOST_UNLIKE = 10
"""So many of the tomograms that are unlike the training data are named."""
LATEST = 100
"""So many of the latest records tell how long one tomogram takes."""


@dataclass(frozen=True)
class Running:
    """A tomogram that a worker has. Times are in seconds since 1970.

    ``device`` is empty and ``since`` None where the worker has not written them down yet; ``expected_end`` is None
    also where no record tells how long a tomogram takes.
    """

    tomogram: str
    host: str
    device: str
    since: float | None
    expected_end: float | None


@dataclass(frozen=True)
class StepStatus:
    """How far one step is: waiting, running, done and failed add up to the total of tomograms.

    ``step``: ``shared``, ``single/Vesicle``, ``test/Vesicle``.
    ``running``: sorted by tomogram; one that is being made again counts here and not as done.
    ``failed``: the tries of each tomogram that failed too often to be tried again by itself.
    ``outdated``: how many of those done are of an older network.
    ``per_hour``: tomograms an hour, by all hosts together; None where none was done in the last hour.
    ``seconds_to_go``: 0 where nothing waits or runs, None where nobody works or nothing tells how fast.
    ``n_unlike``: how many of those done by the network that is there now are unlike its training data, with a score
    above 1.
    ``unlike``: those of them with the highest scores, from the highest down.
    """

    step: str
    total: int
    waiting: int
    running: tuple[Running, ...]
    done: int
    failed: Mapping[str, tuple[Try, ...]]
    outdated: int
    per_hour: float | None
    seconds_to_go: float | None
    n_unlike: int = 0
    unlike: Mapping[str, float] = field(default_factory=dict)


class StatusSurvey:
    """Looks at a project's work any number of times; a record is not read again while it stays the same."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._ledgers: dict[str, Ledger] = {}
        self._jobs: tuple[SlurmJob, ...] = ()
        self._asked_at = -math.inf

    def look(self) -> tuple[StepStatus, ...]:
        """The status of every step that was begun: shared, then the single ones, then their tests.

        Raises:
            PomError: a folder of the project cannot be read.
        """
        return tuple(self._status(step) for step in begun_steps(self._project))

    def jobs(self) -> "tuple[SlurmJob, ...]":
        """The jobs of this project that SLURM has not ended yet; many people share SLURM, so it is not asked often."""
        if not self._project.slurm_jobs.is_dir() or time.monotonic() - self._asked_at < SECONDS_BETWEEN_QUESTIONS:
            return self._jobs
        from pom.jobs.slurm import jobs

        self._jobs = tuple(job for job in jobs(self._project.slurm_jobs) if not job.over)
        self._asked_at = time.monotonic()
        return self._jobs

    def pretrained(self) -> int | None:
        """How many tomograms the weights are from that trainings begin with; None where there are none to begin with.

        What is wrong with them is for 'pom' and the trainings to say.
        """
        card = survey_pretrained(self._project, notes=[])
        return None if card is None else len(card.tomograms)

    def _status(self, step: Step) -> StepStatus:
        now = time.time()
        ledger = self._ledgers.setdefault(step.name, _ledger(self._project, step.name))
        holders = Claims(self._project.jobs(step.name) / "claims").holders()
        records = {record.tomogram: record for record in ledger.records()}
        finished = _finished(step, records)
        tomograms = set(step.tomograms)
        done = finished.keys() - holders.keys()
        undone = tomograms - done - holders.keys()
        failed = {
            name: tries for name, tries in ledger.failures().items() if name in undone and len(tries) >= MOST_TRIES
        }
        waiting = len(undone) - len(failed)
        outdated = sum(finished[name] for name in done)
        unlike = _unlike(records[name] for name in done if name in records and not finished[name])
        per_hour = _rate(records.values(), now)
        # Where an old output is being made again, the others will be too.
        to_do = waiting + len(holders) + (outdated if finished.keys() & holders.keys() else 0)
        return StepStatus(
            step=step.name,
            total=len(tomograms),
            waiting=waiting,
            running=_running(holders, ledger.workers(), _usual_seconds(records.values())),
            done=len(done),
            failed=failed,
            outdated=outdated,
            per_hour=per_hour,
            seconds_to_go=_seconds_to_go(to_do, per_hour, at_work=bool(holders)),
            n_unlike=len(unlike),
            unlike=dict(unlike[:MOST_UNLIKE]),
        )


def clear_failures(project: Project, names: Collection[str] = ()) -> dict[str, tuple[str, ...]]:
    """Forgets the failed tries of these tomograms, or without names of all, so that they are tried again.

    Returns:
        Per step the tomograms whose tries were forgotten, sorted; only steps with some.

    Raises:
        PomError: a name is neither a tomogram's nor that of a failure (the sentence names the nearest), and nothing
            was cleared; or a file cannot be removed.
    """
    ledgers = {step: _ledger(project, step) for step in steps_with_jobs(project)}
    failures = {step: ledger.failures() for step, ledger in ledgers.items()}
    if names:
        known = {*project.tomogram_names(), *project.test_names()}.union(*failures.values())
        for name in names:
            _require_known(name, known)
    cleared = {step: tuple(name for name in tries if not names or name in names) for step, tries in failures.items()}
    for step, tomograms in cleared.items():
        for name in tomograms:
            ledgers[step].forget(name)
    return {step: tomograms for step, tomograms in cleared.items() if tomograms}


def _require_known(name: str, known: Collection[str]) -> None:
    if name not in known:
        hint = did_you_mean(name, known)
        raise PomError(f"There is no tomogram {name!r}{hint}: give names without .mrc, or none to clear all failures.")


def _ledger(project: Project, step: str) -> Ledger:
    return Ledger(project.jobs(step), project.records(step))


def _finished(step: Step, records: Mapping[str, Record]) -> dict[str, bool]:
    """The tomograms with all outputs, and whether these are of an older network than the one that is there now.

    Of outputs with a record only the names are looked at, of others two files a tomogram: asking for each of
    10,000 x 21 files takes minutes on a network disk.
    """
    trained = modified(step.network / CARD_FILE) if step.card else None
    finished = {}
    for name in step.tomograms:
        files = [segmentation_file(name, output) for output in step.outputs]
        if not all(file in step.files for file in files):
            continue
        record = records.get(name)
        if record is not None:
            finished[name] = step.card is not None and record.network != step.card.weights_sha256
            continue
        times = [_written(step.folder / file) for file in {files[0], files[-1]}]
        if None not in times:
            finished[name] = trained is not None and any(time is not None and time < trained for time in times)
    return finished


def _written(path: Path) -> float | None:
    """When an output was written, in seconds since 1970; None where it is but a placeholder, or gone by now."""
    try:
        status = volume_status(path)
    except OSError:
        return None
    return None if status.st_size <= LARGEST_PLACEHOLDER and is_placeholder(path) else status.st_mtime


def _running(
    holders: Mapping[str, Holder], notes: Iterable[WorkerNote], usual_seconds: float | None
) -> tuple[Running, ...]:
    """Joins who has a tomogram with what that worker wrote down; a note on another tomogram is a past one."""
    # Places, since a host that was started again has the same numbers; earlier versions noted only the host.
    noted = {(note.place or note.host, note.pid, note.tomogram): note for note in notes}
    running = []
    for name, holder in sorted(holders.items()):
        note = noted.get((holder.place, holder.pid, name)) or noted.get((holder.host, holder.pid, name))
        end = note.since + usual_seconds if note and usual_seconds is not None else None
        running.append(Running(name, holder.host, note.device if note else "", note.since if note else None, end))
    return tuple(running)


def _unlike(records: Iterable[Record]) -> list[tuple[str, float]]:
    """The tomograms that are unlike the training data, and how much; from the highest score down."""
    scores = [(record.tomogram, record.unlike) for record in records if record.unlike is not None]
    return sorted((entry for entry in scores if entry[1] > 1.0), key=lambda entry: (-entry[1], entry[0]))


def _usual_seconds(records: Iterable[Record]) -> float | None:
    latest = sorted(records, key=lambda record: record.finished)[-LATEST:]
    return statistics.median(record.seconds for record in latest) if latest else None


def _rate(records: Iterable[Record], now: float) -> float | None:
    """Tomograms an hour; where the work began less than an hour ago, since then."""
    recent = [record for record in records if now - SECONDS_OF_RATE < record.finished]
    if not recent:
        return None
    begin = max(now - SECONDS_OF_RATE, min(record.started for record in recent))
    # Another host's clock may be ahead of this one's.
    end = max(now, *(record.finished for record in recent))
    return len(recent) * 3600.0 / max(end - begin, 1.0)


def _seconds_to_go(to_do: int, per_hour: float | None, *, at_work: bool) -> float | None:
    if to_do == 0:
        return 0.0
    return to_do / per_hour * 3600.0 if per_hour and at_work else None
