"""Background jobs, with real processes."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pom.errors import PomError
from pom.io import processes
from pom.jobs.background import MOST_KEPT, BackgroundJobs, JobReport, State
from pom.jobs.claims import Claims

SCRIPT = """
import sys, time
sys.argv.pop(0)
print("arguments:", *sys.argv, flush=True)
if sys.argv[0] == "fail":
    sys.exit("Error: no.")
if sys.argv[0] == "say":
    print(sys.argv[1], flush=True)
    sys.exit(int(sys.argv[2]))
if sys.argv[0] == "wait":
    print("epoch 3 of 100, loss 0.1", flush=True)
    try:
        time.sleep(60)
    finally:
        print("let go", flush=True)
print("all 5 of 5", flush=True)
"""
TERMINABLE = "import signal\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(130))\n"


@pytest.fixture
def jobs(tmp_path: Path) -> BackgroundJobs:
    script = tmp_path / "program.py"
    script.write_text("import sys\n" + TERMINABLE + SCRIPT)
    return BackgroundJobs(tmp_path / "jobs", tmp_path, [sys.executable, str(script)])


def wait_for(jobs: BackgroundJobs, wanted: Callable[[JobReport], bool], number: int = 0) -> JobReport:
    deadline = time.monotonic() + 30
    while not wanted(report := jobs.reports()[number]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert wanted(report), report
    return report


def test_a_job_runs_to_its_end(jobs: BackgroundJobs, tmp_path: Path) -> None:
    job = jobs.start(["single", "train", "-o", "Nuclear envelope"])
    report = wait_for(jobs, lambda report: report.state is not State.RUNNING)
    assert (report.state, report.done, report.total) == (State.DONE, 5, 5)
    assert report.lines == ("arguments: single train -o Nuclear envelope", "all 5 of 5")
    assert report.job.command == ("single", "train", "-o", "Nuclear envelope")
    assert report.job.id == job.id and report.job.exit_status == 0
    assert (tmp_path / "jobs" / f"{job.id}.json").exists()


def test_a_failure_keeps_what_it_said(jobs: BackgroundJobs) -> None:
    jobs.start(["fail"])
    report = wait_for(jobs, lambda report: report.state is not State.RUNNING)
    assert (report.state, report.job.exit_status, report.lines[-1]) == (State.FAILED, 1, "Error: no.")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("Warning: slow disk.\nError: no room.\nbye", "no room."),
        ("Error: one.\nError: two.\n3 of 4", "two."),
        (
            "Warning: Disc is left out of 1 tomogram.\nWarning: TS_1 failed: cut short.\n"
            "1 of 2\nFailed  Why\n------\nTS_1    cut\n        short.",
            "TS_1 failed: cut short.",
        ),
        ("Warning: TS_1 left out: no boxes.\nLeft out  Why\nTS_1      no boxes.", "TS_1 left out: no boxes."),
        ("Warning: TS_1 failed: x.\nTraceback (most recent call last):\n  File\nValueError: y", "ValueError: y"),
        ("Killed", "Killed"),
    ],
)
def test_a_failure_tells_its_reason(jobs: BackgroundJobs, said: str, reason: str) -> None:
    jobs.start(["say", said, "1"])
    assert wait_for(jobs, lambda report: report.state is not State.RUNNING).reason == reason


def test_what_did_not_fail_has_no_reason(jobs: BackgroundJobs) -> None:
    jobs.start(["say", "Error: not at all.", "0"])
    report = wait_for(jobs, lambda report: report.state is not State.RUNNING)
    assert (report.state, report.reason) == (State.DONE, "")


def test_another_server_sees_and_stops_a_running_job(jobs: BackgroundJobs, tmp_path: Path) -> None:
    jobs.start(["wait"])
    wait_for(jobs, lambda report: (report.done, report.total) == (3, 100))
    later = BackgroundJobs(tmp_path / "jobs", tmp_path, [sys.executable, str(tmp_path / "program.py")])
    assert later.reports()[0].state is State.RUNNING
    later.stop(later.reports()[0].job.id)
    report = wait_for(later, lambda report: report.state is not State.RUNNING)
    assert (report.state, report.job.exit_status, report.lines[-1]) == (State.STOPPED, 130, "let go")
    later.stop(report.job.id)  # once more does nothing


def test_the_same_command_does_not_run_twice(jobs: BackgroundJobs, tmp_path: Path) -> None:
    jobs.start(["wait", "A"])
    with pytest.raises(PomError, match="'pom wait A' is running already"):
        jobs.start(["wait", "A"])
    with pytest.raises(PomError, match="is running already"):
        BackgroundJobs(tmp_path / "jobs", tmp_path).start(["wait", "A"])
    jobs.start(["wait", "B"])
    states = [(report.job.command, report.state) for report in jobs.reports()]
    assert states == [(("wait", "B"), State.RUNNING), (("wait", "A"), State.RUNNING)]
    for report in jobs.reports():
        jobs.stop(report.job.id)
    for number in range(2):
        wait_for(jobs, lambda report: report.state is State.STOPPED, number)
    again = jobs.start(["wait", "A"])
    jobs.stop(again.id)


def test_a_killed_job_is_known_and_can_start_again(jobs: BackgroundJobs) -> None:
    job = jobs.start(["wait"])
    os.killpg(job.pid, signal.SIGKILL)
    assert wait_for(jobs, lambda report: report.state is not State.RUNNING).state is State.LOST
    again = jobs.start(["wait"])  # although the claim of the killed one has not expired
    assert jobs.reports()[0].state is State.RUNNING
    jobs.stop(again.id)


def test_a_process_that_got_the_same_number_is_never_touched(jobs: BackgroundJobs, tmp_path: Path) -> None:
    job = jobs.start(["ok"])
    report = wait_for(jobs, lambda report: report.state is State.DONE)
    ours = {"pid": os.getpid(), "finished": None, "exit_status": None, "process": "another boot 1"}
    state = tmp_path / "jobs" / f"{job.id}.json"
    state.write_text(report.job.model_copy(update=ours).model_dump_json())
    assert jobs.reports()[0].state is State.LOST
    jobs.stop(job.id)  # would have ended this test run


def test_the_oldest_are_removed(jobs: BackgroundJobs, tmp_path: Path) -> None:
    job = jobs.start(["ok"])
    wait_for(jobs, lambda report: report.state is State.DONE)
    text = (tmp_path / "jobs" / f"{job.id}.json").read_text()
    for number in range(MOST_KEPT + 5):
        (tmp_path / "jobs" / f"2000-{number:03}.json").write_text(text.replace(job.id, f"2000-{number:03}"))
        (tmp_path / "jobs" / f"2000-{number:03}.log").write_text("x")
    jobs.start(["fine"])
    assert len(jobs.reports()) == MOST_KEPT
    assert not (tmp_path / "jobs" / "2000-000.log").exists() and (tmp_path / "jobs" / f"{job.id}.log").exists()


def test_what_cannot_be_started_says_why(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("a file in the place of the folder")
    with pytest.raises(PomError, match="cannot be written"):
        BackgroundJobs(tmp_path / "jobs", tmp_path).start(["ok"])
    with pytest.raises(PomError, match=r"no job '\.\./x'"):
        BackgroundJobs(tmp_path / "none", tmp_path).stop("../x")


def test_a_job_that_proc_hides_is_running(
    jobs: BackgroundJobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where /proc was mounted with hidepid, others see nothing of a process there, and yet it lives."""
    job = jobs.start(["wait"])
    with monkeypatch.context() as patch:
        (tmp_path / "proc" / "self").mkdir(parents=True)
        (tmp_path / "proc" / "self" / "stat").write_text("")
        patch.setattr(processes, "PROC", tmp_path / "proc")
        assert jobs.reports()[0].state is State.RUNNING
        with pytest.raises(PomError, match="is running already"):
            jobs.start(["wait"])
    jobs.stop(job.id)


def test_a_job_of_another_container_is_judged_by_its_claim(jobs: BackgroundJobs, tmp_path: Path) -> None:
    """Two containers can share a host's name, and a number in the one means nothing in the other."""
    job = jobs.start(["ok"])
    report = wait_for(jobs, lambda report: report.state is State.DONE)
    place = f"{socket.gethostname()}@1"
    elsewhere = {"place": place, "pid": 2**22 + 1, "finished": None, "exit_status": None}
    state = tmp_path / "jobs" / f"{job.id}.json"
    state.write_text(report.job.model_copy(update=elsewhere).model_dump_json())
    assert jobs.reports()[0].state is State.LOST
    claims = Claims(tmp_path / "jobs" / "claims")
    claim = claims.take("ok")
    assert claim is not None and jobs.reports()[0].state is State.RUNNING
    with pytest.raises(
        PomError, match=f"runs on {socket.gethostname()}, another container or machine of that name, and"
    ):
        jobs.stop(job.id)
    claims.close()
    assert jobs.reports()[0].state is State.LOST


def test_only_what_has_changed_is_read_again(
    jobs: BackgroundJobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every page asks every two seconds, for thirty jobs."""
    for number in range(3):
        jobs.start(["ok", str(number)])
        wait_for(jobs, lambda report: report.state is State.DONE)
    before = jobs.reports()
    logs = sorted((tmp_path / "jobs").glob("*.log"))
    opened: list[Path] = []
    open_file = Path.open

    def spy(path: Path, *rest: Any, **named: Any) -> Any:
        opened.append(path)
        return open_file(path, *rest, **named)

    monkeypatch.setattr(Path, "open", spy)
    monkeypatch.setattr(Path, "read_bytes", lambda path: spy(path, "rb").read())
    assert jobs.reports() == before and opened == []
    with logs[1].open("a") as log:
        log.write("7 of 9\n")
    opened.clear()
    assert sorted((report.done, report.total) for report in jobs.reports()) == [(5, 5), (5, 5), (7, 9)]
    assert opened == [logs[1]]
