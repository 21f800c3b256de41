"""A network applied to slices: batched, in every wanted orientation, in as much memory as there is."""

import logging
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pom.errors import PomError
from pom.io.checkpoints import ModelCard
from pom.networks.orientations import orient, orientations, restore, swaps_axes
from pom.networks.unet import UNet
from pom.volumes.pad import reflect_indices

log = logging.getLogger(__name__)

PIXELS_PER_BATCH = {"cpu": 1 << 20, "cuda": 1 << 24}
"""Pixels in flight: on a CPU more do not help, on a GPU they keep it busy."""


class Predictor:
    """Probabilities from a trained network, averaged over orientations.

    Args:
        weights: of the network.
        card: its card; the temperature of its calibration divides the logits.
        device: as PyTorch names it.
        bf16: whether to compute in bfloat16.
        n_orientations: 1, 2, 4 or 8 flips and rotations to average over.
    """

    def __init__(
        self, weights: dict[str, Tensor], card: ModelCard, device: str, *, bf16: bool, n_orientations: int
    ) -> None:
        network = UNet(len(card.preprocessing.channels), len(card.outputs), card.widths)
        network.load_state_dict(weights)
        self.card = card
        self.bf16 = bf16
        self._device = torch.device(device)
        self._type = torch.bfloat16 if bf16 else torch.float32
        self._network = _fused(network.eval()).to(self._device, self._type)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._orientations = orientations(n_orientations)
        self._stride = network.stride
        self._pixels = PIXELS_PER_BATCH[self._device.type]

    def predict(self, images: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Yields the probabilities of images in order, a batch at a time.

        Args:
            images: (n, channel, y, x), of any height and width.

        Yields:
            (batch, class, y, x), 0..1; of a joint network the classes sum to 1.
        """
        done = 0
        while done < len(images):
            per_image = images.shape[2] * images.shape[3] * len(self._orientations)
            batch = images[done : done + max(1, self._pixels // per_image)]
            try:
                probabilities = self._predict_batch(batch)
            except torch.OutOfMemoryError:
                if len(batch) == 1:
                    raise PomError(
                        f"Not even one slice of {images.shape[2]} x {images.shape[3]} pixels in "
                        f"{len(self._orientations)} orientations fits into the memory of {self._device}; lower "
                        "shared_model_runs_per_volume or use a larger GPU."
                    ) from None
                torch.cuda.empty_cache()
                self._pixels = len(batch) // 2 * per_image
                log.warning("Out of memory on %s: going on with %d slice(s) at a time.", self._device, len(batch) // 2)
                continue
            yield probabilities
            done += len(batch)

    @torch.inference_mode()
    def _predict_batch(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        images = torch.from_numpy(batch).to(self._device, self._type)
        total = torch.zeros(len(batch), len(self.card.outputs), *batch.shape[2:], device=self._device)
        # Those that exchange height and width make a batch of their own: their images have another shape.
        for swapped in (False, True):
            group = [k for k in self._orientations if swaps_axes(k) == swapped]
            if not group:
                continue
            probabilities = self._probabilities(torch.cat([orient(images, k) for k in group]))
            for k, part in zip(group, torch.split(probabilities, len(batch)), strict=True):
                total += restore(part, k)
        return (total / len(self._orientations)).cpu().numpy()

    def _probabilities(self, images: Tensor) -> Tensor:
        """Pads by reflection what the network's stride does not divide, and crops the answer back.

        Every orientation is padded at its own lower right, so that turning an image turns its answer exactly.
        """
        height, width = images.shape[2:]
        rows, columns = (
            torch.from_numpy(reflect_indices(0, -(-size // self._stride) * self._stride, size)).to(self._device)
            for size in (height, width)
        )
        padded = images[:, :, rows][:, :, :, columns].contiguous(memory_format=torch.channels_last)
        logits: Tensor = self._network(padded)[:, :, :height, :width].float()
        if self.card.temperature != 1.0:
            logits = logits / self.card.temperature
        return torch.sigmoid(logits) if self.card.kind == "single" else torch.softmax(logits, dim=1)


def _fused(network: nn.Module) -> nn.Module:
    """Folds every batch normalisation into the convolution before it; for evaluation only."""
    for module in network.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for name, following in zip(list(module._modules), list(module._modules)[1:], strict=False):
            convolution, normalisation = module._modules[name], module._modules[following]
            if isinstance(convolution, nn.Conv2d) and isinstance(normalisation, nn.BatchNorm2d):
                module._modules[name] = fuse_conv_bn_eval(convolution, normalisation)
                module._modules[following] = nn.Identity()
    return network
