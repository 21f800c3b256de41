"""What the values of the configuration may be: types that check, and say in words what they expect."""

import json
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, Strict

from pom.project.names import DENSITY, UNKNOWN, first_fault, without_empty

RUNS = (1, 2, 4, 8)
"""How many of the 8 flips and quarter turns of a slice may be averaged."""


@dataclass(frozen=True)
class Expected:
    """What a key may hold, as the end of the sentence 'it must be ...'."""

    text: str


def _listed_names(names: tuple[str, ...]) -> tuple[str, ...]:
    fault = first_fault(names)
    if fault is not None:
        raise ValueError(fault)
    return names


def _input_channels(names: tuple[str, ...]) -> tuple[str, ...]:
    if not without_empty(names):
        raise ValueError(f"names no channel, and the networks need at least one, such as {DENSITY!r}")
    for name in names:
        if name != DENSITY and name.casefold() == DENSITY.casefold():
            raise ValueError(f"holds {name!r}; write {DENSITY!r} for the tomogram itself")
    return names


def _output_classes(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name.casefold() in (UNKNOWN.casefold(), DENSITY.casefold()):
            raise ValueError(f"holds {name!r}, which is reserved: give that ontology another name")
    return names


def _gpu_list(value: Any) -> Any:
    """A number or a list of numbers is written as the text that the key holds elsewhere; -1 says none."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    elif isinstance(value, list | tuple) and all(isinstance(n, int) and not isinstance(n, bool) for n in value):
        value = ",".join(str(n) for n in value)
    return "" if value == "-1" else value


def _checked_gpus(text: str) -> str:
    indices = [part.strip() for part in text.split(",")] if text.strip() else []
    if not all(part.isascii() and part.isdigit() for part in indices):
        raise ValueError(f'is {json.dumps(text)}, but must be GPU numbers with commas between them, such as "0,1"')
    numbers = [str(int(part)) for part in indices]
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"is {json.dumps(text)}, which names a GPU twice")
    return ",".join(numbers)


def _binning(value: Any) -> Any:
    return (value,) * 3 if isinstance(value, int) else value


def _runs(value: int) -> int:
    if value not in RUNS:
        closest = min(RUNS, key=lambda choice: abs(choice - value))
        raise ValueError(f"is {value}, but must be 1, 2, 4 or 8 flips and rotations; the nearest is {closest}")
    return value


def _folder_text(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a null character, which no folder's name can")
    return value


Count = Annotated[int, Field(ge=1), Expected("a whole number, 1 or more")]
Share = Annotated[float, Field(ge=0, le=1), Expected("a number from 0 to 1")]
Number = Annotated[float, Expected("a number")]
Flag = Annotated[bool, Expected("true or false")]
Folder = Annotated[str, AfterValidator(_folder_text), Expected('the path of a folder, a text such as "tomograms"')]
TextList = Annotated[tuple[str, ...], Strict(False), Expected('a list of names, such as ["Membrane", "Ribosome"]')]
InputChannels = Annotated[TextList, AfterValidator(_listed_names), AfterValidator(_input_channels)]
OutputClasses = Annotated[TextList, AfterValidator(_listed_names), AfterValidator(_output_classes)]
Runs = Annotated[int, AfterValidator(_runs), Expected("1, 2, 4 or 8")]
Gpus = Annotated[
    str,
    BeforeValidator(_gpu_list),
    AfterValidator(_checked_gpus),
    Expected('GPU numbers with commas between them, such as "0,1"'),
]
_Bin = Annotated[int, Field(ge=1, le=32)]
Binning = Annotated[
    tuple[_Bin, _Bin, _Bin],
    Strict(False),
    BeforeValidator(_binning),
    Expected("a whole number from 1 to 32, or three of them, [z, y, x]"),
]
