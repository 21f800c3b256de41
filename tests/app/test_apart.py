import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pom.app.answers import DroppedError
from pom.app.browse.apart import Apart
from pom.errors import PomError
from pom.io.mrc import read_header


@pytest.fixture
def apart() -> Iterator[Apart]:
    apart = Apart()
    yield apart
    apart.close()


def test_it_computes_elsewhere_and_always_there(apart: Apart) -> None:
    assert apart.call(divmod, 7, 3) == (2, 1)
    process = apart.call(os.getpid)
    assert process != os.getpid()
    assert apart.call(os.getpid) == process


def test_a_fault_of_a_person_is_told_and_costs_nothing(apart: Apart, tmp_path: Path) -> None:
    process = apart.call(os.getpid)
    with pytest.raises(PomError, match="There is no file"):
        apart.call(read_header, tmp_path / "none.mrc")
    assert apart.call(os.getpid) == process


def test_what_is_under_way_is_broken_off_by_whose_it_is(apart: Apart, tmp_path: Path) -> None:
    process = apart.call(os.getpid)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    said: list[Exception] = []

    def long() -> None:
        try:
            apart.call(Path.read_bytes, pipe, whose="mine")
        except DroppedError as error:
            said.append(error)

    waiting = threading.Thread(target=long)
    waiting.start()
    with pipe.open("wb"):  # once it is being read
        apart.break_off("another's")
        apart.break_off("")
        assert waiting.is_alive()
        apart.break_off("mine")
        waiting.join(20)
    assert len(said) == 1
    assert apart.call(os.getpid) != process


def test_a_process_that_dies_is_said_and_replaced(apart: Apart) -> None:
    with pytest.raises(PomError, match="want of memory"):
        apart.call(os._exit, 9)
    assert apart.call(divmod, 7, 3) == (2, 1)


def test_an_idle_process_ends_and_the_next_call_starts_another(until: Callable[..., object]) -> None:
    apart = Apart(seconds_idle=0.05)
    process = apart.call(os.getpid)
    until(lambda: process not in [child.pid for child in multiprocessing.active_children()])
    assert apart.call(os.getpid) != process
    apart.close()
    apart.close()
