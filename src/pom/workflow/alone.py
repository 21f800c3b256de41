"""What must not be done twice at a time in a project: long work, which refuses, and short changes, which wait.

It is the same whether they are begun in a terminal, from the browser or by SLURM.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from pom.errors import PomError
from pom.jobs.claims import LIFETIME, Claims, Holder
from pom.project.paths import Project
from pom.training.team import is_first_process

log = logging.getLogger(__name__)

SAMPLING = "cutting the training patches"
LABELLING = "making the joint labels"
JOINT_TRAINING = "training the joint network"
PRETRAINING = "pretraining"
SECONDS_TO_EXPIRE = 1.5 * LIFETIME
"""After which the claim of a process that was killed on another machine is free, and a little more."""
SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_TO_WAIT = 10.0
"""For somebody else's change, which takes a moment."""
SECONDS_BETWEEN_TRIES = 0.02


def training(ontology: str) -> str:
    """The work on a single network."""
    return f"training {ontology}"


@contextmanager
def alone(project: Project, works: Sequence[str]) -> Iterator[None]:
    """Sees to it that nobody else does any of these works meanwhile; of a team of processes the first one does.

    What was killed on this machine stands in nobody's way. Of what was killed on another one it takes up to
    ``SECONDS_TO_EXPIRE`` to know that, which are waited for; what lives there is noticed sooner.

    Raises:
        PomError: somebody else is at one of them, or the project folder cannot be written.
    """
    if not is_first_process():
        yield
        return
    claims = Claims(project.training_claims)
    try:
        for work in works:
            _take(claims, work)
        yield
    finally:
        claims.close()


@contextmanager
def changing(project: Project, what: str) -> Iterator[None]:
    """Waits until no other page or server of the project changes ``what``, and keeps them waiting meanwhile.

    Raises:
        PomError: somebody else is changing it for too long, or the project folder cannot be written.
    """
    claims = Claims(project.changing_claims)
    deadline = time.monotonic() + SECONDS_TO_WAIT
    try:
        while (claim := claims.take(what)) is None:
            if not claims.free_dead(what) and time.monotonic() > deadline:
                raise PomError(f"Somebody else is changing the {what} just now: try again in a moment.")
            time.sleep(SECONDS_BETWEEN_TRIES)
        with claim:
            yield
    finally:
        claims.close()


def at_work(project: Project) -> Mapping[str, Holder]:
    """Who does which work just now."""
    holders = Claims(project.training_claims).holders()
    return {work: holder for work, holder in holders.items() if not holder.is_dead}


def refusal(work: str, holder: Holder) -> str:
    """Why a work cannot begin, a sentence."""
    return f"Process {holder.pid} on {holder.host} is {work} already: wait for its end, or stop it there."


def _take(claims: Claims, work: str) -> None:
    if claims.take(work) or (claims.free_dead(work) and claims.take(work)):
        return
    before = now = claims.holders().get(work)
    if before is not None and not before.is_here:
        log.info("Process %d on %s was %s: looking whether it lives.", before.pid, before.host, work)
        deadline = time.monotonic() + SECONDS_TO_EXPIRE
        while now == before and time.monotonic() < deadline:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            if claims.take(work):
                return
            now = claims.holders().get(work)
    raise PomError(f"Somebody else is {work} already: run this again later." if now is None else refusal(work, now))
