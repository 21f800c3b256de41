import logging

import pytest
import torch

from pom.errors import PomError
from pom.networks import devices
from pom.networks.devices import Devices, choose_devices, parse_gpus, use_bf16


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Two GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    return monkeypatch


@pytest.fixture
def no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", (0,)),
        ("0,1,3", (0, 1, 3)),
        (" 2 , 0 ", (2, 0)),
        ("1,1", (1,)),
        ("", ()),
        ("-1", ()),
        (",", ()),
        ("007", (7,)),
    ],
)
def test_lists_of_gpus(text: str, expected: tuple[int, ...]) -> None:
    assert parse_gpus(text) == expected


@pytest.mark.parametrize("text", ["a", "0;1", "1.5", "0,x", "cuda:0", "0 1", "²"])
def test_what_is_no_list_of_gpus(text: str) -> None:
    with pytest.raises(PomError, match="is not a list of GPUs; write their numbers with commas between"):
        parse_gpus(text)


@pytest.mark.usefixtures("no_gpus")
def test_configured_gpus_that_no_machine_has_give_the_cpu_without_fuss(caplog: pytest.LogCaptureFixture) -> None:
    """The default configuration names eight; on a laptop there is none."""
    with caplog.at_level(logging.DEBUG):
        chosen = choose_devices(None, "0,1,2,3,4,5,6,7")
    assert chosen == Devices(())
    assert (chosen.accelerator, chosen.first) == ("cpu", "cpu")
    assert not caplog.records


def test_a_job_uses_all_gpus_that_slurm_gave_it(gpus: pytest.MonkeyPatch) -> None:
    gpus.setenv("SLURM_JOB_ID", "12")
    assert choose_devices(None, "0") == Devices((0,))  # SLURM looks after no GPUs there
    gpus.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert choose_devices(None, "0") == Devices((0, 1))
    assert choose_devices("1", "0") == Devices((1,))


@pytest.mark.usefixtures("no_gpus")
def test_a_gpu_asked_for_where_there_is_none() -> None:
    with pytest.raises(PomError, match="GPU 0 was asked for but is not there: this machine has no GPU that PyTorch"):
        choose_devices("0", "")


@pytest.mark.usefixtures("gpus")
def test_a_gpu_asked_for_that_is_not_there_lists_those_that_are() -> None:
    with pytest.raises(PomError, match=r"^GPU 2, 5 was asked for but is not there: this machine has GPU 0, 1; give"):
        choose_devices("0,2,5", "0")


@pytest.mark.usefixtures("gpus")
def test_a_configured_gpu_that_is_not_there_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert choose_devices(None, "0,1,2,3").gpus == (0, 1)
    assert [record.message for record in caplog.records] == [
        "The configuration's GPUS names GPU 2, 3, which this machine does not have; using what is there of them."
    ]


@pytest.mark.usefixtures("gpus")
def test_what_is_asked_for_precedes_what_is_configured(caplog: pytest.LogCaptureFixture) -> None:
    chosen = choose_devices("1", "0,7")
    assert (chosen.gpus, chosen.accelerator, chosen.first) == ((1,), "cuda", "cuda:1")
    assert choose_devices("", "0,1") == Devices(())
    assert not caplog.records


@pytest.mark.usefixtures("no_gpus")
def test_a_misspelt_list_is_an_error_without_gpus_too() -> None:
    with pytest.raises(PomError, match="'zero' is not a list of GPUs"):
        choose_devices("zero", "0")


def test_precision(gpus: pytest.MonkeyPatch) -> None:
    on_gpu, on_cpu = Devices((0,)), Devices()
    for hardware_has_it in (False, True):
        gpus.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=hardware_has_it: has)
        gpus.setattr(devices, "_cpu_has_bf16", lambda has=hardware_has_it: has)
        assert use_bf16(on_gpu, "auto") is hardware_has_it
        assert use_bf16(on_cpu, "auto") is hardware_has_it
        assert use_bf16(on_cpu, "bf16")
        assert not use_bf16(on_gpu, "float32")
