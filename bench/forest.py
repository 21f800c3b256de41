"""The baseline that a user would pick: random forests on multiscale features of the pixels, as in ilastik."""

import numpy as np
from numpy.typing import NDArray
from skimage.feature import multiscale_basic_features  # type: ignore[import, unused-ignore]
from sklearn.ensemble import RandomForestClassifier  # type: ignore[import, unused-ignore]

from pom.io.channels import read_network_input
from pom.io.scns import read_scns
from pom.project.paths import Project
from pom.sampling.sections import annotated_sections
from pom.workflow.single_initialize import preprocessing_of

SIGMAS = (0.7, 10.0, 6)
"""Smallest and largest, in binned pixels, and how many from one to the other."""
TREES = 100
MOST_PIXELS = 100_000
"""That one forest learns from."""


class Forest:
    """One forest per ontology: what is drawn of it, against what in its boxes is not, and what is drawn of others.

    The most probable one is the answer. On development data that was better than one forest of all ontologies, grown
    on drawn pixels alone, and than Unknown where no forest says 0.5.

    Features are of one slice of what the networks see, of every channel: intensity, edges and texture (eigenvalues of
    the Hessian) at several scales.

    Args:
        project: with annotations.
        threads: to use.
    """

    def __init__(self, project: Project, threads: int) -> None:
        self._project = project
        self._threads = threads
        self._features = np.zeros((0, 0), np.float32)
        self._own = np.zeros(0, np.intp)
        self._drawn = np.zeros(0, np.bool_)
        self._forests: list[RandomForestClassifier | None] = []

    def read_annotations(self) -> None:
        """Computes the features of all pixels in boxes."""
        project, preprocessing = self._project, preprocessing_of(self._project)
        features, own, drawn = [], [], []
        for name in project.annotated_names():
            annotation = read_scns(project.annotation(name))
            shape = (annotation.n_slices, annotation.height, annotation.width)
            files = project.input_files(name, channels=preprocessing.channels)
            data = read_network_input(files, preprocessing, project.configuration.apix).data
            by_slice: dict[int, NDArray[np.float32]] = {}
            for label, ontology in enumerate(project.ontologies):
                of_it = [feature for feature in annotation.features if feature.title == ontology]
                for section in annotated_sections(of_it, shape, preprocessing.binning):
                    z = section.z // preprocessing.binning[0]
                    if z not in by_slice:
                        by_slice[z] = self._features_of(data[:, z])
                    features.append(by_slice[z][section.boxed])
                    drawn.append(section.drawn[section.boxed])
                    own.append(np.full(len(drawn[-1]), label))
        self._features, self._own, self._drawn = (np.concatenate(parts) for parts in (features, own, drawn))

    def fit(self) -> None:
        """Grows the forests; an ontology of which nothing is drawn has none."""
        random = np.random.default_rng(self._project.configuration.seed)
        for label in range(len(self._project.ontologies)):
            pixels = np.flatnonzero((self._own == label) | self._drawn)
            if len(pixels) > MOST_PIXELS:
                pixels = random.choice(pixels, MOST_PIXELS, replace=False)
            is_it = self._drawn[pixels] & (self._own[pixels] == label)
            forest = RandomForestClassifier(TREES, random_state=label, n_jobs=self._threads) if is_it.any() else None
            if forest is not None:
                forest.fit(self._features[pixels], is_it)
            self._forests.append(forest)

    def probabilities(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the forests say of images (z, channel, y, x): (ontology, z, y, x), 0..1."""
        answers = np.zeros((len(self._forests), len(images), *images.shape[2:]), np.float32)
        for z, image in enumerate(images):
            features = self._features_of(image).reshape(image[0].size, -1)
            for label, forest in enumerate(self._forests):
                if forest is not None:
                    answers[label, z] = forest.predict_proba(features)[:, -1].reshape(image[0].shape)
        return answers

    def _features_of(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """The features of (channel, y, x): (y, x, feature)."""
        smallest, largest, number = SIGMAS
        features: NDArray[np.float32] = multiscale_basic_features(  # type: ignore[no-untyped-call, unused-ignore]
            image, channel_axis=0, sigma_min=smallest, sigma_max=largest, num_sigma=number, workers=self._threads
        )
        return features
