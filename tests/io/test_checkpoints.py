import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pom.errors import PomError
from pom.io.checkpoints import (
    CARD_FILE,
    FAMILIARITY_FILE,
    WEIGHTS_FILE,
    Calibration,
    ModelCard,
    ReliabilityBin,
    load_familiarity,
    load_network,
    load_weights,
    read_card,
    save_network,
)

Network = tuple[dict[str, torch.Tensor], ModelCard]


@pytest.fixture
def network(random_network: Callable[..., Network]) -> Network:
    return random_network("joint", ("Disc", "_", "Unknown"))


def test_saved_and_loaded(tmp_path: Path, network: Network) -> None:
    weights, card = network
    written = save_network(tmp_path / "models" / "joint", weights, card)
    loaded, loaded_card = load_network(tmp_path / "models" / "joint", "pom shared train")
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)
    assert loaded_card == written
    data = (tmp_path / "models" / "joint" / WEIGHTS_FILE).read_bytes()
    assert written.weights_sha256 == hashlib.sha256(data).hexdigest()
    assert written.model_copy(update={"weights_sha256": ""}) == card


def test_the_card_is_plain_json(tmp_path: Path, network: Network) -> None:
    save_network(tmp_path, *network)
    card = json.loads((tmp_path / CARD_FILE).read_text())
    assert card["outputs"] == ["Disc", "_", "Unknown"]
    assert card["preprocessing"] == {"channels": ["Density", "Membrane"], "z_sum": 1, "binning": [2, 2, 2]}


def test_a_card_with_its_calibration(tmp_path: Path, network: Network) -> None:
    weights, card = network
    part = ReliabilityBin(probability=0.9, drawn=0.85, pixels=100)
    calibration = Calibration(
        temperature=1.5, ece_before=0.08, ece=0.02, measured_on="other tomograms", n_pixels=100, n_tomograms=3,
        n_orientations=4, bins_before=(part,), bins=(part,),
    )  # fmt: skip
    written = save_network(tmp_path, weights, card.model_copy(update={"calibration": calibration}))
    read = read_card(tmp_path)
    assert read == written
    assert read is not None
    assert (read.calibration, read.temperature) == (calibration, 1.5)


def test_a_card_of_an_earlier_version(tmp_path: Path, network: Network) -> None:
    """It knows nothing of calibration, nor of what is familiar, nor of the threshold of its labels."""
    save_network(tmp_path, *network)
    card = json.loads((tmp_path / CARD_FILE).read_text())
    del card["calibration"], card["familiarity_sha256"], card["training"]["unknown_threshold"]
    (tmp_path / CARD_FILE).write_text(json.dumps(card))
    read = read_card(tmp_path)
    assert read is not None
    assert (read.calibration, read.temperature, read.training.unknown_threshold) == (None, 1.0, None)
    assert load_familiarity(tmp_path, read) is None


def test_what_is_familiar_belongs_to_one_network(
    tmp_path: Path, network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    known = {"mean": torch.arange(3.0), "window": torch.tensor(64)}
    card = save_network(tmp_path, *network, known)
    loaded = load_familiarity(tmp_path, card)
    assert loaded is not None
    assert loaded.keys() == known.keys()
    assert all(torch.equal(loaded[name], known[name]) for name in known)
    assert not caplog.records
    (tmp_path / FAMILIARITY_FILE).write_bytes(b"another")
    assert load_familiarity(tmp_path, card) is None
    assert "familiarity.safetensors is not the file that card.json beside it describes" in caplog.text
    # A network that knows nothing leaves no file of an earlier one.
    save_network(tmp_path, *network)
    assert not (tmp_path / FAMILIARITY_FILE).exists()


def test_weights_in_any_memory_layout(tmp_path: Path, network: Network) -> None:
    """Training leaves them channels-last; safetensors asks for plain ones."""
    weights, card = network
    last = {n: w.to(memory_format=torch.channels_last) if w.ndim == 4 else w for n, w in weights.items()}
    save_network(tmp_path, last, card)
    loaded, _ = load_network(tmp_path, "pom shared train")
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)


def test_where_there_is_no_network(tmp_path: Path) -> None:
    assert read_card(tmp_path / "nowhere") is None
    with pytest.raises(PomError, match=r"There is no trained network in .*nowhere; run 'pom shared train' first"):
        load_network(tmp_path / "nowhere", "pom shared train")


def test_a_failed_write_leaves_no_card_without_its_weights(
    tmp_path: Path, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up between card and weights: there is no network then, rather than a wrong one."""
    save_network(tmp_path, *network)

    def fail(path: Path, text: str) -> None:
        raise PomError(f"The disk is full, so {path} was not written.")

    monkeypatch.setattr("pom.io.checkpoints.write_text", fail)
    with pytest.raises(PomError, match="The disk is full"):
        save_network(tmp_path, *network)
    assert read_card(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{}", "hello", '{"kind": "joint"}', "\x00"])
def test_a_damaged_card(tmp_path: Path, network: Network, text: str) -> None:
    save_network(tmp_path, *network)
    (tmp_path / CARD_FILE).write_text(text)
    with pytest.raises(PomError, match=r"card\.json is damaged; train the network again"):
        load_network(tmp_path, "pom shared train")


def test_weights_that_the_card_does_not_describe(tmp_path: Path, network: Network) -> None:
    weights, card = network
    save_network(tmp_path, weights, card)
    save_network(tmp_path / "other", {name: tensor + 1 for name, tensor in weights.items()}, card)
    (tmp_path / "other" / WEIGHTS_FILE).replace(tmp_path / WEIGHTS_FILE)
    with pytest.raises(PomError, match=r"is not the file that card\.json beside it describes; run 'pom shared train'"):
        load_network(tmp_path, "pom shared train")


def test_weights_from_a_file_or_a_folder(tmp_path: Path, network: Network) -> None:
    save_network(tmp_path, *network)
    assert load_weights(tmp_path).keys() == load_weights(tmp_path / WEIGHTS_FILE).keys() == network[0].keys()


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    checkpoint = tmp_path / "old.ckpt"
    checkpoint.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(PomError, match=r"old\.ckpt is not a safetensors file of network weights"):
        load_weights(checkpoint)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"{}"])
def test_what_is_no_file_of_weights(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(PomError, match=r"w\.safetensors is not a safetensors file"):
        load_weights(tmp_path / "w.safetensors")


def test_a_missing_file_of_weights(tmp_path: Path) -> None:
    with pytest.raises(PomError, match=r"nowhere cannot be read \(No such file or directory\)"):
        load_weights(tmp_path / "nowhere")
