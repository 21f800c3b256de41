"""Jobs of a SLURM cluster: submitted, and what became of them.

submitit is used for what it knows of SLURM: submission, and the listings of squeue and sacct. Its own job scripts run
a pickled Python function, which ties a job to one installation and which nobody can read; here a job script runs a
plain command line.
"""

import contextlib
import io
import logging
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmInfoWatcher

from pom.errors import PomError
from pom.io.atomic import write_error, write_json, write_text
from pom.jobs.slurm_script import job_script
from pom.project.json_file import read_json_object
from pom.project.slurm_settings import SlurmSettings

__all__ = ["SlurmJob", "job_script", "jobs", "submit"]

log = logging.getLogger(__name__)

# submitit writes its log to stdout, where the answers of commands belong.
logging.getLogger("submitit").handlers.clear()

REMEMBERED = 100
"""How many of the latest submissions are asked about."""
SECONDS_TO_ANSWER = 20.0
UNKNOWN = "UNKNOWN"
ALIVE = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD", "PREEMPTED")


@dataclass(frozen=True)
class SlurmJob:
    """A job, or one element of an array (whose ``id`` is such as ``12_0``), as SLURM tells of it."""

    id: str
    name: str
    state: str
    """In SLURM's words: PENDING, RUNNING, COMPLETED, NODE_FAIL, ...; or UNKNOWN where SLURM does not answer."""
    node: str | None
    reason: str
    """Why it waits or how it ended, in SLURM's words; may be empty."""

    @property
    def over(self) -> bool:
        """Whether SLURM will run it no more."""
        return self.state not in (*ALIVE, UNKNOWN)


def submit(settings: SlurmSettings, command: Sequence[str], name: str, logs: Path, array: int | None) -> str:
    """Submits the ``job_script`` of the same arguments and returns the job's id, a number.

    The folder ``logs`` is made; it keeps the script, such as ``12.sh``, and a note, ``12.json``, by which ``jobs``
    knows the job.

    Raises:
        PomError: there is no SLURM on this machine, it refuses the job, or ``logs`` cannot be written.
    """
    script = job_script(settings, command, name, logs, array)
    try:
        logs.mkdir(parents=True, exist_ok=True)  # before the job starts: SLURM would not make it, and fail the job
    except OSError as error:
        raise write_error(logs, error) from error
    job_id = _submit_script(script)
    note = {"id": job_id, "name": name, "array": array, "command": list(command), "submitted": time.time()}
    try:
        write_text(logs / f"{job_id}.sh", script)
        write_json(logs / f"{job_id}.json", note)
    except PomError:
        # Better no job than one that nobody knows of.
        subprocess.run(["scancel", job_id], check=False)
        raise
    return job_id


def jobs(logs: Path) -> list[SlurmJob]:
    """What SLURM tells of the latest jobs submitted with ``logs``: of each job, and of each element of an array.

    Jobs that SLURM has forgotten are left out. Every call asks SLURM's controller, which many people share: a few
    calls a minute are fine. Where SLURM does not answer, each job is UNKNOWN and the reason says why.
    """
    names = _submitted(logs)
    if not names:
        return []
    try:
        answers = _ask(["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%N|%r"], names)
    except _NoAnswerError as error:
        return [SlurmJob(job_id, name, UNKNOWN, None, str(error)) for job_id, name in names.items()]
    # squeue forgets a job minutes after its end; sacct does not, on clusters that keep accounts.
    ended = names.keys() - {_parent(element) for element in answers}
    if ended:
        fields = "--format=JobID,State,NodeList,ExitCode"
        with contextlib.suppress(_NoAnswerError):
            answers |= _ask(["sacct", "--noheader", "--parsable2", "--allocations", fields], ended)
    found = [_slurm_job(element, names[_parent(element)], answer) for element, answer in answers.items()]
    return sorted(found, key=lambda job: [int(number) for number in job.id.split("_")])


class _ScriptExecutor(SlurmExecutor):
    """Submits a script as it is, in place of a pickled function."""

    def __init__(self, folder: Path, script: str) -> None:
        super().__init__(folder)
        self._script = script

    def _make_submission_file_text(self, command: str, uid: str) -> str:
        return self._script

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        command = ["sbatch", str(submission_file_path)]
        if "SLURM_JOB_ID" not in os.environ:
            return command
        # A job submitted from within a job would inherit the size of that one.
        inherited = [
            key for key in os.environ if key.startswith(("SLURM_", "SLURMD_", "SRUN_")) and key != "SLURM_CONF"
        ]
        return ["env", *(f"--unset={key}" for key in inherited), *command]


def _submit_script(script: str) -> str:
    """Gives a script to sbatch, which keeps a copy of its own, and returns the job's id."""
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise PomError("SLURM's sbatch and srun are not on this machine: submit where your cluster has them.")
    # submitit prints what sbatch complains of, and raises it too.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        try:
            return _ScriptExecutor(Path(folder), script)._submit_command("").job_id
        except (FailedJobError, FailedSubmissionError) as error:
            reason = "; ".join(re.sub("^sbatch: (error|fatal): ", "", line) for line in str(error).splitlines())
            raise PomError(
                f"SLURM does not take the job ({reason}): mend that, or change what the job asks for, under 'slurm' in"
                " the configuration or on the command line."
            ) from error


class _NoAnswerError(Exception):
    """SLURM does not answer; the text says why."""


def _ask(command: list[str], job_ids: Collection[str]) -> dict[str, Mapping[str, str]]:
    """What a command that lists id, state, nodes and reason tells, by job or element; unknown jobs are left out."""
    try:
        done = subprocess.run(
            [*command, f"--jobs={','.join(job_ids)}"], capture_output=True, text=True, timeout=SECONDS_TO_ANSWER,
            check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise _NoAnswerError(f"{command[0]} is not on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise _NoAnswerError(f"{command[0]} did not answer within {SECONDS_TO_ANSWER:g} s") from error
    # A single job that it has forgotten is an error to squeue; among several it is passed over.
    if done.returncode and "Invalid job id" not in done.stderr:
        lines = done.stderr.strip().splitlines() or [f"{command[0]} failed with status {done.returncode}"]
        raise _NoAnswerError(lines[-1])
    told: dict[str, Mapping[str, str]] = {}
    told.update(SlurmInfoWatcher().read_info("JobID|State|NodeList|Reason\n" + done.stdout))
    # Where an id is used again, by another cluster or a new installation, others' jobs may come too.
    return {element: answer for element, answer in told.items() if _parent(element) in job_ids}


def _slurm_job(element: str, name: str, answer: Mapping[str, str]) -> SlurmJob:
    node, reason = answer["NodeList"], answer["Reason"]
    if reason in ("None", "0:0"):
        reason = ""
    elif reason.replace(":", "").isdigit():  # sacct's exit status and signal
        reason = f"exit status {reason}"
    # sacct writes 'CANCELLED by 1000' and 'None assigned'.
    return SlurmJob(element, name, answer["State"].split()[0], None if node in ("", "None assigned") else node, reason)


def _parent(element: str) -> str:
    """The job of an element of an array: 12 for 12_0."""
    return element.partition("_")[0]


def _submitted(logs: Path) -> dict[str, str]:
    """The names of the latest jobs by id; a note that cannot be read is passed over with a warning."""
    numbers = sorted((int(path.stem) for path in logs.glob("*.json") if path.stem.isdigit()), reverse=True)
    names: dict[str, str] = {}
    for number in numbers[:REMEMBERED]:
        try:
            names[str(number)] = str(read_json_object(logs / f"{number}.json").get("name", ""))
        except PomError as error:
            log.warning("%s", error)
    return names
