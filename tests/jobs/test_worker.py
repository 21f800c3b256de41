"""The loop of a worker: what it does in which order, whatever else happens in the same folder."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pom.errors import DiskError, PomError
from pom.jobs import worker as worker_module
from pom.jobs.claims import Claims
from pom.jobs.ledger import MOST_TRIES, Ledger, Record, Try
from pom.jobs.worker import Identity, Listeners, Worker, WorkerBroken, from_own_place

SECONDS = 20.0
NAMES = ["TS_1", "TS_2", "TS_3", "TS_4"]


class Recording:
    """A step that writes a record and nothing else, unless it is told to fail."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.read_names: list[str] = []
        self.done_names: list[str] = []
        self.faults: dict[str, list[Exception]] = {}
        self.on_do: Callable[[str], None] = lambda _: None
        self.broken: type[Exception] | None = None

    def prepare(self) -> None:
        pass

    def read(self, name: str) -> str:
        self.read_names.append(name)
        return f"input of {name}"

    def do(self, name: str, inputs: Any, check: Callable[[], None]) -> None:
        assert inputs == f"input of {name}"
        self.on_do(name)
        if self.faults.get(name):
            raise self.faults[name].pop(0)
        check()
        self.ledger.write_record(record(name))
        self.done_names.append(name)

    def is_beyond_repair(self, error: Exception) -> bool:
        return self.broken is not None and isinstance(error, self.broken)


def record(name: str) -> Record:
    return Record(
        tomogram=name, step="shared", network="", configuration="", inputs={}, version="", host="", device="cpu",
        started=0.0, seconds=1.0, outputs=(),
    )  # fmt: skip


def attempt(reason: str = "It failed.") -> Try:
    return Try(host="a", device="cpu", started=0.0, seconds=1.0, reason=reason, traceback="", log="")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "SECONDS_BETWEEN_LOOKS", 0.05)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "jobs", tmp_path / "records")


@pytest.fixture
def claims(tmp_path: Path) -> Iterator[Claims]:
    """With claims that a dead owner loses soon."""
    claims = Claims(tmp_path / "jobs" / "claims", lifetime=2.0)
    yield claims
    claims.close()


@pytest.fixture
def step(ledger: Ledger) -> Recording:
    return Recording(ledger)


class Heard:
    """What a worker told."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.failed: dict[str, str] = {}


def work(step: Recording, claims: Claims, names: list[str] = NAMES) -> Heard:
    heard = Heard()
    listeners = Listeners(heard.done.append, heard.failed.__setitem__)
    waiting = {name: step.ledger.finished_at(name) for name in names}
    Worker(step, waiting, claims, step.ledger, Identity("cpu"), listeners).work()
    return heard


def test_each_is_done_once_in_order(step: Recording, claims: Claims) -> None:
    heard = work(step, claims)
    assert step.done_names == heard.done == NAMES
    assert (heard.failed, claims.holders(), step.ledger.workers()) == ({}, {}, [])


def test_no_names(step: Recording, claims: Claims) -> None:
    assert work(step, claims, []).done == []


def test_the_next_one_alone_is_read_ahead(step: Recording, claims: Claims) -> None:
    """While one is done the next is read, but no more, so that memory holds two at most."""
    done: list[str] = []

    def look(name: str) -> None:
        following = NAMES[: NAMES.index(name) + 2]
        for _ in range(200):
            if step.read_names == following:
                break
            threading.Event().wait(0.01)
        assert step.read_names == following
        done.append(name)

    step.on_do = look
    work(step, claims)
    assert done == NAMES


def test_what_others_have_is_left_to_them_and_waited_for(step: Recording, claims: Claims, tmp_path: Path) -> None:
    other = Claims(tmp_path / "jobs" / "claims", lifetime=2.0)
    held = other.take("TS_1")
    assert held is not None

    def finish_elsewhere() -> None:
        step.ledger.write_record(record("TS_1"))
        held.release()

    def finish(name: str) -> None:
        if name == "TS_4":
            threading.Timer(0.5, finish_elsewhere).start()

    step.on_do = finish
    assert work(step, claims).done == ["TS_2", "TS_3", "TS_4"]
    other.close()


def test_what_a_dead_worker_had_is_done(step: Recording, claims: Claims, tmp_path: Path) -> None:
    """Its owner gives no sign of life any more; its claim expires while this worker waits for it."""
    other = Claims(tmp_path / "jobs" / "claims", lifetime=2.0)
    held = other.take("TS_2")
    assert held is not None
    other._closing.set()  # the thread that keeps it alive ends
    assert work(step, claims).done == ["TS_1", "TS_3", "TS_4", "TS_2"]
    with pytest.raises(PomError):
        held.check()


def test_what_was_done_before_is_done_again_only_once(step: Recording, claims: Claims) -> None:
    """A record from before the work does not settle a tomogram, one from since does."""
    for name in NAMES:
        step.ledger.write_record(record(name))

    def beside(name: str) -> None:
        if name == "TS_1":
            step.ledger.write_record(record("TS_3"))

    step.on_do = beside
    assert work(step, claims).done == ["TS_1", "TS_2", "TS_4"]


def test_a_failure_is_tried_again_at_the_end(step: Recording, claims: Claims) -> None:
    step.faults["TS_2"] = [PomError("Not now.")]
    heard = work(step, claims)
    assert heard.done == ["TS_1", "TS_3", "TS_4", "TS_2"]
    assert heard.failed == {}
    assert step.ledger.failures() == {}


def test_after_three_tries_it_has_failed(step: Recording, claims: Claims) -> None:
    step.faults["TS_2"] = [ZeroDivisionError("here\nand there"), MemoryError(), PomError("TS_2.mrc is cut short.")]
    heard = work(step, claims)
    assert heard.done == ["TS_1", "TS_3", "TS_4"]
    assert heard.failed == {"TS_2": "TS_2.mrc is cut short."}
    tries = step.ledger.tries("TS_2")
    reasons = ["ZeroDivisionError: here", "MemoryError", "TS_2.mrc is cut short."]
    assert [one.reason for one in tries] == reasons
    assert "ZeroDivisionError: here\nand there" in tries[0].traceback
    assert work(step, claims, ["TS_2"]).done == []


def test_a_fault_of_reading_is_a_failure_too(step: Recording, claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(name: str) -> str:
        raise PomError(f"{name}.mrc is empty.")

    monkeypatch.setattr(step, "read", read)
    assert work(step, claims, ["TS_1"]).failed == {"TS_1": "TS_1.mrc is empty."}


def test_tries_of_other_workers_count(step: Recording, claims: Claims) -> None:
    for _ in range(MOST_TRIES - 1):
        step.ledger.add_try("TS_3", attempt())
    step.faults["TS_3"] = [PomError("Once more."), PomError("Never.")]
    assert work(step, claims).failed == {"TS_3": "Once more."}


def test_a_full_disk_stops_the_worker_and_is_nobodys_failure(step: Recording, claims: Claims) -> None:
    step.faults["TS_2"] = [DiskError("The disk is full.")]
    with pytest.raises(DiskError):
        work(step, claims)
    assert step.done_names == ["TS_1"]
    assert (step.ledger.failures(), claims.holders(), step.ledger.workers()) == ({}, {}, [])
    assert work(step, claims).done == ["TS_1", "TS_2", "TS_3", "TS_4"]


def test_a_broken_process_notes_the_failure_and_ends(step: Recording, claims: Claims) -> None:
    step.faults["TS_2"] = [ArithmeticError("CUDA error")]
    step.broken = ArithmeticError
    with pytest.raises(WorkerBroken, match="CUDA error"):
        work(step, claims)
    assert [one.reason for one in step.ledger.tries("TS_2")] == ["ArithmeticError: CUDA error"]
    assert claims.holders() == {}


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_worker_lets_go(step: Recording, claims: Claims, interruption: type[BaseException]) -> None:
    def interrupt(name: str) -> None:
        if name == "TS_2":
            raise interruption

    step.on_do = interrupt
    with pytest.raises(interruption):
        work(step, claims)
    assert (claims.holders(), step.ledger.workers(), step.ledger.failures()) == ({}, [], {})


def test_a_lost_claim_is_left_to_the_new_owner(step: Recording, claims: Claims, tmp_path: Path) -> None:
    """Another worker takes it over and does it while this one is in the middle."""
    lock = tmp_path / "jobs" / "claims" / "TS_2.lock"

    def lose(name: str) -> None:
        if name == "TS_2" and lock.exists():
            for path in lock.parent.glob("TS_2.lock*"):
                path.unlink()
            step.ledger.write_record(record("TS_2"))

    step.on_do = lose
    assert work(step, claims).done == ["TS_1", "TS_3", "TS_4"]
    assert step.done_names == ["TS_1", "TS_3", "TS_4"]


def test_a_name_that_no_file_can_bear_fails_alone_and_once(step: Recording, claims: Claims) -> None:
    # Such names are left out where tomograms are listed, but no worker may end by one.
    long, not_text = "x" * 245, "TS_\udce9"
    heard = work(step, claims, [long, "TS_1", not_text, "TS_2"])
    assert heard.done == ["TS_1", "TS_2"]
    assert set(heard.failed) == {long, not_text}
    assert "File name too long" in heard.failed[long]
    assert "UnicodeEncodeError" in heard.failed[not_text]
    assert claims.holders() == {}
    # Nor by one that leaves no room for the endings of lock and record, which are looked for again the next time.
    longest = "x" * 251
    heard = work(step, claims, [longest, "TS_3"])
    assert heard.done == ["TS_3"]
    assert "File name too long" in heard.failed[longest]


def test_workers_begin_at_places_of_their_own() -> None:
    names = [f"TS_{number:03}" for number in range(100)]
    firsts = {from_own_place(names, f"host {number}")[0] for number in range(100)}
    assert len(firsts) > 50
    for number in range(3):
        assert sorted(from_own_place(names, f"host {number}")) == names
    assert from_own_place([], "host") == []
