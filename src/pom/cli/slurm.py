"""``--slurm``: a command that submits itself to the cluster instead of running here."""

import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pom.cli.console import LINE, open_project
from pom.errors import PomError

if TYPE_CHECKING:
    from pom.project.paths import Project

SUBMIT, DRY_RUN = "slurm", "dry_run"

SETTINGS: dict[str, tuple[Any, str]] = {
    "partition": (str | None, "The partition."),
    "account": (str | None, "The account."),
    "gpus_per_node": (int | None, "GPUs of a node, each with a worker."),
    "cpus_per_task": (int | None, "CPUs of a worker node."),
    "mem": (str | None, "Memory of a node, such as 64G."),
    "time": (str | None, "Time limit, such as 12:00:00; what is not done by then is requeued."),
    "array_size": (int | None, "How many nodes to ask for, one by one."),
    "extra": (list[str] | None, "Another option of sbatch, such as --extra=--qos=low; may be given several times."),
    "setup": (list[str] | None, "A shell line to run before, such as 'module load cuda'; several times too."),
}
"""The options that take the place of a setting under ``slurm`` in the configuration: type and help."""


NOT_TWICE = (
    "--overwrite cannot be submitted, since every worker would make again what the others have just made: "
    "use --outdated, or remove the outputs."
)


Command = Callable[..., None]
Check = Callable[["Project", Mapping[str, Any]], object]


def submittable(check: Check = lambda _project, _options: None) -> Callable[[Command], Command]:
    """Gives a command that segments tomograms ``--slurm``, ``--dry-run`` and an option for each setting.

    Args:
        check: raises a PomError for options that the command would refuse, before the job waits in the queue.
    """

    def give(command: Command) -> Command:
        @functools.wraps(command)
        def run(context: typer.Context, **options: Any) -> None:
            submit, dry_run = options.pop(SUBMIT), options.pop(DRY_RUN)
            given = {name: options.pop(name) for name in SETTINGS}
            given = {name: value for name, value in given.items() if value not in (None, [])}
            if submit or dry_run:
                if options.get("overwrite"):
                    raise PomError(NOT_TWICE)
                project = open_project()
                check(project, options)
                _submit(project, context, given, dry_run=dry_run)
            elif given:
                raise PomError(
                    f"{_flag(next(iter(given)))} says what a job asks for: give --slurm too, or leave it out."
                )
            else:
                command(**options)

        context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
        parameters = [context, *inspect.signature(command).parameters.values(), *_parameters()]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return run

    return give


def without_slurm_options(line: Sequence[str]) -> list[str]:
    """A command's options without those of this module."""
    with_value = {_flag(name) for name in SETTINGS}
    kept, skip = [], False
    for word in line:
        if skip:
            skip = False
        elif word in with_value:
            skip = True
        elif word not in (_flag(SUBMIT), _flag(DRY_RUN)) and word.partition("=")[0] not in with_value:
            kept.append(word)
    return kept


def _parameters() -> list[inspect.Parameter]:
    flags = {
        SUBMIT: "Submit this to SLURM instead of running it here; it goes on from where it was if it is requeued.",
        DRY_RUN: "Show the job script that --slurm would submit.",
    }
    parameters = [_parameter(name, bool, False, typer.Option(_flag(name), help=text)) for name, text in flags.items()]
    for name, (kind, text) in SETTINGS.items():
        metavar = "N" if kind == int | None else "TEXT"
        option = typer.Option(_flag(name), help=text, metavar=metavar, show_default=False)
        parameters.append(_parameter(name, kind, None, option))
    return parameters


def _parameter(name: str, kind: Any, default: object, option: Any) -> inspect.Parameter:
    annotation = Annotated[kind, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _submit(project: "Project", context: typer.Context, given: dict[str, Any], *, dry_run: bool) -> None:
    from pom.jobs.slurm_script import job_script
    from pom.project.slurm_settings import slurm_settings

    try:
        settings = slurm_settings({**project.configuration.slurm.model_dump(), **given})
    except ValueError as error:
        raise PomError(f"What the job is to ask for {error}.") from error
    # 'pom' by the interpreter that runs now: a node need not find the same one on its PATH.
    words = context.command_path.split()[1:]
    command = [sys.executable, "-m", "pom", *words, *without_slurm_options(context.meta[LINE])]
    name, logs = " ".join(["pom", *words]), project.slurm_jobs
    if dry_run:
        typer.echo(job_script(settings, command, name, logs, settings.array_size), nl=False)
        return
    from pom.jobs.slurm import submit

    job = submit(settings, command, name, logs, settings.array_size)
    typer.echo(f"Submitted as job {job}, an array of {settings.array_size}. Logs: {logs}. How far it is: pom status")
