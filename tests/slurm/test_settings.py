from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from pom.project.slurm_settings import Slurm, SlurmSettings, slurm_settings


class Outer(BaseModel):
    """A model with the key, as the configuration has it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    slurm: Slurm = SlurmSettings()


def test_everything_may_be_left_to_the_cluster() -> None:
    settings = Outer.model_validate({"slurm": {}}).slurm
    assert settings == SlurmSettings() == Outer().slurm
    assert (settings.partition, settings.time, settings.array_size, settings.nodes) == (None, None, 8, 1)


def test_settings_go_to_json_and_come_back() -> None:
    settings = SlurmSettings(
        partition="gpu", account="lab-1", gpus_per_node=4, cpus_per_task=8, mem="64G", time="1-12:00:00", array_size=3,
        nodes=2, extra=("--qos=low",), setup=("module load cuda",),
    )  # fmt: skip
    outer = Outer(slurm=settings)
    assert outer.model_dump(mode="json")["slurm"]["extra"] == ["--qos=low"]
    assert Outer.model_validate(outer.model_dump(mode="json")) == outer


@pytest.mark.parametrize("time", ["5", "90", "05:00", "12:00:00", "0:05:00", "1-0", "2-12", "1-12:30", "1-00:00:00"])
def test_times_as_slurm_writes_them(time: str) -> None:
    assert SlurmSettings(time=time).time == time


@pytest.mark.parametrize("time", ["4", "04:59", "0:04:59", "", "1 day", "12h", "1:2:3:4", "-5", "1-", "٥٠"])
def test_a_time_that_is_none_or_in_which_nothing_can_be_done_is_refused(time: str) -> None:
    with pytest.raises(ValueError, match=r"holds 'time': .* which must be 5 minutes or more"):
        slurm_settings({"time": time})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"partition": "gpu\n#SBATCH --exclusive"}, "'partition'"),
        ({"account": "two words"}, "'account'"),
        ({"mem": "much"}, 'which must be the memory of a node, such as "64G", or null'),
        ({"mem": 64}, "holds 'mem': 64"),
        ({"gpus_per_node": 0}, "which must be a whole number, 1 or more, or null"),
        ({"array_size": True}, "holds 'array_size': true"),
        ({"extra": ["qos=low"]}, 'a list of options of sbatch, such as ["--qos=low"]'),
        ({"extra": ["--a\nrm -r x"]}, "holds 'extra'"),
        ({"setup": "module load cuda"}, "which must be a list of shell lines"),
        ({"partitions": "gpu"}, "unknown key 'partitions': remove it, or write 'partition'"),
        ("gpu", 'is "gpu", but must be an object'),
    ],
)
def test_a_fault_is_told_with_its_key_and_what_is_expected(values: Any, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"slurm": values})
    (fault,) = caught.value.errors()
    assert fault["loc"] == ("slurm",)
    assert words in str(fault["ctx"]["error"])
