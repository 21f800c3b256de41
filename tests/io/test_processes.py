"""Which processes live, seen with and without /proc."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pom.io import processes
from pom.io.processes import host_of, identity_of, is_running, place

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


def test_a_container_is_another_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = socket.gethostname()
    monkeypatch.setattr(processes, "PROC", tmp_path)
    assert place() == host  # no /proc: macOS
    (tmp_path / "self" / "ns").mkdir(parents=True)
    (tmp_path / "self" / "ns" / "pid").symlink_to("pid:[4026531836]")
    assert place() == host  # the machine itself
    (tmp_path / "self" / "ns" / "pid").unlink()
    (tmp_path / "self" / "ns" / "pid").symlink_to("pid:[4026532281]")
    assert place() == f"{host}@4026532281" and host_of(place()) == host_of(host) == host
