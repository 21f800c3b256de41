"""What a training begins with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pom.errors import PomError
from pom.io.channels import Preprocessing
from pom.io.pretrained import PretrainedCard, save_pretrained
from pom.networks.unet import UNet, trunk_of
from pom.training.first_weights import Beginning, begin

PREPROCESSING = Preprocessing(channels=("Density",), z_sum=1, binning=(2, 2, 2))
WIDTHS = (8, 16)
Save = Callable[..., PretrainedCard]


def network(outputs: int = 3) -> UNet:
    torch.manual_seed(0)
    return UNet(1, outputs, WIDTHS)


@pytest.fixture
def save(pretrained_card: Callable[..., PretrainedCard]) -> Save:
    def save(folder: Path, **changes: Any) -> PretrainedCard:
        torch.manual_seed(5)
        card = pretrained_card(**{"preprocessing": PREPROCESSING, **changes})
        return save_pretrained(folder, trunk_of(UNet(1, 1, WIDTHS)), card)

    return save


def test_pretrained_weights_but_for_the_head(tmp_path: Path, save: Save, caplog: pytest.LogCaptureFixture) -> None:
    card = save(tmp_path)
    begun, fresh = network(), network()
    with caplog.at_level("INFO"):
        beginning = begin(begun, None, tmp_path, PREPROCESSING, "Disc")
    assert beginning == Beginning(str(tmp_path), card.weights_sha256)
    assert caplog.messages == [f"Disc: begins with the pretrained network in {tmp_path}."]
    torch.manual_seed(5)
    pretrained = trunk_of(UNet(1, 1, WIDTHS))
    assert all(torch.equal(begun.state_dict()[name], weights) for name, weights in pretrained.items())
    assert torch.equal(begun.head.weight, fresh.head.weight)
    assert torch.equal(begun.head.bias, fresh.head.bias)  # type: ignore[arg-type]
    assert not torch.equal(begun.down[0][0].weight, fresh.down[0][0].weight)  # type: ignore[index]


def test_random_weights_where_nothing_was_pretrained(tmp_path: Path) -> None:
    for folder in (None, tmp_path / "nowhere"):
        begun = network()
        assert begin(begun, None, folder, PREPROCESSING, "Disc") == Beginning()
        assert torch.equal(begun.down[0][0].weight, network().down[0][0].weight)  # type: ignore[index]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"preprocessing": PREPROCESSING.model_copy(update={"channels": ("Density", "Membrane")})},
         "its channels are Density, Membrane and not Density"),
        ({"preprocessing": PREPROCESSING.model_copy(update={"binning": (1, 1, 1)})},
         "its binning is 1, 1, 1 and not 2, 2, 2"),
        ({"widths": (8, 16, 32)}, "its widths are 8, 16, 32 and not 8, 16"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_a_sentence(
    tmp_path: Path, save: Save, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], said: str
) -> None:
    save(tmp_path, **changes)
    begun = network()
    assert begin(begun, None, tmp_path, PREPROCESSING, "Disc") == Beginning()
    assert caplog.messages == [
        f"The pretrained network in {tmp_path} is not used, since {said}: run 'pom pretrain --overwrite', or remove it."
    ]
    assert torch.equal(begun.down[0][0].weight, network().down[0][0].weight)  # type: ignore[index]


def test_a_checkpoint_comes_before_pretrained_weights(tmp_path: Path, save: Save) -> None:
    from safetensors.torch import save_file

    save(tmp_path / "pretrained")
    torch.manual_seed(7)
    weights = UNet(1, 3, WIDTHS).state_dict()
    save_file(weights, tmp_path / "w.safetensors")
    begun = network()
    beginning = begin(begun, tmp_path / "w.safetensors", tmp_path / "pretrained", PREPROCESSING, "Joint network")
    assert beginning == Beginning(str(tmp_path / "w.safetensors"))
    assert all(torch.equal(begun.state_dict()[name], tensor) for name, tensor in weights.items())


def test_a_pretrained_network_is_no_checkpoint(tmp_path: Path, save: Save) -> None:
    save(tmp_path)
    with pytest.raises(
        PomError, match="holds a pretrained network, which names nothing: put it into models/pretrained"
    ):
        begin(network(), tmp_path, None, PREPROCESSING, "Joint network")
    with pytest.raises(PomError, match="are of another network than this project's"):
        begin(network(), tmp_path / "weights.safetensors", None, PREPROCESSING, "Joint network")
