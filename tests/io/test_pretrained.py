import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pom.errors import PomError
from pom.io.channels import Preprocessing
from pom.io.checkpoints import CARD_FILE, WEIGHTS_FILE, read_card, save_network
from pom.io.pretrained import PretrainedCard, load_pretrained, misfit, read_pretrained_card, save_pretrained

PREPROCESSING = Preprocessing(channels=("Density", "_"), z_sum=1, binning=(2, 2, 2))
WEIGHTS = {"down.0.0.weight": torch.arange(6.0).reshape(2, 3)}


@pytest.fixture
def card(pretrained_card: Callable[..., PretrainedCard]) -> PretrainedCard:
    return pretrained_card(preprocessing=PREPROCESSING)


def test_saved_and_loaded(tmp_path: Path, card: PretrainedCard) -> None:
    written = save_pretrained(tmp_path / "p", WEIGHTS, card)
    assert read_pretrained_card(tmp_path / "p") == written
    assert json.loads((tmp_path / "p" / CARD_FILE).read_text())["kind"] == "pretrained"
    loaded = load_pretrained(tmp_path / "p", written)
    assert loaded.keys() == WEIGHTS.keys()
    assert torch.equal(loaded["down.0.0.weight"], WEIGHTS["down.0.0.weight"])


def test_where_there_is_none(tmp_path: Path) -> None:
    assert read_pretrained_card(tmp_path / "nowhere") is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"kind": "pretrained"}', "\x00"])
def test_a_damaged_card(tmp_path: Path, text: str) -> None:
    (tmp_path / CARD_FILE).write_text(text)
    with pytest.raises(PomError, match=r"card\.json is damaged: run 'pom pretrain --overwrite', or remove "):
        read_pretrained_card(tmp_path)


def test_weights_that_the_card_does_not_describe(tmp_path: Path, card: PretrainedCard) -> None:
    written = save_pretrained(tmp_path, WEIGHTS, card)
    (tmp_path / WEIGHTS_FILE).write_bytes((tmp_path / WEIGHTS_FILE).read_bytes()[:-1] + b"\x01")
    with pytest.raises(PomError, match=r"is not the file that card\.json beside it describes"):
        load_pretrained(tmp_path, written)


def test_one_kind_of_network_is_not_taken_for_another(
    tmp_path: Path, card: PretrainedCard, random_network: Callable[..., Any]
) -> None:
    save_pretrained(tmp_path / "pretrained", WEIGHTS, card)
    with pytest.raises(PomError, match=r"pretrained holds a pretrained network, which names nothing"):
        read_card(tmp_path / "pretrained")
    save_network(tmp_path / "joint", *random_network("joint", ("Disc", "Unknown")))
    with pytest.raises(PomError, match=r"joint holds a joint network and not a pretrained one: move it away"):
        read_pretrained_card(tmp_path / "joint")


def test_what_fits(card: PretrainedCard) -> None:
    assert misfit(card, PREPROCESSING, (8, 16)) is None
    for changes, said in (
        ({"channels": ("_", "Density")}, "its channels are Density, _ and not _, Density"),
        ({"z_sum": 4}, "its z_sum is 1 and not 4"),
        ({"binning": (1, 1, 1)}, "its binning is 2, 2, 2 and not 1, 1, 1"),
    ):
        assert misfit(card, PREPROCESSING.model_copy(update=changes), (8, 16)) == said
    assert misfit(card, PREPROCESSING, (8, 8)) == "its widths are 8, 16 and not 8, 8"
