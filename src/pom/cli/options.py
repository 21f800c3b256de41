"""The options that several commands share; each in one-dash and two-dash style."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class Switch(StrEnum):
    """0 or 1; true as 1."""

    OFF = "0"
    ON = "1"

    def __bool__(self) -> bool:
        return self is Switch.ON


def _ontology(which: str) -> Any:
    """The option ``-o NAME``."""
    return typer.Option("-o", "-ontology", "--ontology", metavar="NAME", show_default=False, help=which)


Ontology = Annotated[str | None, _ontology("The ontology, as it is written under 'ontologies' in the configuration.")]
Ontologies = Annotated[
    list[str] | None,
    _ontology("The ontology to train, as it is written in the configuration; may be given several times."),
]

AllOntologies = Annotated[
    Switch,
    typer.Option(
        "-all",
        "--all",
        "--all-features",
        metavar="0|1",
        help="1: train every ontology of the configuration, one after the other; --all alone means 1.",
    ),
]


def _gpus(use: str) -> Any:
    """The option ``-gpus``; ``use`` says what is done with those that it names."""
    return typer.Option(
        "-gpus",
        "--gpus",
        metavar="LIST",
        show_default=False,
        help=f"GPU numbers with commas between them, such as 0,1, {use}; -1: the CPU. Without it the"
        " configuration's GPUS counts, and without any GPU the CPU works.",
    )


Gpus = Annotated[str | None, _gpus("which train together")]
FirstGpu = Annotated[str | None, _gpus("of which the first is used")]
WorkerGpus = Annotated[str | None, _gpus("each with a worker of its own")]

Workers = Annotated[
    int | None,
    typer.Option(
        "-workers",
        "--workers",
        metavar="N",
        min=1,
        show_default=False,
        help="On the CPU: so many workers, which divide its cores. Without it one worker has them all.",
    ),
]

Counterexamples = Annotated[
    Switch,
    typer.Option(
        "-c",
        "-counterexamples",
        "--counterexamples",
        metavar="0|1",
        help="1: what was drawn for the other ontologies is shown to the network too, as pixels that it must not name;"
        " 0: only this ontology's boxes.",
    ),
]

Selective = Annotated[
    Switch,
    typer.Option(
        "-selective",
        "--selective",
        metavar="0|1",
        help="1: only patches with an annotated pixel; 0: all patches.",
    ),
]


def _overwrite(on: str, off: str, *more_names: str) -> Any:
    """The option ``-overwrite``; ``on`` and ``off`` say what 1 and 0 do."""
    text = f"1: {on}; 0: {off}; --overwrite alone means 1."
    return typer.Option(*more_names, "-overwrite", "--overwrite", metavar="0|1", help=text)


Overwrite = Annotated[Switch, _overwrite("make all existing outputs again", "skip them")]
Again = Annotated[Switch, _overwrite("do all again", "only what is new or has changed")]
PretrainAgain = Annotated[Switch, _overwrite("make the pretrained network again where there is one", "leave it")]
OverwritePictures = Annotated[
    Switch, _overwrite("draw all pictures anew", "those whose volumes or settings have changed", "-o")
]

Processes = Annotated[
    int,
    typer.Option("-p", "-processes", "--processes", metavar="N", min=1, help="So many tomograms at a time."),
]

Steps = Annotated[
    int | None,
    typer.Option(
        "-steps",
        "--steps",
        metavar="N",
        min=1,
        show_default=False,
        help="How many steps to learn, rounded up to a multiple of 50. Without it 800: about three minutes on a core or"
        " two.",
    ),
]

Outdated = Annotated[
    Switch,
    typer.Option(
        "-outdated",
        "--outdated",
        metavar="0|1",
        help="1: make outputs of an older network again; --outdated alone means 1.",
    ),
]

Direct = Annotated[
    Switch,
    typer.Option(
        "-direct",
        "--direct",
        metavar="0|1",
        help="1: learn from the annotations alone, without single networks; --direct alone means 1. 0: learn what 'pom"
        " shared initialize' has the single networks say.",
    ),
]

Checkpoint = Annotated[
    Path | None,
    typer.Option(
        "-checkpoint",
        "--checkpoint",
        metavar="PATH",
        exists=True,
        show_default=False,
        help="The weights to start from: the folder of a trained network, such as models/joint of another project, or"
        " a .safetensors file.",
    ),
]
