"""Training for real, on small patches: resumed, repeated, killed, on two processes, short of memory."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from pom.errors import PomError
from pom.networks.devices import Devices
from pom.networks.unet import UNet
from pom.training.data import EpochBatches, LabelledPatches
from pom.training.fit import Trained, fit, step_size
from pom.training.objectives import single_objective
from pom.training.plan import Plan
from pom.training.state import STATE, TrainingState, fingerprint, forget_training
from pom.training.task import NetworkTask

WIDTHS = (8, 16)
ONCE = torch.ones(32, dtype=torch.float64)
Fit = Callable[..., Trained]


def patches(n: int, seed: int = 0) -> LabelledPatches:
    """Bright squares on noise; the squares are drawn."""
    random = np.random.default_rng(seed)
    drawn = np.zeros((n, 32, 32), np.bool_)
    for mask in drawn:
        y, x = random.integers(2, 18, 2)
        mask[y : y + 10, x : x + 10] = True
    images = (random.normal(size=(n, 1, 32, 32)) + 3.0 * drawn[:, None]).astype(np.float32)
    everywhere = torch.ones(n, 32, 32, dtype=torch.bool)
    zeros = torch.zeros(n, dtype=torch.int64)
    drawn_pixels = torch.from_numpy(drawn)
    return LabelledPatches(
        torch.from_numpy(images), drawn_pixels.to(torch.uint8), everywhere, zeros, drawn_pixels, everywhere, zeros,
        torch.ones(n, dtype=torch.float64),
    )  # fmt: skip


def plan(epochs: int = 6, *, stop_early: bool = False, learning_rate: float = 3e-3) -> Plan:
    return Plan(epochs, batch_size=4, learning_rate=learning_rate, seed=1, bf16=False, stop_early=stop_early)


def train(folder: Path, chosen: Plan, network: nn.Module | None = None) -> Trained:
    torch.manual_seed(0)
    training, validation = patches(16), patches(4, seed=1)
    network = network or UNet(1, 1, WIDTHS)
    mark = fingerprint(network, training, validation, chosen)
    objective, density = single_objective("Square", training), torch.tensor([True])
    return fit(network, objective, training, validation, density, chosen, Devices(), folder, "Square", mark)


def weights(trained: Trained) -> dict[str, Tensor]:
    return trained.network.state_dict()


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_learns_squares_and_writes_a_row_per_epoch(tmp_path: Path) -> None:
    trained = train(tmp_path, plan(25, learning_rate=1e-2))
    assert trained.validation["Square"]["dice"] > 0.8
    rows = (tmp_path / "history.csv").read_text().splitlines()
    assert len(rows) == 1 + 25
    assert rows[0] == "epoch,learning_rate,loss,validation_loss,dice,dice Square,precision Square,recall Square"


def test_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    first, again = train(tmp_path / "a", plan(3)), train(tmp_path / "b", plan(3))
    other = train(tmp_path / "c", Plan(3, 4, 3e-3, seed=2, bf16=False, stop_early=False))
    assert same(weights(first), weights(again))
    assert first.history == again.history
    assert not same(weights(first), weights(other))


SCRIPT = """
import sys, os, signal
from pathlib import Path
sys.path[:0] = {paths!r}
import test_fit
from lightning.pytorch.callbacks import Callback
from pom.training.state import TrainingState

class Interrupt(Callback):
    def on_train_batch_end(self, trainer, task, outputs, batch, index):
        if trainer.current_epoch == 3 and index == 1:
            os.kill(os.getpid(), signal.{signal})

original = TrainingState.callbacks
TrainingState.callbacks = lambda self, *args: [*original(self, *args), Interrupt()]
try:
    test_fit.train(Path({folder!r}), test_fit.plan())
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT", "SIGTERM"])
def test_interrupted_training_goes_on_to_the_same_weights(tmp_path: Path, name: str) -> None:
    straight = train(tmp_path / "straight", plan())
    folder = tmp_path / "interrupted"
    paths = [str(Path(__file__).parent), *sys.path]
    script = SCRIPT.format(paths=paths, signal=name, folder=str(folder))
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == (-signal.SIGKILL if name == "SIGKILL" else 130), result.stderr
    assert len(list((folder / STATE).glob("*/last.ckpt"))) == 1
    resumed = train(folder, plan())
    assert [row["epoch"] for row in resumed.history] == [1, 2, 3, 4, 5, 6]
    assert same(weights(resumed), weights(straight))
    assert resumed.validation == straight.validation


def test_a_torn_checkpoint_means_a_new_start_and_not_a_crash(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "torn"
    paths = [str(Path(__file__).parent), *sys.path]
    script = SCRIPT.format(paths=paths, signal="SIGKILL", folder=str(folder))
    subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    (checkpoint,) = (folder / STATE).glob("*/last.ckpt")
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    trained = train(folder, plan())
    assert len(trained.history) == 6
    assert "cannot be read" in caplog.text


def test_other_settings_do_not_go_on_from_an_interrupted_training(tmp_path: Path) -> None:
    other = tmp_path / STATE / "0123456789abcdef"
    other.mkdir(parents=True)
    (other / "last.ckpt").write_bytes(b"of another network")
    assert len(train(tmp_path, plan(2)).history) == 2
    forget_training(tmp_path)
    assert not (tmp_path / STATE).exists()


def test_a_finished_training_whose_network_could_not_be_written_is_not_done_again(tmp_path: Path) -> None:
    first = train(tmp_path, plan(3))
    again = train(tmp_path, plan(3))
    assert again.history == first.history
    assert same(weights(again), weights(first))


class Greedy(UNet):
    """Asks for more memory than there is whenever it is given more than two patches."""

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > 2 and self.training:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(images)


class Insatiable(UNet):
    def forward(self, images: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_out_of_memory_means_smaller_batches_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trained = train(tmp_path, plan(2), Greedy(1, 1, WIDTHS))
    assert len(trained.history) == 2
    assert [record.getMessage() for record in caplog.records if "memory" in record.getMessage()] == [
        "Square: out of GPU memory; going on with 2 patches at a time."
    ]


def test_no_memory_even_for_one_patch_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PomError, match="not even one patch fits"):
        train(tmp_path, plan(2), Insatiable(1, 1, WIDTHS))


def test_early_stopping_keeps_the_best_epoch(tmp_path: Path) -> None:
    trained = train(tmp_path, plan(40, stop_early=True))
    dices = [row["dice"] for row in trained.history]
    assert trained.validation["Square"]["dice"] == pytest.approx(max(dices), abs=2e-3)


def test_what_goes_on_from_an_epoch_knows_which_was_the_best_up_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dices: list[float] = []

    class Interrupt(Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            dices.append(float(trainer.callback_metrics["dice"]))

        def on_train_epoch_start(self, *_: Any) -> None:
            if dices[:-1] and dices[-1] > max(dices[:-1]):
                raise KeyboardInterrupt

    original = TrainingState.callbacks
    monkeypatch.setattr(TrainingState, "callbacks", lambda self, *args: [*original(self, *args), Interrupt()])
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, plan(25, stop_early=True, learning_rate=1e-2))
    (path,) = (tmp_path / STATE).glob("*/last.ckpt")
    callbacks = torch.load(path, map_location="cpu", weights_only=True)["callbacks"]
    (best,) = (state for key, state in callbacks.items() if "ModelCheckpoint" in key and "'dice'" in key)
    assert float(best["best_model_score"]) == dices[-1]


def test_what_goes_on_in_a_moved_folder_still_knows_which_epoch_was_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = plan(8, stop_early=True, learning_rate=3e-2)
    original = TrainingState.callbacks

    def best_until(folder: Path, epoch: int) -> float:
        class Interrupt(Callback):
            def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
                if trainer.current_epoch == epoch:
                    raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(TrainingState, "callbacks", lambda self, *args: [*original(self, *args), Interrupt()])
            with pytest.raises(KeyboardInterrupt):
                train(folder, chosen)
        (path,) = (folder / STATE).glob("*/last.ckpt")
        callbacks = torch.load(path, map_location="cpu", weights_only=True)["callbacks"]
        (best,) = (state for key, state in callbacks.items() if "ModelCheckpoint" in key and "'dice'" in key)
        return float(best["best_model_score"])

    before = best_until(tmp_path / "before", 2)
    (tmp_path / "before").rename(tmp_path / "after")
    assert best_until(tmp_path / "after", 3) == before
    assert not (tmp_path / "before").exists()


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("torn", [True, False])
def test_without_its_best_epoch_a_training_does_not_end_with_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, first: bool, torn: bool
) -> None:
    """Something else removes or tears the file when the training has ended, before the network is taken from it."""
    original = TrainingState.restore

    def restore(state: TrainingState, task: NetworkTask) -> None:
        (path,) = (tmp_path / STATE).glob("*/best.ckpt")
        path.write_bytes(path.read_bytes()[:1000]) if torn else path.unlink()
        monkeypatch.setattr("pom.training.state.is_first_process", lambda: first)
        original(state, task)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "restore", restore)
        if not first:  # it may be on a node that does not see the file yet, and writes no network
            assert len(train(tmp_path, plan(2, stop_early=True)).history) == 2
            return
        fault = "cannot be read" if torn else "is gone"
        with pytest.raises(PomError, match=rf"best\.ckpt, the best epoch of this training, {fault}.*train again"):
            train(tmp_path, plan(2, stop_early=True))
    again = train(tmp_path, plan(2, stop_early=True))
    assert "training starts anew" in caplog.text
    assert [row["epoch"] for row in again.history] == [1, 2]
    assert len(list((tmp_path / STATE).glob("*/best.ckpt"))) == 1


DDP_SCRIPT = """
import os, sys, json
from pathlib import Path
sys.path[:0] = {paths!r}
import test_fit
import pom.training.loop as loop
from lightning.pytorch.callbacks import Callback
from pom.training.state import TrainingState
from pom.training.team import Team, is_first_process

class Interrupt(Callback):
    '''Tells one process to stop, wherever the others are.'''
    def on_train_batch_end(self, trainer, task, outputs, batch, index):
        if trainer.current_epoch == 2 and index == 0 and is_first_process() == (sys.argv[1] == "first"):
            os.kill(os.getpid(), {sigterm})

if sys.argv[1] != "nobody":
    original = TrainingState.callbacks
    TrainingState.callbacks = lambda self, *args: [*original(self, *args), Interrupt()]
loop.team_of = lambda devices: (Team(per_node=2), devices)
try:
    trained = test_fit.train(Path({folder!r}), test_fit.plan(4))
except KeyboardInterrupt:
    sys.exit(130)
answer = {{"first": is_first_process(), "dice": trained.validation["Square"]["dice"], "epochs": len(trained.history)}}
Path({folder!r} + f"-{{os.getpid()}}.json").write_text(json.dumps(answer))
"""


@pytest.fixture
def on_two_processes(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Trains on two processes and tells 'first', 'second' or 'nobody' to stop in the third epoch."""
    script = tmp_path / "train_on_two.py"
    paths = [str(Path(__file__).parent), *sys.path]
    script.write_text(DDP_SCRIPT.format(paths=paths, folder=str(tmp_path / "out"), sigterm=int(signal.SIGTERM)))
    # As within a job whose processes srun has not started, which Lightning would wait for.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "x"}
    return lambda told: subprocess.run(
        [sys.executable, str(script), told], capture_output=True, text=True, check=False, env=environment, timeout=120
    )


def answers_in(folder: Path) -> list[dict[str, Any]]:
    """What each process has found; both write to one standard output, where lines would run into each other."""
    return [json.loads(path.read_text()) for path in folder.glob("out-*.json")]


def test_two_processes_train_together(
    on_two_processes: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    result = on_two_processes("nobody")
    assert result.returncode == 0, result.stderr
    answers = sorted(answers_in(tmp_path), key=lambda answer: answer["first"])
    assert [answer.pop("first") for answer in answers] == [False, True]
    assert answers[0] == answers[1]
    assert answers[0]["epochs"] == 4


@pytest.mark.parametrize("told", ["first", "second"])
def test_processes_stop_together_and_go_on(
    on_two_processes: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path, told: str
) -> None:
    assert on_two_processes(told).returncode == 130
    assert (tmp_path / "out" / "history.csv").read_text().splitlines()[-1].startswith("2,")
    result = on_two_processes("nobody")
    assert result.returncode == 0, result.stderr
    assert [answer["epochs"] for answer in answers_in(tmp_path)] == [4, 4]


def test_an_epoch_shows_every_patch_once_whatever_the_number_of_processes() -> None:
    strata = torch.tensor([0] * 5 + [1] * 18)
    for processes in (1, 2, 3):
        shown: list[int] = []
        for rank in range(processes):
            batches = EpochBatches(strata, ONCE[:23], 4, seed=0, rank=rank, processes=processes)
            batches.set_epoch(7)
            own = list(batches)
            assert len(own) == len(batches)
            shown += [index for batch in own for index in batch]
        assert set(shown) == set(range(23))
        # Only what fills the last round up is shown twice.
        assert len(shown) - 23 < 4 * processes


def test_rare_patches_are_spread_evenly_over_an_epoch() -> None:
    strata = torch.tensor([0] * 4 + [1] * 28)
    batches = EpochBatches(strata, ONCE, 8, seed=3)
    for epoch in range(5):
        batches.set_epoch(epoch)
        assert [sum(int(strata[index]) == 0 for index in batch) for batch in batches] == [1, 1, 1, 1]


def test_patches_are_shown_as_often_as_they_should_be() -> None:
    strata = torch.tensor([0] * 3 + [1] * 20)
    frequency = torch.tensor([23 / 6] * 3 + [23 / 40] * 20, dtype=torch.float64)
    batches = EpochBatches(strata, frequency, 4, seed=3)
    times = torch.zeros(23)
    for epoch in range(40):
        batches.set_epoch(epoch)
        order = [index for batch in batches for index in batch]
        assert len(order) in (22, 23, 24)
        assert 0.4 < sum(index < 3 for index in order) / len(order) < 0.6
        assert all(1 <= sum(index < 3 for index in batch) <= 3 for batch in batches)
        times += torch.bincount(torch.tensor(order), minlength=23)
    assert (times - 40 * frequency).abs().max() <= 1


def test_batches_shrink_only_where_there_are_few_patches() -> None:
    assert step_size(1000, 32) == 32
    assert step_size(48, 32) == 6
    assert step_size(10, 32) == 4
    assert step_size(2, 32) == 2


def test_checkpoints_need_no_room_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    assert len(train(tmp_path / "network", plan(2)).history) == 2


def test_a_full_disk_leaves_the_last_whole_epoch_to_go_on_from(
    tmp_path: Path, disk_of: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    straight = train(tmp_path / "straight", plan(3))
    (checkpoint,) = (tmp_path / "straight" / STATE).glob("*/last.ckpt")
    disk = disk_of(f"{checkpoint.stat().st_size * 3 // 2048}k")
    with pytest.raises(PomError, match=r"disk is full, so .*last\.ckpt was not written"):
        train(disk, plan(3))
    # The second epoch found no room beside the first.
    (kept,) = (disk / STATE).glob("*/*")
    assert torch.load(kept, weights_only=True)["epoch"] == 0
    subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
    caplog.set_level("INFO")
    resumed = train(disk, plan(3))
    assert "Going on with the interrupted training" in caplog.text
    assert [row["epoch"] for row in resumed.history] == [1, 2, 3]
    assert same(weights(resumed), weights(straight))
