"""Step 1: annotated boxes become training patches."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from pom.errors import PomError
from pom.io.channels import NetworkInput, Preprocessing, read_network_input
from pom.io.scns import Annotation, Feature
from pom.progress import track
from pom.project.paths import Project
from pom.sampling.boxes import OUTSIDE, Patch, PatchCutter, tiles_of
from pom.sampling.holdout import hold_out_tomograms, validation_mask
from pom.sampling.patches import OntologyCount, PatchSet, SamplingSummary
from pom.workflow.alone import SAMPLING, alone
from pom.workflow.annotations import annotation_of, newer_annotation

log = logging.getLogger(__name__)

TOO_SMALL = "smaller than one binned pixel"


@dataclass
class _Sampled:
    """The patches of one ontology while they are gathered."""

    patches: list[Patch] = field(default_factory=list)
    tomograms: list[str] = field(default_factory=list)
    pixel_sizes: list[float] = field(default_factory=list)
    box_sizes: set[float] = field(default_factory=set)
    """Of the features that gave patches."""


def single_initialize(project: Project) -> SamplingSummary:
    """Samples the training patches of every ontology from all annotations, and chooses those that validate.

    Of a tomogram that is annotated in both forms the newer counts, which is said.

    Raises:
        PomError: nothing is annotated, or another process does the same.
    """
    with alone(project, [SAMPLING]):
        return _initialize(project)


def _initialize(project: Project) -> SamplingSummary:
    ontologies = project.listed_ontologies()
    names = project.annotated_names()
    if not names:
        raise PomError(
            f"There are no annotated tomograms in {project.tomogram_dir}: annotate some with 'pom annotate', or put"
            " annotation files of Ais (.scns) beside them."
        )
    preprocessing = preprocessing_of(project)
    counts = {ontology: OntologyCount(ontology) for ontology in ontologies}
    sampled: dict[str, _Sampled] = {ontology: _Sampled() for ontology in ontologies}
    titles: Counter[str] = Counter()
    failed = {name: f"{project.tomogram(name)} is not there" for name in project.orphaned_annotations()}
    for name in track(names, "Annotated tomograms", len(names)):
        try:
            annotation = annotation_of(project, name)
            if annotation is None:
                raise PomError(f"The annotation of {name} has gone since the tomograms were listed: run this again.")
            titles.update(_foreign_titles(annotation, ontologies))
            if any(feature.title in counts and feature.boxes for feature in annotation.features):
                _sample(project, name, annotation, preprocessing, counts, sampled)
        except PomError as error:
            log.warning("%s left out: %s", name, error)
            failed[name] = str(error)
    if not any(part.patches for part in sampled.values()):
        raise PomError(_why_nothing(project, titles, failed))
    _save(project, preprocessing, sampled)
    box_sizes = {ontology: part.box_sizes for ontology, part in sampled.items()}
    _tell_box_sizes(box_sizes, project.configuration.ontology_annotation_box_size)
    return SamplingSummary(list(counts.values()), sorted(titles.items()), failed)


def preprocessing_of(project: Project) -> Preprocessing:
    """How the configuration wants the channels made."""
    configuration = project.configuration
    return Preprocessing(
        channels=configuration.macromolecules, z_sum=configuration.z_sum, binning=configuration.binning
    )


def _foreign_titles(annotation: Annotation, ontologies: tuple[str, ...]) -> Counter[str]:
    titles: Counter[str] = Counter()
    for feature in annotation.features:
        boxes = sum(len(centres) for centres in feature.boxes.values())
        if boxes and feature.title not in ontologies:
            titles[feature.title] += boxes
    return titles


def _sample(
    project: Project,
    name: str,
    annotation: Annotation,
    preprocessing: Preprocessing,
    counts: dict[str, OntologyCount],
    sampled: dict[str, _Sampled],
) -> None:
    """Cuts the patches of one tomogram."""
    files = project.input_files(name, channels=preprocessing.channels)
    network_input = read_network_input(files, preprocessing, project.configuration.apix)
    annotated_shape = (annotation.n_slices, annotation.height, annotation.width)
    if annotated_shape != network_input.full_shape:
        raise PomError(
            f"{newer_annotation(project, name)} annotates a tomogram of {annotated_shape} voxels (z, y, x), but "
            f"{project.tomogram(name)} has {network_input.full_shape}; put the annotated tomogram there."
        )
    pixel_size = network_input.voxel_size[2] / preprocessing.binning[2]
    titles = set()  # two features can bear one title
    for feature in annotation.features:
        if feature.title in counts and feature.boxes:
            patches = _cut(project, network_input, preprocessing, feature, counts[feature.title])
            into = sampled[feature.title]
            into.patches += patches
            into.tomograms += [name] * len(patches)
            into.pixel_sizes += [pixel_size] * len(patches)
            if patches:
                titles.add(feature.title)
                into.box_sizes.add(feature.box_size)
    for title in titles:
        counts[title].tomograms += 1


def _cut(
    project: Project,
    network_input: NetworkInput,
    preprocessing: Preprocessing,
    feature: Feature,
    count: OntologyCount,
) -> list[Patch]:
    """The patches of all boxes of a feature; each box is counted."""
    box_size = project.configuration.ontology_annotation_box_size
    cutter = PatchCutter(network_input, preprocessing.binning, box_size, feature)
    patches = []
    for box in _boxes_of(feature):
        tiles = [cutter.cut(tile) for tile in tiles_of(box, box_size, preprocessing.binning)]
        of_box = [patch for patch in tiles if patch is not None and patch.boxed.any()]
        count.boxes += 1
        if not of_box:
            # A larger box holds a whole binned pixel wherever it lies, unless the tomogram's edge cuts it off.
            small = feature.box_size < 2 * max(preprocessing.binning[1:]) - 1
            reason = TOO_SMALL if small and any(patch is not None for patch in tiles) else OUTSIDE
            count.dropped[reason] = count.dropped.get(reason, 0) + 1
        elif any((patch.drawn & patch.boxed).any() for patch in of_box):
            count.with_pixels += 1
        else:
            count.without_pixels += 1
        patches += of_box
    return patches


def _boxes_of(feature: Feature) -> Iterator[Feature]:
    """The feature once for each of its boxes, with that box alone."""
    for z, centres in sorted(feature.boxes.items()):
        for centre in centres:
            yield replace(feature, boxes={z: [centre]})


def _tell_box_sizes(sizes: dict[str, set[float]], configured: int) -> None:
    """Says where boxes are of another size than patches are made for."""
    for ontology, found in sizes.items():
        others = sorted(found - {configured})
        if others:
            log.info(
                "%s: boxes of %s pixels, the configuration says %d; %s.",
                ontology,
                " and ".join(f"{size:g}" for size in others),
                configured,
                "what lies outside a box is seen but not learnt from"
                if others[0] < configured
                else "each is cut into several patches",
            )


def _save(project: Project, preprocessing: Preprocessing, sampled: dict[str, _Sampled]) -> None:
    """Chooses the patches that validate, over all ontologies at once, and writes a file per ontology."""
    configuration = project.configuration
    share, seed = configuration.validation_share, configuration.seed
    held_out = hold_out_tomograms({o: set(part.tomograms) for o, part in sampled.items() if part.patches}, share, seed)
    for ontology, part in sampled.items():
        if not part.patches:
            continue
        n = len(part.patches)
        PatchSet(
            images=np.stack([patch.image for patch in part.patches]),
            drawn=np.stack([patch.drawn for patch in part.patches]),
            boxed=np.stack([patch.boxed for patch in part.patches]),
            inside=np.stack([patch.inside for patch in part.patches]),
            ontologies=np.array([ontology] * n),
            tomograms=np.array(part.tomograms),
            centres=np.array([patch.centre for patch in part.patches], np.int64),
            corners=np.array([patch.corner for patch in part.patches], np.int64),
            validation=validation_mask([ontology] * n, part.tomograms, held_out, share, seed),
            preprocessing=preprocessing.model_dump_json(),
            pixel_size=float(np.mean(part.pixel_sizes)),
        ).save(project.single_dataset(ontology))
    # Only now: should a file not have been written, none of those before is lost.
    for ontology, part in sampled.items():
        if not part.patches:
            project.single_dataset(ontology).unlink(missing_ok=True)


def _why_nothing(project: Project, titles: Counter[str], failed: dict[str, str]) -> str:
    if failed:
        name, reason = next(iter(failed.items()))
        return f"No annotated tomogram could be used; {name}, for one: {reason}"
    if titles:
        listed = ", ".join(f"'{title}'" for title in sorted(titles))
        return (
            f"No annotation bears the name of an ontology: the files have {listed}, the configuration "
            f"{', '.join(project.ontologies)}; make the names agree."
        )
    return f"No annotation in {project.tomogram_dir} has a box; place boxes where slices are fully annotated."
