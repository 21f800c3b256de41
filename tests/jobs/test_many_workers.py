"""Many workers on one folder: real processes that start together, die at any moment, and have clocks of their own."""

import json
import os
import random
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pom.jobs.claims import Claims
from pom.jobs.ledger import Ledger

SCRIPT = Path(__file__).parent / "workers_without_network.py"
PATIENCE = 60.0
"""Seconds for one answer, on a busy machine."""
ROUNDS = 20


class Process:
    """One worker, which does what it is told round after round, until it is killed."""

    def __init__(self, host: str | None = None) -> None:
        command = [sys.executable, str(SCRIPT), *([host] if host else [])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pid = self._process.pid

    def order(self, folder: Path, names: Sequence[str], seconds: float, **more: float) -> None:
        assert self._process.stdin is not None
        arguments = {"folder": str(folder), "names": names, "seconds": seconds, **more}
        self._process.stdin.write(f"{json.dumps(arguments)}\n".encode())
        self._process.stdin.flush()

    def answer(self) -> str:
        """The next line that it says; never waits for ever."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
        assert ready
        return self._process.stdout.readline().decode().strip()

    def done(self) -> list[str]:
        """What it has done since its order, once nothing is left to do."""
        names: list[str] = json.loads(self.answer())
        return names

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


Start = Callable[..., list[Process]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts workers, ready for an order: ``start(4, host="alpha")``."""
    processes: list[Process] = []

    def _start(number: int, host: str | None = None, wait: bool = True) -> list[Process]:
        new = [Process(host) for _ in range(number)]
        processes.extend(new)
        if wait:
            assert [process.answer() for process in new] == ["ready"] * number
        return new

    yield _start
    for process in processes:
        process.kill()


def names_of(number: int) -> list[str]:
    return [f"TS_{index:03}" for index in range(number)]


def ledger_in(folder: Path) -> Ledger:
    return Ledger(folder / "jobs", folder / "outputs" / "records")


def lines(path: Path) -> list[str]:
    return path.read_text().split("\n")[:-1] if path.exists() else []


def assert_all_done(folder: Path, names: Sequence[str]) -> None:
    """Every output is whole and recorded, and nobody claims anything any more. Files being written are hidden."""
    written = {path.stem: path.read_text() for path in (folder / "outputs").glob("[!.]*.txt")}
    assert written == {name: f"{name}\n" * 4 for name in names}
    ledger = ledger_in(folder)
    assert sorted(record.tomogram for record in ledger.records()) == sorted(names)
    assert (list((folder / "jobs" / "claims").iterdir()), ledger.failures()) == ([], {})


def in_force(folder: Path) -> dict[str, int]:
    """Who has which tomogram, by process."""
    return {name: holder.pid for name, holder in Claims(folder / "jobs" / "claims").holders().items()}


def let_time_pass(folder: Path, pid: int, seconds: float = 120.0) -> None:
    """Two lifetimes in which a dead process has not refreshed its claims."""
    for path in (folder / "jobs" / "claims").glob(f"*|{pid}|*"):
        then = path.stat().st_mtime - seconds
        os.utime(path, (then, then))


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def hidden(folder: Path) -> list[Path]:
    return [path for path in (folder / "outputs").rglob(".*") if path.is_file()]


def test_four_workers_from_one_instant_do_each_tomogram_once(tmp_path: Path, start: Start) -> None:
    workers, names = start(4), names_of(40)
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        begin = time.time() + 0.1
        for worker in workers:
            worker.order(folder, names, seconds=0.004, begin=begin)
        shares = [worker.done() for worker in workers]
        assert sorted(name for share in shares for name in share) == names
        assert sorted(lines(folder / "began.txt")) == sorted(lines(folder / "done.txt")) == names
        assert_all_done(folder, names)


def test_a_worker_killed_at_any_moment_is_made_good(tmp_path: Path, start: Start) -> None:
    """By the two others, which are told nothing of it. Nobody waits a lifetime: the dead claim is made that old."""
    dice = random.Random(3)
    names, workers = names_of(15), start(3)
    interrupted = 0
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        for worker in workers:
            worker.order(folder, names, seconds=0.02)
        time.sleep(dice.uniform(0.0, 0.3))
        dead = workers.pop(dice.randrange(3))
        dead.kill()
        (spare,) = start(1, wait=False)  # for the next round; meanwhile the survivors go on
        interrupted += dead.pid in in_force(folder).values()
        let_time_pass(folder, dead.pid)
        shares = [worker.done() for worker in workers]
        assert all(count == 1 for count in Counter(lines(folder / "done.txt")).values())
        assert len({*shares[0], *shares[1]}) == len(shares[0]) + len(shares[1])
        assert_all_done(folder, names)
        assert spare.answer() == "ready"
        workers.append(spare)
        # What the dead one was writing is hidden, and goes when a process that starts later first writes there.
        spare.order(folder, ["one more"], seconds=0.0)
        assert (spare.done(), hidden(folder)) == (["one more"], [])
    assert interrupted >= ROUNDS // 4  # else the moments were badly chosen


def test_two_hosts_with_clocks_that_differ_do_each_tomogram_once(tmp_path: Path, start: Start) -> None:
    """Half a minute apart; the jobs take more than two lifetimes of a claim."""
    lifetime, names = 1.5, names_of(6)
    hosts = {"alpha": 15.0, "beta": -15.0}
    workers = {host: start(2, host) for host in hosts}
    for host, skew in hosts.items():
        for worker in workers[host]:
            worker.order(tmp_path, names, seconds=2.2 * lifetime, lifetime=lifetime, skew=skew)
    shares = {host: [name for worker in workers[host] for name in worker.done()] for host in hosts}
    assert sorted(shares["alpha"] + shares["beta"]) == names
    assert sorted(lines(tmp_path / "began.txt")) == sorted(lines(tmp_path / "done.txt")) == names
    assert {record.tomogram: record.host for record in ledger_in(tmp_path).records()} == {
        name: host for host in hosts for name in shares[host]
    }
    assert shares["alpha"] and shares["beta"]
    assert_all_done(tmp_path, names)


@pytest.mark.parametrize(("host", "other"), [("alpha", "beta"), ("beta", "alpha")])
def test_what_a_dead_host_had_is_done_by_another_with_another_clock(
    tmp_path: Path, start: Start, host: str, other: str
) -> None:
    skews, lifetime, names = {"alpha": 15.0, "beta": -15.0}, 1.5, names_of(4)
    (dead,), (survivor,) = start(1, host), start(1, other)
    dead.order(tmp_path, ["TS_002"], seconds=PATIENCE, lifetime=lifetime, skew=skews[host])
    until(lambda: "TS_002" in in_force(tmp_path))
    survivor.order(tmp_path, names, seconds=0.0, lifetime=lifetime, skew=skews[other])
    until(lambda: len(lines(tmp_path / "done.txt")) == 3)
    dead.kill()
    killed = time.monotonic()
    assert sorted(survivor.done()) == names
    assert lifetime / 2 <= time.monotonic() - killed <= 2 * lifetime
    assert_all_done(tmp_path, names)
