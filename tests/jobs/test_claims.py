import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from copy import copy
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path

import pytest

from pom.errors import PomError
from pom.jobs import claims as claims_module
from pom.jobs import locks
from pom.jobs.claims import Claim, ClaimLost, Claims

# A worker of its own process: it does what its standard input says and answers each line with one line.
WORKER = """
import sys, time
from datetime import datetime, timedelta
from pathlib import Path
from pom.jobs.claims import ClaimLost, Claims

folder, lifetime, skew = Path(sys.argv[1]), float(sys.argv[2]), timedelta(seconds=float(sys.argv[3]))
claims = Claims(folder, lifetime, lambda: datetime.now() + skew)
held = {}

def take(name):
    claim = claims.take(name)
    if claim is not None:
        held[name] = claim
    return claim is not None

def check(name):
    try:
        held[name].check()
    except ClaimLost:
        return False
    return True

def rush(start, count):
    time.sleep(max(0.0, float(start) - time.time()))
    return " ".join(name for name in map(str, range(int(count))) if take(name))

def check_all():
    return " ".join(filter(check, held))

print("ready", flush=True)
for line in sys.stdin:
    order, *arguments = line.rstrip("\\n").split("\\t")
    commands = {"take": take, "check": check, "release": lambda name: held[name].release(), "rush": rush,
                "check_all": check_all, "taken": claims.is_taken, "close": claims.close}
    print(commands[order](*arguments), flush=True)
"""

Start = Callable[..., list["Worker"]]


class Worker:
    def __init__(self, folder: Path, lifetime: float, skew: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder), str(lifetime), str(skew)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def order(self, *words: str) -> None:
        assert self._process.stdin is not None
        print(*words, sep="\t", file=self._process.stdin, flush=True)

    def answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def ask(self, *words: str) -> str:
        self.order(*words)
        return self.answer()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts worker processes on the folder ``claims``, ready to answer."""
    workers: list[Worker] = []

    def _start(number: int, lifetime: float, skew: float = 0.0) -> list[Worker]:
        new = [Worker(tmp_path / "claims", lifetime, skew) for _ in range(number)]
        workers.extend(new)
        assert [worker.answer() for worker in new] == ["ready"] * number
        return new

    yield _start
    for worker in workers:
        worker.end()


def open_claims(tmp_path: Path, lifetime: float = 60.0, skew: float = 0.0) -> Claims:
    return Claims(tmp_path / "claims", lifetime, lambda: datetime.now() + timedelta(seconds=skew))


def taken(claims: Claims, name: str) -> Claim:
    claim = claims.take(name)
    assert claim is not None
    return claim


def files(tmp_path: Path) -> list[str]:
    return sorted(os.listdir(tmp_path / "claims"))  # noqa: PTH208


def make_expired(tmp_path: Path, lifetime: float = 60.0) -> None:
    """As if the owner had been dead for just long enough."""
    for path in (tmp_path / "claims").iterdir():
        then = time.time() - lifetime / 2
        os.utime(path, (then, then))


def failing(number: int) -> Callable[..., None]:
    """A function that raises the OSError of this number."""

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def wait_until_free(claims: Claims, name: str, patience: float) -> float:
    """Takes a name as soon as it can be had; returns the time then."""
    end = time.time() + patience
    while time.time() < end:
        claim = claims.take(name)
        if claim is not None:
            now = time.time()
            claim.check()
            return now
        time.sleep(0.02)
    raise AssertionError(f"{name} was not free after {patience} s")


# One process


def test_a_name_is_taken_by_one_and_free_after_release(tmp_path: Path) -> None:
    first, second = open_claims(tmp_path), open_claims(tmp_path)
    assert not first.is_taken("TS_001")
    with taken(first, "TS_001") as claim:
        assert claim.name == "TS_001"
        claim.check()
        assert first.is_taken("TS_001") and second.is_taken("TS_001")
        assert first.take("TS_001") is None and second.take("TS_001") is None
        assert second.take("TS_002") is not None
    assert not second.is_taken("TS_001")
    with pytest.raises(ClaimLost, match="TS_001"):
        claim.check()
    taken(second, "TS_001")
    claim.release()  # a second time: that is no longer its own
    assert first.is_taken("TS_001")
    first.close()
    second.close()
    assert files(tmp_path) == []


def test_holders_by_name(tmp_path: Path, start: Start) -> None:
    names = ["TS 1", "50% | b.lock", "a|b|3|4", "Ä.1", "%7C", ".lock", "x\ry"]
    claims = open_claims(tmp_path)
    assert claims.holders() == {}
    for name in names:
        taken(claims, name).check()
    (worker,) = start(1, 60.0)
    assert worker.ask("take", "theirs") == "True"
    holders = claims.holders()
    assert set(holders) == {*names, "theirs"}
    assert {(holders[name].host, holders[name].pid) for name in names} == {(socket.gethostname(), os.getpid())}
    assert holders["theirs"].pid == worker.pid
    assert holders["theirs"].expires == pytest.approx(time.time() + 60, abs=5)
    make_expired(tmp_path)
    assert claims.holders() == {}
    claims.close()


def test_looking_writes_nothing(tmp_path: Path) -> None:
    claims = open_claims(tmp_path)
    assert claims.holders() == {} and not claims.is_taken("a") and claims.free(1) == []
    claims.close()
    assert list(tmp_path.iterdir()) == []


def test_a_closed_object_can_take_again_and_refreshes(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    claims, other = open_claims(tmp_path, lifetime=1.0), open_claims(tmp_path, lifetime=1.0)
    taken(claims, "a")
    claims.close()
    claim = taken(claims, "a")
    time.sleep(1.8)
    assert other.take("a") is None
    claim.check()
    claims.close()
    other.close()
    # Threads of other tests may end meanwhile, so that a number of threads says nothing.
    assert not [thread for thread in threading.enumerate() if thread not in before and thread.name == "claims"]


def test_the_name_server_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def getfqdn() -> str:
        asked.append("once")
        return "slow.example.org"

    monkeypatch.setattr(socket, "getfqdn", getfqdn)
    claims = open_claims(tmp_path)
    for name in "abc":
        taken(claims, name)
    assert asked == ["once"]
    assert {holder.host for holder in claims.holders().values()} == {socket.gethostname()}
    claims.close()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "claims").write_text("a file")
    with pytest.raises(PomError, match="cannot be written"):
        open_claims(tmp_path).take("a")


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = open_claims(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "utime", failing(errno.ENOSPC))
        with pytest.raises(PomError, match="disk is full"):
            claims.take("a")
    assert files(tmp_path) == []
    taken(claims, "a")
    claims.close()


def test_refreshing_goes_on_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    claims, other = open_claims(tmp_path, lifetime=1.5), open_claims(tmp_path, lifetime=1.5)
    claim = taken(claims, "a")
    with monkeypatch.context() as patch:
        patch.setattr(os, "utime", failing(errno.ESTALE))
        time.sleep(0.6)
        with pytest.raises(ClaimLost, match="Stale"):
            claim.check()
    assert "Stale file handle" in caplog.text
    time.sleep(2.0)
    assert other.take("a") is None
    claim.check()
    claims.close()
    other.close()


@pytest.mark.parametrize("skew", [30.0, -30.0])
def test_times_are_those_of_the_file_server(tmp_path: Path, skew: float) -> None:
    claims = open_claims(tmp_path, skew=skew)
    taken(claims, "a")
    assert claims.holders()["a"].expires == pytest.approx(time.time() + 60, abs=2)
    claims.close()


def test_an_hour_that_the_clock_shows_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of summer time 02:30 comes twice; both times are the moments that they are."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        for moment in (1792888200.0, 1792891800.0):  # 25 October 2026, 02:30 CEST and 02:30 CET
            clock = datetime.fromtimestamp(moment)
            assert (clock.hour, clock.minute) == (2, 30)
            # A folder that does not exist has no clock to correct this one.
            assert locks.FolderClock(tmp_path / "none", partial(copy, clock), 60.0).now() == moment
        claims = open_claims(tmp_path)
        taken(claims, "a")
        assert claims.holders()["a"].expires == pytest.approx(time.time() + 60, abs=2)
        claims.close()
    finally:
        monkeypatch.undo()
        time.tzset()


# What dead processes leave


def test_half_made_claims_are_swept_once_they_are_old(tmp_path: Path) -> None:
    folder = tmp_path / "claims"
    folder.mkdir()
    (folder / "a.lock|host|123|456").write_text("")
    claims = open_claims(tmp_path)
    with taken(claims, "b"):
        assert files(tmp_path)[0] == "a.lock|host|123|456"  # it may just be being made
        assert not claims.is_taken("a") and "a" not in claims.holders()
    make_expired(tmp_path)
    claims.close()
    assert files(tmp_path) == []


def test_expired_claims_that_nobody_wants_are_swept(tmp_path: Path, start: Start) -> None:
    (worker,) = start(1, 60.0)
    worker.ask("take", "a")
    worker.kill()
    make_expired(tmp_path)
    claims = open_claims(tmp_path)
    taken(claims, "b").release()
    assert files(tmp_path) == []
    claims.close()


@pytest.mark.parametrize("content", [None, b"", b"\0" * 40, b"a.lock|x", b"\xff\xfe"])
def test_a_lock_without_its_owner_or_content_is_removed(tmp_path: Path, content: bytes | None) -> None:
    """Its owner died between removing its own name and the lock; or the server crashed."""
    folder = tmp_path / "claims"
    claims = open_claims(tmp_path)
    if content is None:
        taken(claims, "a")
        next(path for path in folder.iterdir() if "|" in path.name).unlink()
    else:
        folder.mkdir()
        (folder / "a.lock").write_bytes(content)
    make_expired(tmp_path)  # by half a lifetime
    other = open_claims(tmp_path)
    assert other.take("a") is None
    make_expired(tmp_path, 90.0)
    taken(other, "a").check()
    claims.close()
    other.close()
    assert files(tmp_path) == []


def test_free_ends_the_claims_of_one_process(tmp_path: Path, start: Start) -> None:
    dead, alive = start(2, 60.0)
    for worker, names in ((dead, "ab"), (alive, "cd")):
        for name in names:
            assert worker.ask("take", name) == "True"
    dead.kill()
    folder = tmp_path / "claims"
    (folder / f"e.lock|{socket.gethostname()}|{dead.pid}|1").write_text("")
    (folder / f"f.lock|another-host|{dead.pid}|1").write_text("")
    claims = open_claims(tmp_path)
    assert sorted(claims.free(dead.pid)) == ["a", "b"]
    assert claims.free(dead.pid) == []
    assert set(claims.holders()) == {"c", "d"}
    assert [name for name in files(tmp_path) if name[0] in "abef"] == [f"f.lock|another-host|{dead.pid}|1"]
    taken(claims, "a")
    claims.close()
    assert alive.ask("check_all") == "c d"


def test_only_the_dead_of_this_place_are_freed(tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process of another container of the same name has a number that means nothing here."""
    dead, alive = start(2, 60.0)
    assert (dead.ask("take", "a"), dead.ask("take", "b"), alive.ask("take", "c")) == ("True",) * 3
    dead.kill()
    claims, elsewhere = open_claims(tmp_path), f"{socket.gethostname()}@4026532281"
    with monkeypatch.context() as patch:
        for module in ("io.processes", "jobs.locks"):
            patch.setattr(f"pom.{module}.place", lambda: elsewhere)
        assert not claims.free_dead("a") and claims.free(dead.pid) == []
        taken(claims, "d")
    assert not claims.free_dead("d") and not claims.free_dead("c") and not claims.free_dead("nobody's")
    holder = claims.holders()["d"]
    assert (holder.place, holder.host) == (elsewhere, socket.gethostname())
    assert claims.free_dead("a") and set(claims.holders()) == {"c", "d"}
    claims.close()


# Races that must be lost by one side, made to happen


def test_who_comes_late_to_an_expired_claim_leaves_the_new_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, late, early = (open_claims(tmp_path) for _ in range(3))
    lost = taken(dead, "a")
    make_expired(tmp_path)
    end_claim = locks.end_claim
    new: list[Claim] = []

    def overtaken(lockfile: Path, own_name: str) -> bool:
        """Late has seen that the claim has expired, and is about to end it: now early does all of it."""
        monkeypatch.setattr(claims_module, "end_claim", end_claim)
        new.append(taken(early, "a"))
        return end_claim(lockfile, own_name)

    monkeypatch.setattr(claims_module, "end_claim", overtaken)
    assert late.take("a") is None
    new[0].check()
    with pytest.raises(ClaimLost):
        lost.check()
    for claims in (dead, late, early):
        claims.close()
    assert files(tmp_path) == []


def test_who_releases_late_leaves_the_new_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, other = open_claims(tmp_path), open_claims(tmp_path)
    old = taken(slow, "a")
    read_lock = locks.read_lock
    new: list[Claim] = []

    def overtaken(lockfile: Path) -> locks.Note | None:
        """Slow has seen that the lock is its own, and stands still until that has changed."""
        note = read_lock(lockfile)
        monkeypatch.setattr(locks, "read_lock", read_lock)
        make_expired(tmp_path)
        new.append(taken(other, "a"))
        return note

    monkeypatch.setattr(locks, "read_lock", overtaken)
    old.release()
    new[0].check()
    slow.close()
    other.close()
    assert files(tmp_path) == []


def test_a_lost_claim_is_not_revived(tmp_path: Path) -> None:
    slow, other = open_claims(tmp_path), open_claims(tmp_path)
    old = taken(slow, "a")
    make_expired(tmp_path)
    new = taken(other, "a")
    before = other.holders()["a"]
    old.refresh()
    with pytest.raises(ClaimLost):
        old.check()
    assert other.holders() == {"a": before}
    new.check()
    slow.close()
    assert other.is_taken("a")
    other.close()


# Processes


def assert_each_name_goes_to_one(workers: list[Worker], folder: Path) -> None:
    """All rush for a hundred names at the same instant; each gets to one, and nothing is left at the end."""
    begin = str(time.time() + 0.3)
    for worker in workers:
        worker.order("rush", begin, "100")
    got = [worker.answer().split() for worker in workers]
    assert sorted(chain(*got)) == sorted(map(str, range(100)))
    assert [worker.ask("check_all").split() for worker in workers] == got
    for worker in workers:
        worker.ask("close")
    assert files(folder) == []


def test_processes_that_start_at_one_instant_share_the_names(tmp_path: Path, start: Start) -> None:
    workers = start(6, 60.0)
    assert_each_name_goes_to_one(workers, tmp_path)


def test_expired_claims_go_to_one_process_each(tmp_path: Path, start: Start) -> None:
    workers = start(7, 60.0)
    dead = workers.pop()
    dead.ask("rush", "0", "100")
    dead.kill()
    make_expired(tmp_path)
    assert_each_name_goes_to_one(workers, tmp_path)


@pytest.mark.parametrize(("owners_skew", "skew"), [(0.0, 0.0), (0.0, 30.0), (30.0, 0.0)])
def test_a_killed_owners_claim_is_free_between_one_and_two_lifetimes_later(
    tmp_path: Path, start: Start, owners_skew: float, skew: float
) -> None:
    lifetime = 1.5
    (owner,) = start(1, lifetime, owners_skew)
    assert owner.ask("take", "a") == "True"
    time.sleep(0.5 * lifetime)
    claims = open_claims(tmp_path, lifetime, skew)
    assert claims.is_taken("a")
    killed = time.time()
    owner.kill()
    free = wait_until_free(claims, "a", 2 * lifetime)
    assert lifetime <= free - killed <= 2 * lifetime
    claims.close()
    assert files(tmp_path) == []


def test_a_living_owner_keeps_its_claim_whatever_the_clocks_say(tmp_path: Path, start: Start) -> None:
    lifetime = 1.0
    owners = [start(1, lifetime, skew)[0] for skew in (-30.0, 0.0, 30.0)]
    for number, owner in enumerate(owners):
        assert owner.ask("take", str(number)) == "True"
    others = [open_claims(tmp_path, lifetime, skew) for skew in (-30.0, 0.0, 30.0)]
    end = time.time() + 4 * lifetime
    while time.time() < end:
        for claims in others:
            assert [claims.take(name) for name in "012"] == [None] * 3
            assert sorted(claims.holders()) == ["0", "1", "2"]
        time.sleep(0.05)
    assert [owner.ask("check_all") for owner in owners] == ["0", "1", "2"]
    for owner in owners:
        owner.ask("close")
    for claims in others:
        claims.close()
    assert files(tmp_path) == []


def test_a_stopped_owner_loses_its_claim_and_leaves_the_new_one_alone(tmp_path: Path, start: Start) -> None:
    lifetime = 1.0
    (owner,) = start(1, lifetime)
    assert owner.ask("take", "a") == "True"
    claims = open_claims(tmp_path, lifetime)
    owner.send(signal.SIGSTOP)
    wait_until_free(claims, "a", 2 * lifetime)
    before = files(tmp_path)
    owner.send(signal.SIGCONT)
    time.sleep(lifetime)  # its thread has refreshed, if it ever will
    assert owner.ask("check", "a") == "False"
    assert owner.ask("take", "a") == "False"
    assert owner.ask("release", "a") == "None"
    assert owner.ask("close") == "None"
    assert files(tmp_path) == before
    assert claims.holders()["a"].pid == os.getpid()
    claims.close()
    assert files(tmp_path) == []


def test_an_owner_that_was_stopped_and_not_missed_goes_on(tmp_path: Path, start: Start) -> None:
    (owner,) = start(1, 0.5)
    assert owner.ask("take", "a") == "True"
    owner.send(signal.SIGSTOP)
    time.sleep(1.0)
    assert not open_claims(tmp_path, 0.5).is_taken("a")
    owner.send(signal.SIGCONT)
    assert owner.ask("check", "a") == "True"
    assert open_claims(tmp_path, 0.5).is_taken("a")
