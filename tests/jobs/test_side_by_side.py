import errno
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pom.errors import DiskError, PomError
from pom.io.atomic import write_text
from pom.io.mrc import read_header
from pom.jobs.side_by_side import side_by_side, usual_processes


def test_a_failure_is_an_answer_among_others(tmp_path: Path) -> None:
    paths = [tmp_path / "a.mrc", tmp_path / "b.mrc"]
    answers = dict(side_by_side(read_header, paths, 1))
    assert list(answers) == paths
    assert all(isinstance(answer, PomError) and "There is no file" in str(answer) for answer in answers.values())


def test_a_process_that_dies_takes_only_its_own_work_with_it() -> None:
    # SIGCHLD does nothing, SIGKILL ends the process.
    signals = [signal.SIGCHLD, signal.SIGKILL, signal.SIGURG, signal.SIGWINCH]
    answers = dict(side_by_side(signal.raise_signal, signals, 2))
    assert set(answers) == set(signals)
    assert "want of memory" in str(answers.pop(signal.SIGKILL))
    assert list(answers.values()) == [None] * 3


def test_faults_of_the_program_and_full_disks_pass(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="embedded null byte"):
        list(side_by_side(Path.mkdir, [Path("a\0b"), Path("c\0d")], 1))

    def full(item: int) -> None:
        raise DiskError("full")

    with pytest.raises(DiskError):
        list(side_by_side(full, [1, 2], 1))
    missing = [tmp_path / "a.mrc", tmp_path / "b.mrc"]
    for processes in (1, 2):
        with pytest.raises(PomError, match="There is no file"):
            list(side_by_side(read_header, missing, processes, fatal=(PomError,)))


def test_disks_that_fail_and_memory_that_runs_out_are_answers(tmp_path: Path) -> None:
    sizes = [1, sys.maxsize]
    for processes in (1, 2):
        answers = dict(side_by_side(bytearray, sizes, processes))
        assert answers[1] == bytearray(1)
        assert "not enough memory" in str(answers[sys.maxsize])
        assert isinstance(answers[sys.maxsize], PomError)
        missing = [tmp_path / "a", tmp_path / "b"]
        for path, answer in side_by_side(Path.read_bytes, missing, processes):
            assert str(answer) == (
                f"The disk or network failed at {path} (No such file or directory): check it, then run this again."
            )


def test_disk_that_is_full_is_fatal_however_it_is_said() -> None:
    def write(item: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DiskError, match=r"The disk is full: free some space there"):
        list(side_by_side(write, [1, 2], 1))


def test_each_is_done_once_in_processes(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.txt" for number in range(6)]
    done = [item for item, _ in side_by_side(partial(write_text, text="x", lasting=False), paths, 2)]
    assert sorted(done) == paths
    assert all(path.read_text() == "x" for path in paths)


def test_there_are_as_many_processes_as_cores_up_to_eight() -> None:
    assert 1 <= usual_processes() <= 8


WORK = """
import os, sys, time
from pathlib import Path
from pom.jobs.side_by_side import side_by_side

def wait(name):
    Path(name).write_text(str(os.getpid()))
    time.sleep(100)

if __name__ == "__main__":
    list(side_by_side(wait, sys.argv[1:], 2))
"""


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    script, notes = tmp_path / "work.py", [tmp_path / "a", tmp_path / "b"]
    script.write_text(WORK)
    parent = subprocess.Popen([sys.executable, script, *notes], env={**os.environ, "PYTHONPATH": ":".join(sys.path)})
    try:
        until(lambda: all(note.exists() and note.read_text() for note in notes))
    finally:
        parent.kill()
        parent.wait()
    pids = [int(note.read_text()) for note in notes]
    until(lambda: not any(is_alive(pid) for pid in pids))


INTERRUPTED = """
import os, signal, sys, time
from pathlib import Path
from pom.io.atomic import atomic_path
from pom.jobs import side_by_side

side_by_side.SECONDS_TO_LEAVE = 1000

def wait(name):
    with atomic_path(Path(name)) as temporary:
        temporary.write_text("half")
        Path(f"{name}.pid").write_text(str(os.getpid()))
        time.sleep(1000)

def go_on(name):
    signal.signal(signal.SIGTERM, lambda *_: Path(f"{name}.asked").touch())
    Path(f"{name}.pid").write_text(str(os.getpid()))
    while True:
        time.sleep(1000)

if __name__ == "__main__":
    try:
        list(side_by_side.side_by_side(globals()[sys.argv[1]], sys.argv[2:], 2))
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.parametrize("work", ["wait", "go_on"])
def test_ctrl_c_ends_what_the_processes_are_at(tmp_path: Path, work: str) -> None:
    script, names = tmp_path / "work.py", [tmp_path / "a", tmp_path / "b"]
    script.write_text(INTERRUPTED)
    parent = subprocess.Popen(
        [sys.executable, script, work, *names],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        notes = [Path(f"{name}.pid") for name in names]
        until(lambda: all(note.exists() and note.read_text() for note in notes))
        os.killpg(parent.pid, signal.SIGINT)
        if work == "go_on":  # they do not leave when they are told to, and a person loses patience
            until(lambda: all(Path(f"{name}.asked").exists() for name in names))
            os.killpg(parent.pid, signal.SIGINT)
        assert parent.communicate(timeout=60) == ("interrupted\n", "")
    finally:
        parent.kill()
    assert parent.returncode == 0
    assert not any(is_alive(int(note.read_text())) for note in notes)
    made = {"work.py", "a.pid", "b.pid"} | ({"a.asked", "b.asked"} if work == "go_on" else set())
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == made  # nothing half written


def test_what_processes_log_is_logged_here(caplog: pytest.LogCaptureFixture) -> None:
    # At the level of this process, which is that of --debug, and so that its handlers say each text once.
    log = logging.getLogger("pom.measure.composition")
    with caplog.at_level(logging.DEBUG, "pom"):
        assert dict(side_by_side(log.debug, ["one", "two"], 2)) == {"one": None, "two": None}
    assert {(each.name, each.levelno, each.getMessage()) for each in caplog.records} == {
        (log.name, logging.DEBUG, "one"),
        (log.name, logging.DEBUG, "two"),
    }
    assert os.getpid() not in {each.process for each in caplog.records}
    caplog.clear()
    with caplog.at_level(logging.INFO, "pom"):
        list(side_by_side(log.debug, ["one", "two"], 2))
    assert not caplog.records


def test_a_fault_of_the_program_tells_where_it_was() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        list(side_by_side(partial(divmod, 1), [0, 0], 2))
    assert "work(item)" in caught.value.__notes__[0]
    with pytest.raises(TypeError, match="cannot pickle"):
        list(side_by_side(threading.Semaphore, [1, 2], 2))


def until(condition: Callable[[], bool]) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen within a minute")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
