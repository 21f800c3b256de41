"""The electron microscope, kept simple: contrast transfer, missing wedge, noise, and a membrane segmentation."""

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft

from pom.demo.shapes import Field, smooth_field

VOXEL_SIZE = 15.68  # Angstrom
WAVELENGTH = 0.0197  # Angstrom, of electrons at 300 kV
AMPLITUDE_CONTRAST = 0.25  # more than the usual 0.07: thick samples and energy filters add to it
LARGEST_TILT = 60.0  # degrees


@dataclass(frozen=True)
class Exposure:
    """How one tomogram was taken.

    ``defocus`` in Angstrom; ``blur`` of the reconstruction as a standard deviation in voxels; ``noise`` as the
    standard deviation of a voxel, in units of mass; ``gain`` and ``offset`` make the file's grey values of it.
    """

    defocus: float
    blur: float
    noise: float
    gain: float
    offset: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Exposure":
        """One tomogram's own exposure: no two of a dataset are alike."""
        return cls(
            defocus=rng.uniform(30_000, 55_000),
            blur=rng.uniform(0.5, 0.9),
            noise=rng.uniform(0.45, 0.80),
            gain=rng.uniform(300, 900),
            offset=rng.uniform(-400, 400),
        )


def take_tomogram(rng: np.random.Generator, mass: Field, exposure: Exposure) -> Field:
    """The reconstruction (z, y, x) of ``mass`` (z, y, x): dense is dark, as in cryo-ET."""
    kz, ky, kx = _frequencies(mass.shape)
    squared = kz**2 + ky**2 + kx**2
    noise = exposure.noise * rng.standard_normal(mass.shape, dtype=np.float32)
    spectrum = scipy.fft.rfftn(noise, workers=-1)
    spectrum -= _contrast_transfer(squared, exposure) * scipy.fft.rfftn(mass - mass.mean(), workers=-1)
    spectrum *= np.exp(-2 * (np.pi * exposure.blur) ** 2 * squared) * _sampled(mass.shape)
    density = scipy.fft.irfftn(spectrum, s=mass.shape, workers=-1).astype(np.float32, copy=False)
    return exposure.offset + exposure.gain * density


def segment_membrane(rng: np.random.Generator, membrane: Field) -> Field:
    """A membrane segmentation (z, y, x) in 0..1 as a network would give it, from the true ``membrane`` in 0..1.

    Membranes that lie in the plane of the slice are lost in the missing wedge; others have gaps and
    frayed edges; some things that are no membranes are found too.
    """
    spectrum = scipy.fft.rfftn(membrane, workers=-1) * _sampled(membrane.shape)
    seen = scipy.fft.irfftn(spectrum, s=membrane.shape, workers=-1)
    doubt = 0.35 * smooth_field(rng, membrane.shape, 14.0) + 0.10 * smooth_field(rng, membrane.shape, 2.0)
    mistaken = 0.6 * np.maximum(smooth_field(rng, membrane.shape, 5.0) - 2.3, 0)
    evidence = 1.1 * seen + doubt * np.clip(2 * seen, 0, 1) + mistaken - 0.5
    probability: Field = 1 / (1 + np.exp(-9 * evidence))
    return probability


def _frequencies(shape: tuple[int, ...]) -> tuple[Field, Field, Field]:
    """The frequencies kz, ky, kx of a real transform in cycles a voxel, each along its own axis."""
    nz, ny, nx = shape
    kz, ky, kx = np.fft.fftfreq(nz), np.fft.fftfreq(ny), np.fft.rfftfreq(nx)
    z, y, x = np.meshgrid(kz, ky, kx, indexing="ij", sparse=True)
    return z.astype(np.float32), y.astype(np.float32), x.astype(np.float32)


def _contrast_transfer(squared: Field, exposure: Exposure) -> Field:
    """The contrast transfer at ``squared`` frequencies (z, y, x): phase contrast at a defocus, amplitude contrast."""
    phase = np.float32(np.pi * WAVELENGTH * exposure.defocus / VOXEL_SIZE**2) * squared
    transfer: Field = np.sin(phase + np.float32(np.arcsin(AMPLITUDE_CONTRAST)))
    return transfer


def _sampled(shape: tuple[int, ...]) -> Field:
    """Which frequencies (z, 1, x) the tilt series about y measured: 1, falling to 0 in the missing wedge."""
    kz, _, kx = _frequencies(shape)
    inside = math.tan(math.radians(LARGEST_TILT)) * np.abs(kx) - np.abs(kz)
    return np.clip(0.5 + inside * shape[0] / 2, 0, 1)
