"""Pretraining on tiny tomograms, and what later trainings make of it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from pom.errors import PomError
from pom.io.checkpoints import CARD_FILE, WEIGHTS_FILE
from pom.io.mrc import MrcWriter
from pom.io.pretrained import PretrainedCard, load_pretrained, read_pretrained_card, save_pretrained
from pom.networks.devices import Devices
from pom.networks.unet import UNet, trunk_of
from pom.project.paths import Project
from pom.training import pretraining, run
from pom.training.state import STATE, TrainingState
from pom.workflow.overview import overview
from pom.workflow.pretrain import pretrain
from pom.workflow.shared_train import shared_train
from pom.workflow.single_initialize import preprocessing_of, single_initialize
from pom.workflow.single_train import single_train

MakeProject = Callable[..., Project]
CPU = Devices()
PNG = b"\x89PNG\r\n\x1a\n"
NARROW = (8, 16)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A narrow network, and epochs of two steps of three crops."""
    monkeypatch.setattr(pretraining, "UNet", lambda inputs, outputs: UNet(inputs, outputs, NARROW))
    for module in ("pom.training.pretraining", "pom.workflow.pretrain"):
        monkeypatch.setattr(f"{module}.STEPS_PER_EPOCH", 2)
        monkeypatch.setattr(f"{module}.BATCH", 3)


def write_nan(project: Project, name: str) -> None:
    """Puts a not-a-number into the tomogram."""
    with MrcWriter(project.tomogram(name), (12, 64, 72), np.dtype(np.float32), (10.0,) * 3) as writer:
        writer.write(np.full((12, 64, 72), np.nan, np.float32))


@pytest.mark.usefixtures("quick")
def test_pretraining_leaves_weights_card_and_pictures(make_project: MakeProject) -> None:
    project = make_project(macromolecules=("Density", "_", "Membrane"))
    for name in project.tomogram_names():
        project.annotation(name).unlink()
    folder = project.pretrained_network
    made = pretrain(project, CPU, steps=5)
    assert made.is_new
    assert {path.name for path in folder.iterdir()} == {
        WEIGHTS_FILE, CARD_FILE, "history.csv", "curves.png", "filled_in.png"
    }  # fmt: skip
    for picture in ("curves.png", "filled_in.png"):
        data = (folder / picture).read_bytes()
        assert data.startswith(PNG)
        assert len(data) > 5000
    card = read_pretrained_card(folder)
    assert card == made.card
    assert (card.steps, card.batch_size, card.left_out) == (6, 3, {})
    # A tomogram is smaller than a crop, and three crops would cover it eight times.
    assert (len(card.tomograms), card.crops) == (2, 6)
    assert (len(card.validation_tomograms), card.validation_crops) == (1, 3)
    assert {*card.tomograms, *card.validation_tomograms} == {"TS_1", "TS_2", "TS_3"}
    assert card.preprocessing == preprocessing_of(project)
    assert card.pixel_size == pytest.approx(15.68)
    assert 0.0 < card.loss < 2.0
    assert card.validation_loss is not None
    assert 0.0 < card.validation_loss < 2.0
    weights = load_pretrained(folder, card)
    assert weights.keys() == trunk_of(UNet(3, 3, NARROW)).keys()
    assert len((folder / "history.csv").read_text().splitlines()) == 1 + 3

    # Once it is there it is left alone, until it does not fit or is to be made again.
    assert pretrain(project, CPU, steps=5) == replace(made, is_new=False)
    other = replace(project, configuration=project.configuration.model_copy(update={"binning": (1, 1, 1)}))
    with pytest.raises(PomError, match="its binning is 2, 2, 2 and not 1, 1, 1: run 'pom pretrain --overwrite'"):
        pretrain(other, CPU, steps=5)
    again = pretrain(project, CPU, steps=5, overwrite=True).card
    assert (again.weights_sha256, again.fingerprint) == (card.weights_sha256, card.fingerprint)


@pytest.mark.usefixtures("quick")
def test_interrupted_pretraining_goes_on_to_the_same_weights(
    make_project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = pretrain(make_project(tmp_path / "a"), CPU, steps=6).card
    project = make_project(tmp_path / "b")

    class Interrupt(Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            if trainer.current_epoch == 1:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        original = TrainingState.callbacks
        patch.setattr(TrainingState, "callbacks", lambda self, *args: [*original(self, *args), Interrupt()])
        with pytest.raises(KeyboardInterrupt):
            pretrain(project, CPU, steps=6)
    folder = project.pretrained_network
    assert len(list((folder / STATE).glob("*/last.ckpt"))) == 1
    assert read_pretrained_card(folder) is None
    resumed = pretrain(project, CPU, steps=6).card
    assert resumed.weights_sha256 == straight.weights_sha256
    assert (folder / "history.csv").read_text() == (tmp_path / "a/models/pretrained/history.csv").read_text()
    assert not (folder / STATE).exists()


@pytest.mark.usefixtures("quick")
def test_tomograms_that_cannot_be_used_are_left_out_and_said(
    make_project: MakeProject, caplog: pytest.LogCaptureFixture
) -> None:
    project = make_project(tomograms=("TS_1", "TS_2", "TS_3", "TS_4", "TS_5"), validation_share=0.0)
    write_nan(project, "TS_2")
    project.tomogram("TS_3").write_bytes(b"no tomogram")
    project.macromolecule("TS_4", "Membrane").unlink()
    with caplog.at_level("INFO"):
        card = pretrain(project, CPU, steps=2).card
    assert card.tomograms == ("TS_1", "TS_5")
    assert (card.validation_tomograms, card.validation_loss) == ((), None)
    assert list(card.left_out) == ["TS_2", "TS_3"]
    assert "NaN or infinite values" in card.left_out["TS_2"]
    assert "1 tomogram lacks a volume of Membrane and cannot be pretrained on." in caplog.messages
    assert [text.split(":")[0] for text in caplog.messages if "left out" in text] == ["TS_2 left out", "TS_3 left out"]


def test_without_any_tomogram_to_use(make_project: MakeProject) -> None:
    project = make_project(tomograms=())
    with pytest.raises(PomError, match=r"There are no tomograms \(\.mrc\) in .*; put some there"):
        pretrain(project, CPU)
    project = make_project(tomograms=("TS_1",))
    write_nan(project, "TS_1")
    with pytest.raises(PomError, match=r"No tomogram could be used to pretrain on; TS_1, for one: .*NaN"):
        pretrain(project, CPU)
    project.macromolecule("TS_1", "Membrane").unlink()
    with pytest.raises(PomError, match="Every tomogram lacks a volume of Membrane in"):
        pretrain(project, CPU)


class Begun(Exception):  # noqa: N818
    """Carries a network as its training begins."""


@pytest.fixture
def first_weights(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], tuple[dict[str, Tensor], str]]:
    """The weights that a training begins with, and its fingerprint; it goes no further."""

    def stop(network: UNet, *arguments: Any) -> None:
        raise Begun({name: weights.clone() for name, weights in network.state_dict().items()}, arguments[-1])

    def of(training: Callable[[], object]) -> tuple[dict[str, Tensor], str]:
        with monkeypatch.context() as patch:
            patch.setattr(run, "fit", stop)
            with pytest.raises(Begun) as begun:
                training()
        weights, fingerprint = begun.value.args
        return weights, fingerprint

    return of


def test_both_trainings_begin_with_pretrained_weights(
    make_project: MakeProject,
    pretrained_card: Callable[..., PretrainedCard],
    first_weights: Callable[[Callable[[], object]], tuple[dict[str, Tensor], str]],
) -> None:
    project = make_project()
    single_initialize(project)
    trainings = {
        "single": lambda: single_train(project, ["Disc"], CPU, counterexamples=True),
        "direct": lambda: shared_train(project, CPU, None, direct=True),
    }
    before = {name: first_weights(training) for name, training in trainings.items()}
    torch.manual_seed(77)
    network = UNet(2, 2)
    trunk = {name: weights.clone() for name, weights in trunk_of(network).items()}
    save_pretrained(project.pretrained_network, trunk, pretrained_card(widths=network.widths))
    for name, training in trainings.items():
        weights, fingerprint = first_weights(training)
        assert all(torch.equal(weights[key], tensor) for key, tensor in trunk.items())
        assert torch.equal(weights["head.weight"], before[name][0]["head.weight"])
        assert fingerprint != before[name][1]
    # Without the folder all is as it was.
    project.pretrained_network.rename(project.folder / "aside")
    assert {name: first_weights(training)[1] for name, training in trainings.items()} == {
        name: fingerprint for name, (_, fingerprint) in before.items()
    }


def test_the_card_says_that_training_began_with_pretrained_weights(
    make_project: MakeProject, pretrained_card: Callable[..., PretrainedCard], caplog: pytest.LogCaptureFixture
) -> None:
    project = make_project(single_model_epochs=1, tomograms=("TS_1", "TS_2"))
    network = UNet(2, 2)
    folder = project.pretrained_network
    pretrained = save_pretrained(folder, trunk_of(network), pretrained_card(widths=network.widths))
    assert overview(project).pretrained == 2
    single_initialize(project)
    with caplog.at_level("INFO"):
        card = single_train(project, ["Disc"], CPU, counterexamples=False)["Disc"]
    assert f"Disc: begins with the pretrained network in {folder}." in caplog.messages
    assert card.training.started_from == str(folder)
    assert card.training.pretrained_sha256 == pretrained.weights_sha256 != ""
    written = json.loads((project.single_network("Disc") / CARD_FILE).read_text())
    assert written["training"]["pretrained_sha256"] == pretrained.weights_sha256


def test_what_does_not_fit_is_a_note_of_the_overview(
    make_project: MakeProject, pretrained_card: Callable[..., PretrainedCard]
) -> None:
    project = make_project(tomograms=("TS_1",), macromolecules=("Density",))
    assert overview(project).pretrained is None
    save_pretrained(project.pretrained_network, {}, pretrained_card())
    state = overview(project)
    assert state.pretrained is None
    assert (
        "The pretrained network is not used, since its channels are Density, Membrane and not Density: "
        "pom pretrain --overwrite."
    ) in state.notes
