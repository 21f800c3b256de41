"""What ``pom status`` and ``pom retry`` say of a made-up project."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pom.cli import status as command
from pom.cli.main import app
from pom.io.channels import Preprocessing
from pom.io.pretrained import save_pretrained
from pom.jobs.claims import Claims
from pom.jobs.ledger import Ledger, Record, Try, WorkerNote
from pom.project.paths import Project
from pom.workflow.status import StepStatus

run = CliRunner().invoke
HOST = socket.gethostname()
NAMES = [f"TS_{number}" for number in range(6)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The working folder: six tomograms that nobody has begun."""
    for variable in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "project_configuration.json").write_text(json.dumps({"ontologies": ["Vesicle", "[red] membrane"]}))
    project = Project.open(Path())
    touch(*map(project.tomogram, NAMES))
    return project


@pytest.fixture
def claims(project: Project) -> Iterator[Claims]:
    claims = Claims(project.jobs("shared") / "claims")
    yield claims
    claims.close()


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def ledger_of(project: Project, step: str = "shared") -> Ledger:
    return Ledger(project.jobs(step), project.records(step))


def do(project: Project, name: str, finished: float) -> None:
    """Writes the outputs and the record of a tomogram, which took a minute."""
    touch(*(project.output(name, output) for output in (*project.ontologies, "Unknown")))
    record = Record(
        tomogram=name, step="shared", network="", configuration="", inputs={}, version="", host=HOST, device="cpu",
        started=finished - 60.0, seconds=60.0, outputs=(),
    )  # fmt: skip
    ledger_of(project).write_record(record)


def fail(project: Project, name: str, times: int = 3, step: str = "shared", **changes: Any) -> None:
    values = {"host": "n1", "device": "cuda:1", "started": 0.0, "seconds": 1.0, "traceback": "", "log": ""}
    for number in range(times):
        ledger_of(project, step).add_try(name, Try.model_validate({"reason": f"No {number}.", **values, **changes}))


def shown(*arguments: str) -> list[str]:
    """The lines on standard output, without empty ones."""
    result = run(app, list(arguments))
    assert (result.exit_code, result.stderr) == (0, "")
    return [line.rstrip() for line in result.stdout.splitlines() if line.strip()]


def cells(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


@pytest.mark.parametrize("name", ["status", "retry"])
def test_help_fits_80_columns_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    for option in ("-h", "--help"):
        lines = shown(name, option)
        assert lines[0].startswith(f"Usage: pom {name} [OPTIONS]") or lines[0].startswith(f"Usage: root {name}")
        assert max(map(len, lines)) <= 80
    assert list(tmp_path.iterdir()) == []


def test_options_in_both_styles() -> None:
    text = "\n".join(shown("status", "--help"))
    assert "-watch, --watch" in text
    assert "-json, --json" in text


@pytest.mark.parametrize("name", ["status", "retry"])
def test_outside_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(app, [name])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: There is no project_configuration.json in {tmp_path}")


def test_before_the_work(project: Project) -> None:
    assert shown("status") == ["No work on all tomograms has begun; 'pom' shows the next command."]
    assert json.loads("".join(shown("status", "--json")))["steps"] == []


def test_the_tables(project: Project, claims: Claims) -> None:
    now = time.time()
    do(project, "TS_0", finished=now - 1140)
    assert claims.take("TS_1")
    assert claims.take("TS_2")
    note = WorkerNote(host=HOST, pid=os.getpid(), device="cuda:0", tomogram="TS_1", since=86400.0 * 365, log="")
    ledger_of(project).note(note)
    log = "jobs/shared/logs/a-node-with-a-long-name-in-a-large-cluster-1234567-and-more-than-80-columns.log"
    fail(project, "TS_3", reason="The disk [red] is broken.", log=log)
    fail(project, "TS_4", reason="x" * 100, log=log)
    fail(project, "TS_5", times=1)
    lines = shown("status")
    assert cells(lines[0]) == [
        "Step", "Total", "Waiting", "Running", "Done", "Failed", "Outdated", "Per hour", "To go",
    ]  # fmt: skip
    assert cells(lines[2]) == ["shared", "6", "1", "2", "1", "2", "0", "3.0", "1 h 00 min"]
    assert cells(lines[3]) == ["Running", "Step", "Host", "Device", "Since", "Expected end"]
    begin, end = (time.strftime("%Y-%m-%d %H:%M", time.localtime(86400.0 * 365 + more)) for more in (0, 60))
    assert cells(lines[5]) == ["TS_1", "shared", HOST, "cuda:0", begin, end]
    assert cells(lines[6]) == ["TS_2", "shared", HOST, "-", "-"]
    assert cells(lines[7]) == ["Failed: shared", "Tries", "Where last", "Reason"]
    assert cells(lines[9]) == ["TS_3", "3", "n1 cuda:1", "The disk [red] is broken."]
    assert lines[-2] == f"Log of TS_3, TS_4: {log}"
    assert lines[-1] == "What failed is left alone until 'pom retry' clears it."
    assert max(len(line) for line in lines[:-2]) <= 80
    column = lines[7].index("Reason")
    assert "x" * 100 in "".join(line[column:].strip() for line in lines[9:-2])


def test_how_old_outputs_are_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    outdated = [
        StepStatus(name, 9, 0, (), 9, {}, count, None, 0.0)
        for name, count in (("shared", 2), ("single/Vesicle", 0), ("single/Inner membrane", 1), ("test/Vesicle", 3))
    ]
    command.report_status(outdated)
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "2 tomograms are of an older network: pom shared process --outdated",
        "1 tomogram is of an older network: pom single process -o 'Inner membrane' --outdated",
        "3 tomograms are of an older network: pom single test -o Vesicle --outdated",
    ]


def test_tomograms_unlike_the_training_data(capsys: pytest.CaptureFixture[str]) -> None:
    unlike = {"TS_[red]": 3.456, "TS_2": 1.01}
    command.report_status([StepStatus("shared", 9, 0, (), 9, {}, 0, None, 0.0, n_unlike=5, unlike=unlike)])
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert cells(lines[-5]) == ["Unlike the training data: shared", "Score"]
    assert [cells(line) for line in lines[-3:-1]] == [["TS_[red]", "3.46"], ["TS_2", "1.01"]]
    assert lines[-1] == (
        "Look at these first, and annotate some of them if they are segmented badly. 3 more tomograms are above 1 too."
    )
    command.report_status([StepStatus("shared", 9, 0, (), 9, {}, 0, None, 0.0)])
    assert "Unlike" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (3569.0, "59 min"),
        (3599.0, "1 h 00 min"),
        (18180.0, "5 h 03 min"),
        (266400.0, "3 d 2 h"),
    ],
)
def test_lengths_of_time(seconds: float, expected: str) -> None:
    assert command._duration(seconds) == expected


def test_json_holds_everything(project: Project, claims: Claims) -> None:
    do(project, "TS_0", finished=1000.0)
    assert claims.take("TS_1")
    fail(project, "TS_3", reason="Nä.", traceback="Traceback\n")
    document = json.loads("".join(shown("status", "-json")))
    assert document["time"] == pytest.approx(time.time(), abs=60)
    (step,) = document["steps"]
    assert len(step["failed"]["TS_3"]) == 3
    assert step["failed"].pop("TS_3")[0] == {
        "host": "n1", "device": "cuda:1", "started": 0.0, "seconds": 1.0, "reason": "Nä.", "traceback": "Traceback\n",
        "log": "",
    }  # fmt: skip
    assert step == {
        "step": "shared", "total": 6, "waiting": 3, "done": 1, "failed": {}, "outdated": 0, "per_hour": None,
        "seconds_to_go": None, "n_unlike": 0, "unlike": {},
        "running": [{"tomogram": "TS_1", "host": HOST, "device": "", "since": None, "expected_end": None}],
    }  # fmt: skip


def watch(project: Project, *options: str, **streams: Any) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "pom", "status", "--watch", *options]
    return subprocess.Popen(arguments, cwd=project.folder.absolute(), text=True, **streams)


def interrupt(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0


@pytest.mark.timeout(60)
def test_a_watch_off_a_terminal_shows_what_has_changed(project: Project) -> None:
    do(project, "TS_0", finished=time.time())
    with watch(project, "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert json.loads(process.stdout.readline())["steps"][0]["done"] == 1
        time.sleep(2.5)  # the rate changes, and is no news
        do(project, "TS_1", finished=time.time())
        # Between the outputs and the record there may be a look too, but it sees the same.
        assert json.loads(process.stdout.readline())["steps"][0]["done"] == 2
        interrupt(process)
        assert process.stderr.read() == ""


@pytest.mark.timeout(60)
def test_a_watch_on_a_terminal_draws_in_the_same_place(project: Project) -> None:
    do(project, "TS_0", finished=time.time())
    ours, theirs = pty.openpty()
    text = b""
    with watch(project, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)  # so that reading ends if the process does
        while text.count(b"shared") < 2:
            text += os.read(ours, 4096)
        interrupt(process)
    os.close(ours)
    second = text.decode().split("shared")[1]
    assert "\x1b[1A" in second  # the cursor goes up
    assert "Step" in second


def test_retry_clears_all_failures(project: Project) -> None:
    for name in NAMES:
        fail(project, name)
    fail(project, "TS_1", times=1, step="single/[red] membrane")
    assert shown("retry") == [
        "shared: 6 tomograms to be tried again: TS_0, TS_1, TS_2, TS_3, TS_4, TS_5.",
        "single/[red] membrane: 1 tomogram to be tried again: TS_1.",
        "Next: pom shared process",
        "Next: pom single process -o '[red] membrane'",
    ]
    assert shown("retry") == ["There are no failures."]


def test_retry_of_some(project: Project) -> None:
    for name in NAMES[:2]:
        fail(project, name)
    assert shown("retry", "TS_0", "TS_5") == [
        "shared: 1 tomogram to be tried again: TS_0.",
        "Without a failure: TS_5.",
        "Next: pom shared process",
    ]
    assert list(ledger_of(project).failures()) == ["TS_1"]
    assert shown("retry", "TS_0") == ["Without a failure: TS_0."]


def test_retry_of_an_unknown_name(project: Project) -> None:
    fail(project, "TS_0")
    result = run(app, ["retry", "TS_0", "TS_00"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: There is no tomogram 'TS_00' (did you mean 'TS_0'?): give names without .mrc, or none to clear all"
        " failures.\n"
    )
    assert len(ledger_of(project).tries("TS_0")) == 3


def test_many_names_are_counted(project: Project) -> None:
    for number in range(12):
        fail(project, f"TS_{number:02}", times=1)
    assert shown("retry")[0].endswith("again: " + ", ".join(f"TS_{n:02}" for n in range(10)) + " and 2 more.")


def test_a_pretrained_network_is_mentioned_where_there_is_one(
    project: Project, pretrained_card: Callable[..., Any]
) -> None:
    nothing = "No work on all tomograms has begun; 'pom' shows the next command."
    assert shown("status") == [nothing]
    card = pretrained_card(preprocessing=Preprocessing(channels=("Density",), z_sum=4, binning=(2, 2, 2)))
    save_pretrained(project.pretrained_network, {}, card)
    said = "Trainings begin with a network that was pretrained on 2 tomograms."
    assert shown("status") == [nothing, said]
    do(project, "TS_0", time.time())
    assert shown("status")[-1] == said
