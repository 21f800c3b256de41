"""The text of a SLURM job script, made so that what ends a job early only sends it back into the queue."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from pom.project.slurm_settings import SECONDS_TO_STOP, SlurmSettings

# Bash answers a signal at once only while it waits, hence the command in the background. A second signal ends a
# 'wait' early, hence the loop. The traps come first, since a signal may come at any moment. A command that ended with
# 0 after the warning has nothing left to go back for.
_RUN = """\
# Lets the command ($!, the last one in the background) save what it has and release its work.
stop() {{
    {terminate} 2>/dev/null
    while
        wait "$!"
        status=$?
        kill -0 "$!" 2>/dev/null
    do :; done
}}

# SIGTERM: the job is cancelled or preempted; SLURM itself requeues what it preempts.
trap 'stop; exit $status' TERM

# SIGUSR1: the time is nearly up; unless all is done, the job goes back into the queue.
trap 'stop; [ $status -eq 0 ] || scontrol requeue "$SLURM_JOB_ID"; exit $status' USR1

{command} &
wait "$!"
"""


def job_script(settings: SlurmSettings, command: Sequence[str], name: str, logs: Path, array: int | None) -> str:
    """The text of a job script, as it is submitted.

    The script runs in the folder that is the current one now. The command must end soon after SIGTERM and take up
    its work when it is run again: a job that runs out of time, is preempted, or loses its node is requeued. SIGTERM
    may reach it twice, from SLURM and from the script.

    Args:
        settings: What the job asks for.
        command: Program and arguments.
        name: The job's name.
        logs: Folder of the logs, one file per job or element of the array; it must exist when the job starts.
        array: Number of elements, each of which runs the command once, on one node; None for one job that runs the
            command once per GPU, on ``settings.nodes`` nodes, by srun.
    """
    nodes, tasks = (1, 1) if array is not None else (settings.nodes, settings.gpus_per_node or 1)
    line, terminate = shlex.join(command), 'kill -TERM "$!"'
    if nodes * tasks > 1:
        # srun does not inherit --cpus-per-task; one task that died must not leave the others waiting for it.
        cpus = f" --cpus-per-task={settings.cpus_per_task}" if settings.cpus_per_task else ""
        line = f"srun --kill-on-bad-exit=1{cpus} {line}"
        # srun answers SIGTERM by killing the tasks; this signals the tasks themselves.
        terminate = 'scancel --signal=TERM "$SLURM_JOB_ID"'
    options = [f"--job-name={shlex.quote(name)}", *_log_options(logs, array), "--requeue"]
    # B: to the shell alone, which passes it on as SIGTERM.
    options.append(f"--signal=B:USR1@{SECONDS_TO_STOP}")
    if array is not None:
        options.append(f"--array=0-{array - 1}")
    options += [f"--nodes={nodes}", f"--ntasks-per-node={tasks}", *_resources(settings), *settings.extra]
    head = ["#!/bin/bash", *(f"#SBATCH {option}" for option in options)]
    setup = [*settings.setup, ""] if settings.setup else []
    return "\n".join([*head, "", *setup, _RUN.format(command=line, terminate=terminate)])


def _log_options(logs: Path, array: int | None) -> Iterator[str]:
    yield f"--chdir={shlex.quote(str(Path.cwd()))}"
    folder = str(logs.absolute()).replace("%", "%%")  # SLURM fills in what follows a single %
    file = "%j.log" if array is None else "%A_%a.log"
    yield f"--output={shlex.quote(f'{folder}/{file}')}"
    yield "--open-mode=append"  # a job that is requeued goes on in its log


def _resources(settings: SlurmSettings) -> Iterator[str]:
    for key in ("partition", "account", "gpus_per_node", "cpus_per_task", "mem", "time"):
        value = getattr(settings, key)
        if value is not None:
            yield f"--{key.replace('_', '-')}={value}"
