import logging

import pytest

from pom import progress as module
from pom.progress import Progress, track


@pytest.fixture(autouse=True)
def talkative(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A line for every step; there is no terminal here."""
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", -1.0)
    caplog.set_level(logging.INFO, "pom.progress")


def test_lines_off_a_terminal(caplog: pytest.LogCaptureFixture) -> None:
    assert list(track("abc", "Letters", 3)) == ["a", "b", "c"]
    assert caplog.messages == ["Letters: 1 of 3", "Letters: 2 of 3", "Letters: 3 of 3"]


def test_it_never_goes_back_nor_past_the_end(caplog: pytest.LogCaptureFixture) -> None:
    with Progress("Tomograms", 5) as progress:
        progress.advance()
        progress.show(4)
        progress.show(2)
        progress.advance()
        progress.advance()
    assert caplog.messages == ["Tomograms: 1 of 5", "Tomograms: 4 of 5", "Tomograms: 5 of 5"]
