"""Which processors the networks run on."""

import logging
import os
from dataclasses import dataclass
from typing import Literal

from pom.errors import PomError

log = logging.getLogger(__name__)

NO_GPU = "-1"
"""As CUDA_VISIBLE_DEVICES has it."""

Precision = Literal["auto", "bf16", "float32"]


@dataclass(frozen=True)
class Devices:
    """The GPUs to use, by index; none means the CPU."""

    gpus: tuple[int, ...] = ()

    @property
    def accelerator(self) -> Literal["cpu", "cuda"]:
        """The kind of processor, as PyTorch and Lightning name it."""
        return "cuda" if self.gpus else "cpu"

    @property
    def first(self) -> str:
        """The device that a single process uses, as PyTorch names it."""
        return f"cuda:{self.gpus[0]}" if self.gpus else "cpu"


def choose_devices(explicit: str | None, configured: str) -> Devices:
    """Chooses the GPUs to use.

    In a job of SLURM these are all that the job was given, unless the person names some: the configuration's are
    those of the servers that people log in to.

    Args:
        explicit: what the person asked for in this command, such as "0,1"; None: nothing.
        configured: the configuration's GPUS.

    Raises:
        PomError: a GPU was asked for explicitly that is not there.
    """
    import torch

    there = tuple(range(torch.cuda.device_count())) if torch.cuda.is_available() else ()
    if explicit is None and "SLURM_JOB_ID" in os.environ and "CUDA_VISIBLE_DEVICES" in os.environ:
        return Devices(there)
    wanted = parse_gpus(configured if explicit is None else explicit)
    missing = [gpu for gpu in wanted if gpu not in there]
    if missing and explicit is not None:
        raise PomError(
            f"GPU {_enumerate(missing)} was asked for but is not there: this machine has "
            f"{'GPU ' + _enumerate(there) if there else 'no GPU that PyTorch can use'}; "
            f"give one of those with -gpus, or leave -gpus out."
        )
    if missing and there:
        log.warning(
            "The configuration's GPUS names GPU %s, which this machine does not have; using what is there of them.",
            _enumerate(missing),
        )
    return Devices(tuple(gpu for gpu in wanted if gpu in there))


def parse_gpus(text: str) -> tuple[int, ...]:
    """Reads a list of GPU indices such as "0,1,3"; an empty text, or -1, means none.

    Raises:
        PomError: the text is not such a list.
    """
    if text.strip() == NO_GPU:
        return ()
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() for part in parts):
        raise PomError(f"'{text}' is not a list of GPUs; write their numbers with commas between, such as 0,1,2.")
    return tuple(dict.fromkeys(int(part) for part in parts))


def use_bf16(devices: Devices, precision: Precision) -> bool:
    """Whether the networks compute in bfloat16: where it was asked for, or where the hardware has it."""
    import torch

    if precision != "auto":
        return precision == "bf16"
    if devices.gpus:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return _cpu_has_bf16()


def _cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 matrices in hardware (AVX512-BF16, AMX, Arm BF16)."""
    import torch

    capabilities = torch.backends.cpu.get_cpu_capability()
    if not capabilities.startswith("AVX512"):
        return False
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _enumerate(numbers: tuple[int, ...] | list[int]) -> str:
    return ", ".join(str(number) for number in numbers)
