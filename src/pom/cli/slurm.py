"""``--slurm``: a command that submits itself to the cluster instead of running here."""

import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pom.cli.console import LINE, open_project
from pom.errors import PomError

if TYPE_CHECKING:
    from pom.project.paths import Project
    from pom.project.slurm_settings import SlurmSettings

SUBMIT, DRY_RUN = "slurm", "dry_run"


@dataclass(frozen=True)
class Setting:
    """An option that takes the place of a setting under ``slurm`` in the configuration."""

    kind: Any
    help: str


@dataclass(frozen=True)
class JobKind:
    """What a submitted command becomes: an array of workers, or one job whose processes work together."""

    settings: Mapping[str, Setting]
    """The options that it takes, by the setting's name."""

    def elements(self, settings: "SlurmSettings") -> int | None:
        """How many elements the array has; None: it is no array."""
        return settings.array_size if "array_size" in self.settings else None


def _job_kind(size: str, size_help: str, gpus_help: str, cpus_help: str) -> JobKind:
    settings = {
        "partition": Setting(str, "The partition."),
        "account": Setting(str, "The account."),
        "gpus_per_node": Setting(int, gpus_help),
        "cpus_per_task": Setting(int, cpus_help),
        "mem": Setting(str, "Memory of a node, such as 64G."),
        "time": Setting(str, "Time limit, such as 12:00:00; what is not done by then is requeued."),
        size: Setting(int, size_help),
        "extra": Setting(list[str], "Another option of sbatch, such as --extra=--qos=low; may be given several times."),
        "setup": Setting(list[str], "A shell line to run before, such as 'module load cuda'; several times too."),
    }
    return JobKind(settings)


WORKERS = _job_kind(
    "array_size", "How many nodes to ask for, one by one.", "GPUs of a node, each with a worker.",
    "CPUs of a worker node.",
)  # fmt: skip
TRAINING = _job_kind(
    "nodes", "How many nodes train together.", "GPUs of a node, all of which train together.",
    "CPUs for each GPU, or for each node without GPUs.",
)  # fmt: skip


NOT_TWICE = (
    "--overwrite cannot be submitted, since every worker would make again what the others have just made: "
    "use --outdated, or remove the outputs."
)


Command = Callable[..., None]
Check = Callable[["Project", Mapping[str, Any]], object]


def submittable(kind: JobKind, check: Check = lambda _project, _options: None) -> Callable[[Command], Command]:
    """Gives a command ``--slurm``, ``--dry-run`` and an option for each setting of its kind of job.

    Args:
        kind: what it becomes.
        check: raises a PomError for options that the command would refuse, before the job waits in the queue.
    """

    def give(command: Command) -> Command:
        @functools.wraps(command)
        def run(context: typer.Context, **options: Any) -> None:
            submit, dry_run = options.pop(SUBMIT), options.pop(DRY_RUN)
            given = {name: options.pop(name) for name in kind.settings}
            given = {name: value for name, value in given.items() if value not in (None, [])}
            if submit or dry_run:
                if kind is WORKERS and options.get("overwrite"):
                    raise PomError(NOT_TWICE)
                project = open_project()
                check(project, options)
                _submit(project, kind, context, given, dry_run=dry_run)
            elif given:
                raise PomError(
                    f"{_flag(next(iter(given)))} says what a job asks for: give --slurm too, or leave it out."
                )
            else:
                command(**options)

        context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
        parameters = [context, *inspect.signature(command).parameters.values(), *_parameters(kind)]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return run

    return give


def without_slurm_options(line: Sequence[str]) -> list[str]:
    """A command's options without those of this module."""
    with_value = {_flag(name) for kind in (WORKERS, TRAINING) for name in kind.settings}
    kept, skip = [], False
    for word in line:
        if skip:
            skip = False
        elif word in with_value:
            skip = True
        elif word not in (_flag(SUBMIT), _flag(DRY_RUN)) and word.partition("=")[0] not in with_value:
            kept.append(word)
    return kept


def _parameters(kind: JobKind) -> list[inspect.Parameter]:
    flags = {
        SUBMIT: "Submit this to SLURM instead of running it here; it goes on from where it was if it is requeued.",
        DRY_RUN: "Show the job script that --slurm would submit.",
    }
    parameters = [_parameter(name, bool, False, typer.Option(_flag(name), help=text)) for name, text in flags.items()]
    for name, setting in kind.settings.items():
        metavar = "N" if setting.kind is int else "TEXT"
        option = typer.Option(_flag(name), help=setting.help, metavar=metavar, show_default=False)
        parameters.append(_parameter(name, setting.kind | None, None, option))
    return parameters


def _parameter(name: str, kind: Any, default: object, option: Any) -> inspect.Parameter:
    annotation = Annotated[kind, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _submit(project: "Project", kind: JobKind, context: typer.Context, given: dict[str, Any], *, dry_run: bool) -> None:
    from pom.jobs.slurm_script import job_script
    from pom.project.slurm_settings import slurm_settings

    try:
        settings = slurm_settings({**project.configuration.slurm.model_dump(), **given})
    except ValueError as error:
        raise PomError(f"What the job is to ask for {error}.") from error
    # 'pom' by the interpreter that runs now: a node need not find the same one on its PATH.
    words = context.command_path.split()[1:]
    command = [sys.executable, "-m", "pom", *words, *without_slurm_options(context.meta[LINE])]
    name, logs, array = " ".join(["pom", *words]), project.slurm_jobs, kind.elements(settings)
    if dry_run:
        typer.echo(job_script(settings, command, name, logs, array), nl=False)
        return
    from pom.jobs.slurm import submit

    job = submit(settings, command, name, logs, array)
    what = f", an array of {array}" if array else f" on {settings.nodes} nodes" if settings.nodes > 1 else ""
    typer.echo(f"Submitted as job {job}{what}. Logs: {logs}. How far it is: pom status")
