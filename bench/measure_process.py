"""Work measured in a process of its own, so that its peak memory is its own."""

import importlib
import inspect
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

Figures = dict[str, float]


def run_alone(function: Callable[..., Figures], **arguments: object) -> Figures:
    """Calls a function of a script in this folder in a new process.

    Args:
        function: at the top level of its module; returns figures.
        arguments: its arguments, as JSON can hold them.

    Returns:
        Its figures and ``peak_bytes``, the most memory that the process had resident.

    Raises:
        subprocess.CalledProcessError: it failed; its traceback is on standard error.
    """
    module = Path(inspect.getfile(function)).stem
    command = [sys.executable, __file__, module, function.__name__, json.dumps(arguments)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    figures: Figures = json.loads(answer.stdout.splitlines()[-1])
    return figures


def peak_bytes() -> int:
    """The most memory that this process had resident so far.

    On Linux ``ru_maxrss`` begins with what the parent had resident when it forked, so the kernel's figure for the
    program itself is taken there.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _main() -> None:
    module, function, arguments = sys.argv[1:]
    figures: Figures = getattr(importlib.import_module(module), function)(**json.loads(arguments))
    print(json.dumps({**figures, "peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    _main()
