"""What a worker process does, from its start to its end."""

import contextlib
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from pom.errors import PomError
from pom.jobs.pool import Message, Slot
from pom.jobs.signals import interrupt_once
from pom.jobs.worker import Identity, Listeners, Worker, WorkerBroken, from_own_place
from pom.networks.devices import Devices
from pom.workflow.segmentation import Segmentation

EXIT_BROKEN = 70  # as sysexits.h has it: an internal software error


@dataclass(frozen=True)
class Order:
    """What the workers of one command are to do."""

    segmentation: Segmentation
    waiting: Mapping[str, float | None]
    """The tomograms, each with when its record was written before the command began, if there was one."""


class _Telling:
    """Tells the process that started this one; the thread that reads ahead tells too."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._mutex = threading.Lock()

    def __call__(self, message: Message) -> None:
        with self._mutex:
            self._connection.send(message)


class _WarningsToStarter(logging.Handler):
    """Sends warnings to the process that started this one, whose terminal a person sees."""

    def __init__(self, tell: _Telling) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        # Where the starter is gone, the log file has the warning all the same.
        with contextlib.suppress(OSError):
            self._tell(Message("warning", text=record.getMessage()))


def run_worker(slot: Slot, connection: Connection, order: Order) -> None:
    """Works until nothing is left to do; the process ends here, whatever its threads are still at."""
    interrupt_once()
    tell = _Telling(connection)
    status = EXIT_BROKEN
    try:
        path = _log_to_file(order.segmentation)
        logging.getLogger("pom").addHandler(_WarningsToStarter(tell))
        _work(slot, tell, order, str(path))
        status = 0
    except KeyboardInterrupt:
        status = 0
    except PomError as error:
        tell(Message("stopped", text=str(error)))
        status = 0
    except WorkerBroken:
        pass
    except BaseException:
        logging.getLogger("pom").exception("The worker ends by a fault of the program:")
    finally:
        sys.stderr.flush()
        # A reading thread in the middle of a large file would otherwise be waited for.
        os._exit(status)


def _work(slot: Slot, tell: _Telling, order: Order, log_file: str) -> None:
    import torch

    from pom.workflow.segment_tomogram import SegmentTomogram

    if slot.threads is not None:
        torch.set_num_threads(slot.threads)
    segmentation = order.segmentation
    devices = Devices() if slot.gpu is None else Devices((slot.gpu,))
    names = from_own_place(list(order.waiting), f"{socket.gethostname()} {os.getpid()}")
    listeners = Listeners(
        done=lambda name: tell(Message("done", name)),
        failed=lambda name, reason: tell(Message("failed", name, reason)),
    )
    claims = segmentation.claims
    try:
        Worker(
            SegmentTomogram(segmentation, devices),
            {name: order.waiting[name] for name in names},
            claims, segmentation.ledger, Identity(devices.first, log_file), listeners,
        ).work()  # fmt: skip
    finally:
        claims.close()


def _log_to_file(segmentation: Segmentation) -> Path:
    """Sends all that this process says, what native code says among it, to a file of its own."""
    started = time.strftime("%Y%m%d-%H%M%S")
    path = segmentation.project.jobs(segmentation.step) / "logs" / f"{started}-{socket.gethostname()}-{os.getpid()}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    package = logging.getLogger("pom")
    package.addHandler(handler)
    package.setLevel(logging.DEBUG)
    return path
