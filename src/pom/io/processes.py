"""Processes of this machine: whether one lives, told from its number, and where such a number means something.

In doubt a process lives: who takes a living one for dead does its work a second time, while the claim of a dead one
expires by itself.
"""

import os
import re
import socket
import subprocess
from pathlib import Path

PROC = Path("/proc")

_OF_THE_MACHINE = "4026531836"
"""The namespace of processes that every Linux begins with: that of the machine, and of no container."""
_DEAD = ("Z", "X")
"""The states of processes that have ended, and that nobody has taken note of yet."""


def place() -> str:
    """Where a process number means something: a machine since its start, ``HOST@~1c0ffee5``, or a container on it.

    A container has its namespace too, ``HOST@4026532281~1c0ffee5``. The start tells machines of one name apart, and
    processes of before from those of now; where the system tells neither, the place is ``HOST`` alone.
    """
    boot = _boot()[:8]
    start = f"~{boot}" if boot else ""
    within = f"{_namespace()}{start}"
    return f"{socket.gethostname()}@{within}" if within else socket.gethostname()


def is_here(noted: str) -> bool:
    """Whether a place is that of this process; one that an earlier version noted, without the start, counts as well."""
    here = place()
    return noted == here or ("~" not in noted and noted == here.partition("~")[0].removesuffix("@"))


def host_of(place: str) -> str:
    """The host of a place."""
    return place.partition("@")[0]


def is_running(pid: int, identity: str = "") -> bool:
    """Whether a process of this place lives; also one that this user may not see, as where /proc hides others'.

    Args:
        pid: its number.
        identity: as ``identity_of`` gave it when it began, to tell it from a later one of the same number; without
            it, or where it cannot be read now, any process of that number counts.
    """
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it runs, under another user
        pass
    state, now = _look(pid)
    return state not in _DEAD and (not identity or not now or now == identity)


def identity_of(pid: int) -> str:
    """What tells a living process of this place from all others before and after it; empty where it cannot be told."""
    state, identity = _look(pid)
    return "" if state in _DEAD else identity


def _namespace() -> str:
    """The container's namespace of processes; empty outside, and where the system does not tell."""
    try:
        namespace = re.sub(r"\D", "", str((PROC / "self" / "ns" / "pid").readlink()))
    except OSError:
        return ""
    return "" if namespace == _OF_THE_MACHINE else namespace


def _boot() -> str:
    """What tells the start of this machine from all others; empty where the system does not tell."""
    try:
        return (PROC / "sys" / "kernel" / "random" / "boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _look(pid: int) -> tuple[str, str]:
    """The state of a process, one letter, and its identity; both empty where they cannot be read."""
    if not (PROC / "self" / "stat").exists():
        return _look_by_ps(pid)
    try:
        stat = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        boot = (PROC / "sys" / "kernel" / "random" / "boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "", ""
    # The name of the program, in brackets, may hold spaces and brackets itself.
    values = stat.rpartition(")")[2].split()
    return values[0], f"{boot} {values[19]}"  # the 22nd value: the start, in ticks since the boot


def _look_by_ps(pid: int) -> tuple[str, str]:
    """The same where there is no /proc (macOS)."""
    try:
        answer = subprocess.run(
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout.split(maxsplit=1)
    except OSError:
        return "", ""
    return (answer[0][0], answer[1].strip()) if len(answer) == 2 else ("", "")
