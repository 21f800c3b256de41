"""What a job asks of SLURM: the key ``slurm`` of the configuration."""

import json
import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError

from pom.project.names import nearest
from pom.project.values import Count, Expected

SECONDS_TO_STOP = 120
"""How long before its time is up a job is told, so that it can save what it has and go back into the queue."""
LEAST_MINUTES = 5

_WORD = re.compile(r"[\w.,:@+-]+", re.ASCII)
_MEMORY = re.compile(r"\d+[KMGT]?", re.ASCII)
_DAYS_AND_TIME = re.compile(r"(?P<days>\d+)-(?P<hours>\d+)(:(?P<minutes>\d+)(:(?P<seconds>\d+))?)?", re.ASCII)
_TIME = re.compile(r"((?P<hours>\d+):(?=\d+:))?(?P<minutes>\d+)(:(?P<seconds>\d+))?", re.ASCII)


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise ValueError("not one word")
    return text


def _memory(text: str) -> str:
    if not _MEMORY.fullmatch(text):
        raise ValueError("not an amount of memory")
    return text


def _time(text: str) -> str:
    """Refuses what SLURM cannot read, and a time so short that the job would be stopped before it has begun."""
    match = _DAYS_AND_TIME.fullmatch(text) or _TIME.fullmatch(text)
    if match is None:
        raise ValueError("not a time")
    parts = {unit: int(value) for unit, value in match.groupdict().items() if value}
    minutes = (parts.get("days", 0) * 24 + parts.get("hours", 0)) * 60 + parts.get("minutes", 0)
    if minutes < LEAST_MINUTES:
        raise ValueError("too short")
    return text


def _one_liners(lines: tuple[str, ...]) -> tuple[str, ...]:
    if any(not line.startswith("-") or "\n" in line or "\r" in line for line in lines):
        raise ValueError("not options of sbatch")
    return lines


Word = Annotated[str, AfterValidator(_word)]
Memory = Annotated[str, AfterValidator(_memory)]
Time = Annotated[str, AfterValidator(_time)]
Lines = Annotated[tuple[str, ...], Strict(False)]


class SlurmSettings(BaseModel):
    """What a job asks for; null leaves it to the cluster. Immutable.

    A job of workers is an array whose elements are alike: one task on one node, which starts a process per GPU. A
    job that trains is one job of ``nodes`` nodes with one task per GPU. ``cpus_per_task`` and ``mem`` are sbatch's
    own: CPUs of a task, memory of a node.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    partition: Annotated[Word | None, Expected('the name of a partition, such as "gpu", or null')] = None
    account: Annotated[Word | None, Expected("the name of an account, or null")] = None
    gpus_per_node: Annotated[Count | None, Expected("a whole number, 1 or more, or null")] = None
    cpus_per_task: Annotated[Count | None, Expected("a whole number, 1 or more, or null")] = None
    mem: Annotated[Memory | None, Expected('the memory of a node, such as "64G", or null')] = None
    time: Annotated[
        Time | None,
        Expected(f'5 minutes or more, such as "1-12:00:00" (a day and a half), "12:00:00" or "{12 * 60}", or null'),
    ] = None
    array_size: Annotated[int, Field(ge=1), Expected("a whole number, 1 or more")] = 8  # workers of a process job
    nodes: Annotated[int, Field(ge=1), Expected("a whole number, 1 or more")] = 1  # of a job that trains
    extra: Annotated[
        Lines, AfterValidator(_one_liners), Expected('a list of options of sbatch, such as ["--qos=low"]')
    ] = ()
    setup: Annotated[Lines, Expected('a list of shell lines, such as ["module load cuda"]')] = ()


def slurm_settings(values: object) -> SlurmSettings:
    """Checks what the key ``slurm`` holds.

    Raises:
        ValueError: the first fault, as the end of a sentence: "holds 'mem': 64, but must ...".
    """
    if isinstance(values, SlurmSettings):
        return values
    if not isinstance(values, Mapping):
        raise ValueError(f'is {json.dumps(values)}, but must be an object, such as {{"partition": "gpu"}}')
    for key in values:
        if key not in SlurmSettings.model_fields:
            closest = nearest(str(key), list(SlurmSettings.model_fields), cutoff=0.0)
            raise ValueError(f"holds the unknown key {key!r}: remove it, or write {closest!r}, the nearest known")
    try:
        return SlurmSettings.model_validate(dict(values))
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        expected = next(item.text for item in SlurmSettings.model_fields[key].metadata if isinstance(item, Expected))
        raise ValueError(f"holds {key!r}: {json.dumps(values[key])}, which must be {expected}") from error


Slurm = Annotated[SlurmSettings, BeforeValidator(slurm_settings), Expected("an object of settings")]
"""The type of the key ``slurm``; its faults are told like those of the other keys."""
