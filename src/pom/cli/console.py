"""What every command shares: how it parses, how it logs, and how an error ends it."""

import logging
import os
import sys
import traceback
from collections.abc import Collection
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from pom.cli.option_faults import in_plain_words
from pom.errors import PomError

if TYPE_CHECKING:
    from pom.project.paths import Project

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

BARE_SWITCHES = frozenset(
    {
        "-all",
        "--all",
        "--all-features",
        "-direct",
        "--direct",
        "-outdated",
        "--outdated",
        "-overwrite",
        "--overwrite",
        "-probabilities",
        "--probabilities",
        "-skip",
        "--skip",
        "-skip-macromolecules",
        "--skip-macromolecules",
        "-spin",
        "--spin",
    }
)
"""Options that take 0 or 1 and may stand without it, which means 1; so may their short names."""


LINE = "pom.line"
"""Where a command's context keeps the options that it was given, as they were typed."""

AFTER_THE_STEPS = (
    "evaluate", "summarize", "projections", "render", "browse", "export", "status", "retry", "demo",
)  # fmt: skip


class StepCommand(TyperCommand):
    """A command whose switches may stand alone: ``--all`` is ``--all 1``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Gives the bare switches their 1, and the rest to the parser; the line is kept for a job that repeats it."""
        ctx.meta[LINE] = list(args)
        takes_names = any(parameter.param_type_name == "argument" for parameter in self.params)
        # -o is short for --overwrite here, and for --ontology there.
        names = [{*parameter.opts} for parameter in self.params]
        switches = BARE_SWITCHES.union(*(each for each in names if each & BARE_SWITCHES))
        return super().parse_args(ctx, complete_switches(args, switches, takes_names=takes_names))


class PomGroup(TyperGroup):
    """The whole command line; turns errors that a person can cause into one sentence and an exit status."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The steps in the order of the work, then what judges it, and what stands beside it."""
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: AFTER_THE_STEPS.index(name) if name in AFTER_THE_STEPS else -1)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Takes ``--debug`` anywhere on the line, since it is most often added to a command that has just failed."""
        if "--debug" in args:
            args = ["--debug", *(arg for arg in args if arg != "--debug")]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Runs the command.

        Exit status: 1 after a PomError, 130 after Ctrl-C. Any other exception is a fault of the program and
        passes, with its traceback.
        """
        start_logging(logging.DEBUG if ctx.params.get("debug") else logging.INFO)
        try:
            return super().invoke(ctx)
        except PomError as error:
            if ctx.params.get("debug"):
                traceback.print_exception(error)
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(EXIT_ERROR) from error
        except typer.BadParameter as fault:
            raise in_plain_words(fault) from fault.__cause__
        except KeyboardInterrupt as interrupt:
            typer.echo("Interrupted: give the same command again to go on.", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from interrupt


class ConsoleHandler(logging.Handler):
    """Log lines on standard error: warnings as 'Warning: ...', each text once; others plain, with their traceback."""

    def __init__(self) -> None:
        super().__init__()
        self._warned: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record."""
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            if text in self._warned:
                return
            self._warned.add(text)
            text = f"{_coloured(record.levelname.capitalize() + ':')} {text}"
        if record.exc_info and record.exc_info[1]:
            text = "\n".join((text, "".join(traceback.format_exception(record.exc_info[1])).rstrip()))
        try:
            # Looked up at every line: a progress bar puts its own stream there, which writes above the bar.
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
        except OSError:
            self.handleError(record)


def start_logging(level: int = logging.INFO) -> None:
    """Sends what the package logs at ``level`` or above to standard error; called again, it starts afresh."""
    package = logging.getLogger("pom")
    for handler in [handler for handler in package.handlers if isinstance(handler, ConsoleHandler)]:
        package.removeHandler(handler)
    package.addHandler(ConsoleHandler())
    package.setLevel(level)


def complete_switches(args: list[str], switches: Collection[str], *, takes_names: bool) -> list[str]:
    """Puts a 1 behind each bare switch.

    Args:
        args: the command's.
        switches: the options that may be bare.
        takes_names: whether it takes names too: one that follows a switch, and is not 0 or 1, leaves it bare. Else
            whatever follows is the switch's own, and a wrong value is told as such.
    """
    completed: list[str] = []
    for arg, following in zip_longest(args, args[1:]):
        completed.append(arg)
        if arg in switches and _leaves_bare(following, takes_names):
            completed.append("1")
    return completed


def _leaves_bare(following: str | None, takes_names: bool) -> bool:
    if following is None or following.startswith("-"):
        return True
    return takes_names and following not in {"0", "1"}


def open_project() -> "Project":
    """The project of the working folder."""
    from pathlib import Path

    from pom.project.paths import Project

    return Project.open(Path())


def _coloured(label: str) -> str:
    if sys.stderr.isatty() and "NO_COLOR" not in os.environ:
        return f"\x1b[33m{label}\x1b[0m"
    return label
