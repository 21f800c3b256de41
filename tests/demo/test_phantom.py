"""The phantom cell: the same for one seed, all ontologies in it, and none to be had by a threshold."""

import numpy as np
import pytest

from pom.demo.cell import Label
from pom.demo.phantom import ONTOLOGIES, Phantom, make_phantom

SHAPE = (40, 220, 210)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom([7, 0], SHAPE)


def test_shapes_and_types(phantom: Phantom) -> None:
    assert phantom.density.shape == phantom.labels.shape == phantom.membrane.shape == SHAPE
    assert phantom.density.dtype == np.float32
    assert phantom.labels.dtype == np.uint8
    assert np.isfinite(phantom.density).all()
    assert phantom.membrane.dtype == np.float32
    assert 0 <= phantom.membrane.min() < 0.1
    assert 0.9 < phantom.membrane.max() <= 1


def test_same_seed_same_bytes() -> None:
    first, second, other = (make_phantom([1, index], (24, 100, 96)) for index in (0, 0, 1))
    for name in ("density", "labels", "membrane"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
        assert getattr(first, name).tobytes() != getattr(other, name).tobytes()


def test_labels_are_the_ontologies() -> None:
    assert [label.name.capitalize() for label in Label][1:] == list(ONTOLOGIES)
    assert [int(label) for label in Label] == list(range(len(ONTOLOGIES) + 1))


def test_every_voxel_has_one_ontology_and_each_has_its_share(phantom: Phantom) -> None:
    shares = np.bincount(phantom.labels.ravel(), minlength=len(Label)) / phantom.labels.size
    assert len(shares) == len(Label)
    assert shares[Label.NOTHING] == 0
    assert shares[Label.CYTOPLASM] > 0.2
    assert min(shares[Label.MITOCHONDRION], shares[Label.NUCLEUS]) > 0.05
    assert min(shares[Label.VESICLE], shares[Label.DROPLET], shares[Label.VOID]) > 0.005


def test_without_leaves_an_organelle_out() -> None:
    labels = make_phantom([7, 0], (24, 150, 150), without=("Nucleus", "Droplet")).labels
    assert not np.isin(labels, (Label.NUCLEUS, Label.DROPLET)).any()
    assert (labels == Label.MITOCHONDRION).any()


def test_dense_is_dark_on_average(phantom: Phantom) -> None:
    droplet, void = (phantom.density[phantom.labels == label].mean() for label in (Label.DROPLET, Label.VOID))
    assert droplet < phantom.density.mean() < void


def test_no_threshold_tells_the_ontologies_apart(phantom: Phantom) -> None:
    """Even the mean of 9 slices, as a network sees it, overlaps: within an ontology it varies more than between."""
    middle = SHAPE[0] // 2
    slab = phantom.density[middle - 4 : middle + 5].mean(axis=0)
    labels = phantom.labels[middle]
    tissue = [slab[labels == label] for label in Label if label not in (Label.NOTHING, Label.VOID)]
    means = [values.mean() for values in tissue if values.size]
    assert np.ptp(means) < 2 * min(values.std() for values in tissue if values.size)


def test_the_membrane_is_at_membranes(phantom: Phantom) -> None:
    """Mitochondria are full of membranes, droplets have none inside, and the void is empty."""
    found = phantom.membrane > 0.5
    share = {label: found[phantom.labels == label].mean() for label in Label if label != Label.NOTHING}
    assert share[Label.MITOCHONDRION] > 2 * share[Label.CYTOPLASM]
    assert share[Label.VESICLE] > 2 * share[Label.DROPLET]
    assert share[Label.VOID] < 0.02
