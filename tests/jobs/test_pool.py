"""The pool with real processes, which die, hang and stop in the middle of their work."""

import importlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from pom.errors import PomError
from pom.jobs import pool as pool_module
from pom.jobs.claims import Claims
from pom.jobs.ledger import MOST_TRIES, Ledger
from pom.jobs.pool import MOST_DEATHS, Message, Pool, Slot

HERE = Path(__file__).parent
NAMES = ("TS_1", "TS_2", "TS_3", "TS_4")
CPU = Slot(0)
TWO = (Slot(0), Slot(1))
LONG = 20.0
"""Seconds in which everything but a job that never ends is over, on a busy machine."""

# Ctrl-C reaches the processes of a terminal all at once, so this pool has a process group of its own.
IN_A_TERMINAL = """\
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import workers_without_network as workers
from pom.jobs.claims import Claims
from pom.jobs.pool import Pool, Slot

if __name__ == "__main__":
    folder = Path(sys.argv[2])
    order = workers.Order(folder, ["TS_1", "TS_2", "TS_3", "TS_4"], seconds=float(sys.argv[3]))
    claims = Claims(folder / "jobs" / "claims")
    ledger = workers.ledger_in(folder)
    try:
        Pool(workers.run, order, [Slot(0), Slot(1)], claims, ledger, lambda message: None).work()
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of the workers, under a name by which their processes find it too."""
    monkeypatch.syspath_prepend(str(HERE))
    return importlib.import_module("workers_without_network")


@pytest.fixture
def ledger(workers: ModuleType, tmp_path: Path) -> Ledger:
    ledger: Ledger = workers.ledger_in(tmp_path)
    return ledger


@pytest.fixture
def claims(tmp_path: Path) -> Iterator[Claims]:
    claims = Claims(tmp_path / "jobs" / "claims")
    yield claims
    claims.close()


class Run:
    """A pool at work in ``tmp_path``: what it told, and which processes it had."""

    def __init__(self, workers: ModuleType, folder: Path, claims: Claims, ledger: Ledger) -> None:
        self._workers, self._folder, self._claims, self._ledger = workers, folder, claims, ledger
        self.heard: list[Message] = []

    def __call__(
        self, slots: Sequence[Slot] = (CPU,), names: Sequence[str] = NAMES,
        look: Callable[[], None] = lambda: None, **order: object,
    ) -> None:  # fmt: skip
        whole = self._workers.Order(self._folder, names, **order)
        Pool(self._workers.run, whole, slots, self._claims, self._ledger, self.heard.append).work(look)

    def told(self, kind: str) -> list[str]:
        return sorted(message.tomogram for message in self.heard if message.kind == kind)

    def lines(self, file: str) -> list[str]:
        return (self._folder / file).read_text().split()

    def nothing_is_left(self) -> bool:
        """No process, no claim, no note, no file half written."""
        assert multiprocessing.active_children() == []
        assert not any(is_running(int(pid)) for pid in self.lines("pids.txt"))
        assert (self._claims.holders(), self._ledger.workers()) == ({}, [])
        assert list((self._folder / "jobs" / "claims").iterdir()) == []
        return True


@pytest.fixture
def run(workers: ModuleType, tmp_path: Path, claims: Claims, ledger: Ledger) -> Run:
    return Run(workers, tmp_path, claims, ledger)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def interrupt_when(condition: Callable[[], bool]) -> Callable[[], None]:
    def look() -> None:
        if condition():
            raise KeyboardInterrupt

    return look


def test_two_workers_do_all_and_are_heard(run: Run, workers: ModuleType, ledger: Ledger, tmp_path: Path) -> None:
    run(TWO)
    assert run.told("done") == sorted(NAMES) == sorted(run.lines("done.txt"))
    assert {message.text for message in run.heard if message.kind == "warning"} == {
        "Worker 0 begins.", "Worker 1 begins."
    }  # fmt: skip
    assert [workers.output(tmp_path, name).read_text() for name in NAMES] == [workers.content(name) for name in NAMES]
    assert run.nothing_is_left()


def test_a_failure_is_heard(run: Run, workers: ModuleType, ledger: Ledger) -> None:
    run(fault=workers.fail_in_ts_2)
    assert run.heard[-1] == Message("failed", "TS_2", workers.TOLD_TO_FAIL)
    assert run.told("done") == ["TS_1", "TS_3", "TS_4"]
    assert len(ledger.tries("TS_2")) == MOST_TRIES
    assert run.nothing_is_left()


def test_a_killed_worker_is_replaced_and_its_tomogram_goes_back(
    run: Run, workers: ModuleType, ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(fault=workers.die_once)
    assert run.told("done") == sorted(NAMES)
    first, second = run.lines("pids.txt")
    (attempt,) = json.loads((tmp_path / "tries.json").read_text())["tries"]  # as its next worker found it
    assert attempt["reason"] == "The worker that had it ended with SIGKILL, perhaps for want of memory."
    assert (attempt["log"], attempt["device"]) == (f"{first}.log", "cpu")
    assert attempt["seconds"] >= 0.0
    assert ledger.failures() == {}
    assert caplog.messages == [
        "A worker on cpu ended with SIGKILL, perhaps for want of memory; another takes its place."
    ]
    assert first != second
    assert run.nothing_is_left()


@pytest.mark.parametrize("names", [NAMES, ("TS_2", "TS_1"), ("TS_2",)])
def test_a_tomogram_that_kills_every_worker_fails_and_the_others_are_done(
    run: Run, workers: ModuleType, ledger: Ledger, names: Sequence[str]
) -> None:
    run(names=names, fault=workers.die_in_ts_2)
    others = sorted({*names} - {"TS_2"})
    assert (run.told("done"), run.told("failed")) == (others, ["TS_2"])
    reason = "The worker that had it ended with SIGKILL, perhaps for want of memory."
    assert Message("failed", "TS_2", reason) in run.heard
    assert len(ledger.tries("TS_2")) == MOST_TRIES
    assert run.lines("began.txt").count("TS_2") == MOST_TRIES
    assert run.nothing_is_left()


def test_workers_that_die_at_the_start_stop_the_pool(run: Run, workers: ModuleType, ledger: Ledger) -> None:
    with pytest.raises(PomError) as error:
        run(at_start=workers.leave)
    assert str(error.value).startswith("Workers on cpu end before they have done anything, with exit status 3: see")
    assert len(run.lines("pids.txt")) == MOST_DEATHS
    assert ledger.failures() == {}


def test_a_slot_whose_workers_die_at_the_start_leaves_the_work_to_the_others(
    run: Run, workers: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(PomError, match="before they have done anything"):
        run(TWO, at_start=workers.leave_slot_0, fault=workers.outlast_three_deaths)
    assert run.told("done") == sorted(NAMES)
    assert caplog.messages[-1].endswith("The others go on.")
    assert run.nothing_is_left()


def test_a_device_that_kills_workers_does_not_spoil_all_tomograms(
    run: Run, workers: ModuleType, ledger: Ledger
) -> None:
    """Whatever it is given: the deaths are not the tomograms' fault."""
    names = [f"TS_{number}" for number in range(20)]
    with pytest.raises(PomError, match="before they have done anything"):
        run(names=names, fault=workers.die)
    assert sum(len(tries) for tries in ledger.failures().values()) < len(names)
    assert run.nothing_is_left()


def test_a_full_disk_stops_all_workers(run: Run, workers: ModuleType, ledger: Ledger) -> None:
    begin = time.monotonic()
    with pytest.raises(PomError) as error:
        run(TWO, fault=workers.fill_disk_in_ts_2)
    assert str(error.value) == workers.FULL_DISK
    assert time.monotonic() - begin < LONG
    assert ledger.failures() == {}
    assert run.nothing_is_left()


def test_an_interruption_ends_all_workers(run: Run, workers: ModuleType, claims: Claims, ledger: Ledger) -> None:
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(TWO, fault=workers.stay, look=interrupt_when(lambda: len(claims.holders()) == 2))
    assert time.monotonic() - begin < LONG
    assert ledger.failures() == {}
    assert run.nothing_is_left()


def test_a_worker_that_does_not_listen_is_killed(
    run: Run, workers: ModuleType, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "SECONDS_TO_LEAVE", 0.5)
    with pytest.raises(KeyboardInterrupt):
        run(fault=workers.do_not_listen, look=interrupt_when(lambda: len(claims.holders()) == 1))
    assert run.nothing_is_left()


@pytest.fixture
def in_a_terminal(tmp_path: Path, claims: Claims) -> Iterator[Callable[[float], subprocess.Popen[str]]]:
    """Starts a pool with jobs of so many seconds in a process of its own; two of them are being done."""
    started: list[subprocess.Popen[str]] = []

    def start(seconds: float) -> subprocess.Popen[str]:
        script = tmp_path / "script.py"
        script.write_text(IN_A_TERMINAL)
        command = [sys.executable, str(script), str(HERE), str(tmp_path), str(seconds)]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True))
        until(lambda: len(claims.holders()) == 2)
        return started[0]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_ctrl_c_in_a_terminal_reaches_all_at_once(
    run: Run, in_a_terminal: Callable[[float], subprocess.Popen[str]]
) -> None:
    """And the workers are told once more by the pool, in the middle of letting go."""
    process = in_a_terminal(60.0)
    os.killpg(process.pid, signal.SIGINT)
    begin = time.monotonic()
    said, _ = process.communicate(timeout=LONG)
    assert time.monotonic() - begin < pool_module.SECONDS_TO_LEAVE / 2
    assert (said, process.returncode) == ("interrupted\n", 0)
    assert run.nothing_is_left()


def test_workers_whose_pool_was_killed_end_after_what_they_have(
    run: Run, in_a_terminal: Callable[[float], subprocess.Popen[str]]
) -> None:
    process = in_a_terminal(1.0)
    process.kill()
    process.wait()
    until(lambda: not any(is_running(int(pid)) for pid in run.lines("pids.txt")))
    assert sorted(run.lines("done.txt")) == sorted(set(run.lines("began.txt")))
    assert len(run.lines("done.txt")) == 2
    assert run.nothing_is_left()
