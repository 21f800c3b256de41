"""How far the work on all tomograms is, and what failed tried again."""

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pom.cli.console import open_project
from pom.words import counted, listed

if TYPE_CHECKING:
    from pom.jobs.ledger import Try
    from pom.jobs.slurm import SlurmJob
    from pom.workflow.status import StatusSurvey, StepStatus

SECONDS_BETWEEN_LOOKS = 2.0

Watch = Annotated[
    bool,
    typer.Option(
        "-watch", "--watch", help="Show it again every two seconds, until Ctrl-C; off a terminal, when it has changed."
    ),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "-json", "--json", help="JSON instead of tables: times in seconds since 1970; with --watch, a line each."
    ),
]
Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", show_default=False, help="The tomograms, such as TS_001; without any, all."),
]


def status(watch: Watch = False, as_json: AsJson = False) -> None:
    """Show how far the tomograms are, whoever works on them.

    For each step: how many tomograms wait, run (where, since when, until when), are done, or have failed and why;
    how many of those done are of an older network; how fast it goes, and how long it will take. Tomograms that are
    unlike the training data are named.
    """
    project = open_project()
    from pom.workflow.status import StatusSurvey

    survey = StatusSurvey(project)
    if watch and as_json:
        _show_changes(survey, lambda steps, jobs: _show_json(steps, jobs, indent=None))
    elif watch:
        _watch(survey)
    elif as_json:
        _show_json(survey.look(), survey.jobs(), indent=2)
    else:
        _report(survey)


def retry(names: Names = None) -> None:
    """Let tomograms that failed be tried again.

    A tomogram that failed three times is left alone. This clears its failures, in all steps; the next run of the
    step takes it up.
    """
    project = open_project()
    from pom.workflow.status import clear_failures

    names = names or []
    cleared = clear_failures(project, names)
    for step, tomograms in cleared.items():
        typer.echo(f"{step}: {counted(len(tomograms), 'tomogram')} to be tried again: {listed(tomograms)}.")
    without = [name for name in dict.fromkeys(names) if not any(name in tomograms for tomograms in cleared.values())]
    if without:
        typer.echo(f"Without a failure: {listed(without)}.")
    elif not cleared:
        typer.echo("There are no failures.")
    for step in cleared:
        typer.echo(f"Next: {_command(step)}")


def _report(survey: "StatusSurvey") -> None:
    report_status(survey.look(), survey.jobs(), survey.pretrained())


def report_status(
    steps: "Sequence[StepStatus]", jobs: "Sequence[SlurmJob]" = (), pretrained: int | None = None
) -> None:
    """Shows the status of each step, what is running, what failed, the jobs that SLURM has, and a pretrained network.

    ``pretrained``: from how many tomograms it is, or None.
    """
    if steps:
        _report_steps(steps)
    elif not jobs:
        from pom.cli.reports import show

        show("No work on all tomograms has begun; 'pom' shows the next command.")
    if jobs:
        from pom.cli.reports import NONE, show_table

        rows = [(job.id, job.name, job.state, job.node or NONE, job.reason or NONE) for job in jobs]
        show_table(("Job", "Name", "State", "Node", "Reason"), rows, texts=range(5))
    if pretrained is not None:
        from pom.cli.reports import show

        show(f"Trainings begin with a network that was pretrained on {counted(pretrained, 'tomogram')}.")


def _report_steps(steps: "Sequence[StepStatus]") -> None:
    from pom.cli.reports import show, show_table

    headings = ("Step", "Total", "Waiting", "Running", "Done", "Failed", "Outdated", "Per hour", "To go")
    show_table(headings, [_row(step) for step in steps])
    running = [
        (run.tomogram, step.step, run.host, run.device, _moment(run.since), _moment(run.expected_end))
        for step in steps
        for run in step.running
    ]
    if running:
        show_table(("Running", "Step", "Host", "Device", "Since", "Expected end"), running, texts=range(6))
    for step in steps:
        if step.failed:
            rows = [_failure(name, tries) for name, tries in step.failed.items()]
            show_table((f"Failed: {step.step}", "Tries", "Where last", "Reason"), rows, texts=(0, 2, 3))
            # Below the table, where a path keeps to one line and can be copied.
            for log, names in _logs(step.failed).items():
                show(f"Log of {listed(names)}: {log}")
    if any(step.failed for step in steps):
        show("What failed is left alone until 'pom retry' clears it.")
    for step in steps:
        if step.outdated:
            are = counted(step.outdated, "tomogram is", "tomograms are")
            show(f"{are} of an older network: {_command(step.step)} --outdated")
        if step.n_unlike:
            _report_unlike(step)


def _report_unlike(step: "StepStatus") -> None:
    from pom.cli.reports import show, show_table

    show_table((f"Unlike the training data: {step.step}", "Score"), [(n, f"{s:.2f}") for n, s in step.unlike.items()])
    more = step.n_unlike - len(step.unlike)
    others = f" {counted(more, 'more tomogram is', 'more tomograms are')} above 1 too." if more else ""
    show(f"Look at these first, and annotate some of them if they are segmented badly.{others}")


def _row(step: "StepStatus") -> tuple[object, ...]:
    from pom.cli.reports import NONE

    rate = NONE if step.per_hour is None else f"{step.per_hour:.{0 if step.per_hour >= 10 else 1}f}"
    to_go = NONE if step.seconds_to_go is None else _duration(step.seconds_to_go)
    counts = (step.total, step.waiting, len(step.running), step.done, len(step.failed), step.outdated)
    return (step.step, *counts, rate, to_go)


def _failure(name: str, tries: "Sequence[Try]") -> tuple[object, ...]:
    last = tries[-1]
    where = f"{last.host} {last.device}\n{_moment(last.started + last.seconds)}"
    return (name, len(tries), where, last.reason)


def _logs(failed: "Mapping[str, Sequence[Try]]") -> dict[str, list[str]]:
    """The logs of the last tries, each with the tomograms that it tells of."""
    logs: dict[str, list[str]] = {}
    for name, tries in failed.items():
        if tries[-1].log:
            logs.setdefault(tries[-1].log, []).append(name)
    return logs


def _show_json(steps: "Sequence[StepStatus]", jobs: "Sequence[SlurmJob]", indent: int | None) -> None:
    import json

    from pydantic_core import to_jsonable_python

    document = {"time": time.time(), "steps": to_jsonable_python(steps), "jobs": to_jsonable_python(jobs)}
    typer.echo(json.dumps(document, indent=indent, ensure_ascii=False))


def _watch(survey: "StatusSurvey") -> None:
    """Shows the tables again and again; on a terminal in the same place."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        _show_changes(survey, lambda steps, jobs: report_status(steps, jobs, survey.pretrained()))
        return
    try:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                live.update(Text(_shown(survey)), refresh=True)
                time.sleep(SECONDS_BETWEEN_LOOKS)
    except KeyboardInterrupt:  # the usual end of a watch, and no error
        return


def _shown(survey: "StatusSurvey") -> str:
    """What ``report_status`` shows, as a text."""
    import contextlib
    import io

    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        _report(survey)
    return text.getvalue().strip("\n")


def _show_changes(
    survey: "StatusSurvey", show_status: "Callable[[Sequence[StepStatus], Sequence[SlurmJob]], None]"
) -> None:
    """Shows the status whenever something became of a tomogram; that time goes by is no news."""
    from dataclasses import replace

    news = None
    try:
        while True:
            steps, jobs = survey.look(), survey.jobs()
            lasting = (jobs, [replace(step, per_hour=None, seconds_to_go=None) for step in steps])
            if lasting != news:
                show_status(steps, jobs)
                news = lasting
            time.sleep(SECONDS_BETWEEN_LOOKS)
    except KeyboardInterrupt:
        return


def _command(step: str) -> str:
    """The command that does a step."""
    kind, _, ontology = step.partition("/")
    if not ontology:
        return "pom shared process"
    return f"pom single {'test' if kind == 'test' else 'process'} -o {shlex.quote(ontology)}"


def _moment(seconds: float | None) -> str:
    """A time since 1970 as people here write it; with its day where that is not today."""
    from pom.cli.reports import NONE

    if seconds is None:
        return NONE
    local = time.localtime(seconds)
    today = time.localtime()[:3] == local[:3]
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M", local)


def _duration(seconds: float) -> str:
    """A length of time in its two largest units, such as ``5 h 03 min``."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    days, hours_of_day = divmod(hours, 24)
    if days:
        return f"{days} d {hours_of_day} h"
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"
