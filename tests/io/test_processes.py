"""Which processes live, seen with and without /proc."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pom.io import processes
from pom.io.processes import host_of, identity_of, is_here, is_running, place

Child = subprocess.Popen[bytes]


@pytest.fixture
def child() -> Iterator[Child]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture
def hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/proc as it is where it was mounted with hidepid=2, seen by another user: only the own process is there."""
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "stat").write_text("")
    monkeypatch.setattr(processes, "PROC", tmp_path / "proc")


def test_a_process_lives_until_it_ends(child: Child) -> None:
    identity = identity_of(child.pid)
    assert identity and identity == identity_of(child.pid) != identity_of(os.getpid())
    assert is_running(child.pid) and is_running(child.pid, identity)
    assert not is_running(child.pid, "another boot 1")  # a later process of the same number
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and nobody has taken note of it
    assert not is_running(child.pid) and identity_of(child.pid) == ""
    child.wait()
    assert not is_running(child.pid) and not is_running(2**22 + 1) and not is_running(2**80)


def test_a_process_that_proc_hides_counts_as_living(child: Child, hidden: None) -> None:
    assert identity_of(child.pid) == ""
    assert is_running(child.pid) and is_running(child.pid, "some boot 17")
    child.kill()
    child.wait()
    assert not is_running(child.pid, "some boot 17")


def test_a_process_of_another_user_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "kill", refuse)
    assert is_running(os.getpid())


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """/proc, of which there is nothing yet."""
    monkeypatch.setattr(processes, "PROC", tmp_path)
    return tmp_path


def be_in(proc: Path, namespace: int) -> None:
    link = proc / "self" / "ns" / "pid"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(f"pid:[{namespace}]")


def boot(proc: Path, identifier: str) -> None:
    path = proc / "sys" / "kernel" / "random" / "boot_id"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{identifier}\n")


THE_MACHINE, A_CONTAINER = 4026531836, 4026532281


def test_a_container_is_another_place(proc: Path) -> None:
    host = socket.gethostname()
    assert place() == host  # no /proc: macOS
    be_in(proc, THE_MACHINE)
    assert place() == host
    be_in(proc, A_CONTAINER)
    assert place() == f"{host}@4026532281" and host_of(place()) == host_of(host) == host


def test_machines_of_one_name_are_different_places(proc: Path) -> None:
    host = socket.gethostname()
    be_in(proc, THE_MACHINE)
    boot(proc, "1c0ffee5-2d6f-4d3c-8f4e-0123456789ab")
    here = place()
    assert here == f"{host}@~1c0ffee5" and host_of(here) == host and is_here(here)
    be_in(proc, A_CONTAINER)
    assert place() == f"{host}@4026532281~1c0ffee5" and is_here(place()) and not is_here(here)
    be_in(proc, THE_MACHINE)
    boot(proc, "5eed5eed-2d6f-4d3c-8f4e-0123456789ab")
    assert place() == f"{host}@~5eed5eed" and not is_here(here)


def test_places_of_earlier_versions_are_understood(proc: Path) -> None:
    host = socket.gethostname()
    boot(proc, "1c0ffee5-2d6f-4d3c-8f4e-0123456789ab")
    be_in(proc, THE_MACHINE)
    assert is_here(host) and not is_here(f"{host}@4026532281") and not is_here("another") and not is_here("")
    be_in(proc, A_CONTAINER)
    assert is_here(f"{host}@4026532281") and not is_here(host) and not is_here(f"{host}@4026532282")
