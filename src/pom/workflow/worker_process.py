"""What a worker process does, from its start to its end."""

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

from pom.errors import PomError
from pom.jobs.pool import Message, Slot
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


class _ToStarter(logging.Handler):
    """Sends warnings to the process that started this one, whose terminal a person sees."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(logging.WARNING)
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        self._connection.send(Message("warning", text=record.getMessage()))


def run_worker(slot: Slot, connection: Connection, order: Order) -> None:
    """Works until nothing is left to do; the process ends here, whatever its threads are still at."""
    signal.signal(signal.SIGTERM, interrupt)
    status = EXIT_BROKEN
    try:
        path = _log_to_file(order.segmentation)
        _log_warnings_to(connection)
        _work(slot, connection, order, str(path))
        status = 0
    except KeyboardInterrupt:
        status = 0
    except PomError as error:
        connection.send(Message("stopped", text=str(error)))
        status = 0
    except WorkerBroken:
        pass
    except BaseException:
        logging.getLogger("pom").exception("The worker ends by a fault of the program:")
    finally:
        sys.stderr.flush()
        # A reading thread in the middle of a large file would otherwise be waited for.
        os._exit(status)


def _work(slot: Slot, connection: Connection, order: Order, log_file: str) -> None:
    import torch

    from pom.workflow.segment_tomogram import SegmentTomogram

    if slot.threads is not None:
        torch.set_num_threads(slot.threads)
    segmentation = order.segmentation
    devices = Devices() if slot.gpu is None else Devices((slot.gpu,))
    names = from_own_place(list(order.waiting), f"{socket.gethostname()} {os.getpid()}")
    listeners = Listeners(
        done=lambda name: connection.send(Message("done", name)),
        failed=lambda name, reason: connection.send(Message("failed", name, reason)),
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


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    """A handler by which a signal does what Ctrl-C does."""
    raise KeyboardInterrupt


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


def _log_warnings_to(connection: Connection) -> None:
    logging.getLogger("pom").addHandler(_ToStarter(connection))
