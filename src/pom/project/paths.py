"""A project folder, and the only place where a path in it is built."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pom.errors import PomError
from pom.project.configuration import Configuration, read_configuration
from pom.project.listing import ANNOTATION, NATIVE_ANNOTATION, TOMOGRAM, Listing, list_tomograms
from pom.project.names import (
    DENSITY,
    DENSITY_PICTURES,
    EMPTY,
    PROJECTION,
    SEPARATOR,
    UNKNOWN,
    did_you_mean,
    name_fault,
    readable,
    segmentation_file,
    without_empty,
)
from pom.words import counted

log = logging.getLogger(__name__)

CONFIGURATION_FILE = "project_configuration.json"
SHARED_STEP = "shared"
SUMMARY_STEP = "summary"
TEST_STEP = "test"
SINGLE_STEP = "single"
BROWSER = ".pom"
"""The folder of what the browser's pages leave in a project."""


@dataclass(frozen=True)
class Project:
    """A project: its folder, which holds the configuration, training data and networks, and its settings.

    A tomogram goes by its name, the stem of its file: ``TS_001`` for ``TS_001.mrc``.
    """

    folder: Path
    configuration: Configuration

    @classmethod
    def open(cls, folder: Path) -> "Project":
        """Reads the configuration of the project in ``folder``.

        Raises:
            PomError: there is none, or it has a fault.
        """
        path = folder / CONFIGURATION_FILE
        if not path.exists():
            raise PomError(
                f"There is no {CONFIGURATION_FILE} in {folder.absolute()}: go to a project folder,"
                " or run 'pom' there to make a new project."
            )
        return cls(folder, read_configuration(path))

    # Folders

    def _folder(self, setting: str) -> Path:
        # Joined this way an absolute path stands for itself.
        return self.folder / Path(self.configuration.root).expanduser() / Path(setting).expanduser()

    @property
    def tomogram_dir(self) -> Path:
        """The folder of the tomograms and their annotations."""
        return self._folder(self.configuration.tomogram_dir)

    @property
    def macromolecule_dir(self) -> Path:
        """The folder of the macromolecules' volumes."""
        return self._folder(self.configuration.macromolecule_dir)

    @property
    def output_dir(self) -> Path:
        """The folder that the segmentations are written to."""
        return self._folder(self.configuration.output_dir)

    @property
    def test_dir(self) -> Path:
        """The folder of the tomograms for a first look, and of their segmentations."""
        return self._folder(self.configuration.test_dir)

    @property
    def image_dir(self) -> Path:
        """The folder of pictures."""
        return self._folder(self.configuration.image_dir)

    # Voxels

    def voxel_size(self, *, is_output: bool) -> tuple[float, float, float]:
        """(z, y, x) in Angstrom, of outputs or else of tomograms and macromolecules whose files have none."""
        z, y, x = self.configuration.binning if is_output else (1, 1, 1)
        apix = self.configuration.apix
        return apix * z, apix * y, apix * x

    # Names

    @property
    def ontology_slots(self) -> tuple[str, ...]:
        """The output classes as configured, ``_`` among them: a place that is kept but not saved."""
        return self.configuration.ontologies

    @property
    def ontologies(self) -> tuple[str, ...]:
        """The output classes without ``_``."""
        return without_empty(self.configuration.ontologies)

    def known_ontology(self, name: str) -> str:
        """Returns ``name`` if an ontology bears it.

        Raises:
            PomError: none does; the sentence names the nearest and lists all.
        """
        known = self.listed_ontologies()
        if name in known:
            return name
        hint = did_you_mean(name, known)
        raise PomError(f"There is no ontology {name!r}{hint}: the project has {', '.join(known)}.")

    def listed_ontologies(self) -> tuple[str, ...]:
        """The ontologies, of which there must be one.

        Raises:
            PomError: the configuration lists none.
        """
        if not self.ontologies:
            path = self.folder / CONFIGURATION_FILE
            raise PomError(f"{path} lists no ontologies: write the names of what to segment under 'ontologies'.")
        return self.ontologies

    def tomogram_names(self) -> list[str]:
        """The tomograms' names, sorted; files passed over are said in one warning."""
        return self._names(self.tomogram_dir)

    def listed_tomograms(self, *, test: bool = False) -> list[str]:
        """The names of the tomograms, or of the test tomograms, sorted; there must be one.

        Raises:
            PomError: there is none.
        """
        names = self.test_names() if test else self.tomogram_names()
        if not names:
            folder = self.test_dir if test else self.tomogram_dir
            raise PomError(f"There are no tomograms (.mrc) in {folder}; put some there.")
        return names

    def test_names(self) -> list[str]:
        """The test tomograms' names, sorted; files passed over are said in one warning."""
        return self._names(self.test_dir)

    def annotated_names(self) -> list[str]:
        """The names of the tomograms that an annotation of either form lies beside, sorted."""
        listing = _list_and_warn(self.tomogram_dir)
        return sorted(set(listing.tomograms) & {*listing.annotations, *listing.native_annotations})

    def orphaned_annotations(self) -> list[str]:
        """The names of the annotations, of either form, that no tomogram lies beside, sorted."""
        listing = _list_and_warn(self.tomogram_dir)
        return sorted({*listing.annotations, *listing.native_annotations} - set(listing.tomograms))

    def _names(self, folder: Path) -> list[str]:
        listing = _list_and_warn(folder)
        names, channels = frozenset(listing.tomograms), self._segmented_in(folder)
        parts = ((stem, *stem.partition(SEPARATOR)) for stem in listing.segmentations)
        # Those that lie where the configuration puts them belong there, and nobody need be told.
        strange = [stem for stem, name, _, channel in parts if name not in names or channel not in channels]
        if strange:
            log.warning(
                "%s: %s left out because '%s' in the name marks a segmentation, not a tomogram, such as %s.",
                folder,
                counted(len(strange), "file is", "files are"),
                SEPARATOR,
                readable(strange[0] + TOMOGRAM),
            )
        if listing.not_read:
            log.warning(
                "%s: %s left out for want of the ending '%s', such as %s; rename what is a tomogram.",
                folder,
                counted(len(listing.not_read), "file is", "files are"),
                TOMOGRAM,
                readable(listing.not_read[0]),
            )
        return list(listing.tomograms)

    def _segmented_in(self, folder: Path) -> frozenset[str]:
        """The channels and ontologies whose segmentations lie in a folder."""
        channels: set[str] = set()
        if folder in (self.output_dir, self.test_dir):
            channels |= {*self.ontologies, UNKNOWN}
        if folder == self.macromolecule_dir:
            channels |= {*self.configuration.macromolecules}
        return frozenset(channels)

    # Files of a tomogram

    def tomogram(self, name: str) -> Path:
        """The volume of a tomogram."""
        return self.tomogram_dir / f"{name}{TOMOGRAM}"

    def test_tomogram(self, name: str) -> Path:
        """The volume of a test tomogram."""
        return self.test_dir / f"{name}{TOMOGRAM}"

    def annotation(self, name: str) -> Path:
        """The annotation of a tomogram as a file of Ais, beside it."""
        return self.tomogram_dir / f"{name}{ANNOTATION}"

    def native_annotation(self, name: str) -> Path:
        """The annotation of a tomogram in Pom's own form: a folder beside it."""
        return self.tomogram_dir / f"{name}{NATIVE_ANNOTATION}"

    def macromolecule(self, name: str, channel: str) -> Path:
        """The volume of a macromolecule in a tomogram or test tomogram."""
        return self.macromolecule_dir / segmentation_file(name, channel)

    def output(self, name: str, ontology: str) -> Path:
        """The segmentation of an ontology (or Unknown) in a tomogram."""
        return self.output_dir / segmentation_file(name, ontology)

    def test_output(self, name: str, ontology: str) -> Path:
        """The segmentation of an ontology in a test tomogram, beside it."""
        return self.test_dir / segmentation_file(name, ontology)

    def input_files(self, name: str, test: bool = False, channels: Sequence[str] | None = None) -> dict[str, Path]:
        """The file of each input channel of a tomogram, existing or not; ``_`` is left out.

        ``channels``: those of a network; without them, those of the configuration.
        """
        wanted = self.configuration.macromolecules if channels is None else channels
        density = self.test_tomogram(name) if test else self.tomogram(name)
        return {
            channel: density if channel == DENSITY else self.macromolecule(name, channel)
            for channel in wanted
            if channel != EMPTY
        }

    # Work shared out among workers; a step is what is done to each tomogram: "shared", "single/NAME", "test/NAME"

    @staticmethod
    def single_step(ontology: str, *, test: bool) -> str:
        """The step of a single network, on all tomograms or on those of the test folder."""
        return f"{TEST_STEP if test else SINGLE_STEP}/{ontology}"

    def jobs(self, step: str) -> Path:
        """The folder of a step's claims, failures, workers and logs."""
        return self.folder / "jobs" / step

    @property
    def slurm_jobs(self) -> Path:
        """The folder of the scripts, notes and logs of jobs that were submitted to SLURM."""
        return self.folder / "jobs" / "slurm"

    def records(self, step: str) -> Path:
        """The folder of the records that say where a step's outputs come from, beside those outputs."""
        outputs = self.test_dir if step.startswith(f"{TEST_STEP}/") else self.output_dir
        return outputs / "records" / step

    # Training data and networks

    def single_dataset(self, ontology: str) -> Path:
        """The training patches of one ontology."""
        return self.folder / "training_datasets" / "single" / f"{ontology}.npz"

    @property
    def joint_dataset(self) -> Path:
        """The patches with joint labels."""
        return self.folder / "training_datasets" / "joint.npz"

    def single_network(self, ontology: str) -> Path:
        """The folder of one ontology's network."""
        return self.folder / "models" / "single" / ontology

    @property
    def training_claims(self) -> Path:
        """The folder of the claims of those who cut or label training patches, or train networks."""
        return self.folder / BROWSER / "training"

    @property
    def joint_network(self) -> Path:
        """The folder of the joint network."""
        return self.folder / "models" / "joint"

    @property
    def pretrained_network(self) -> Path:
        """The folder of the weights that all networks begin with, where 'pom pretrain' has made them."""
        return self.folder / "models" / "pretrained"

    # Annotation in the browser

    @property
    def feature_library(self) -> Path:
        """The presets of features."""
        return self.folder / "feature_library.json"

    @property
    def editing_claims(self) -> Path:
        """The folder of the claims of those who edit annotations in the browser."""
        return self.folder / BROWSER / "editing"

    @property
    def background_jobs(self) -> Path:
        """The folder of the states and logs of commands that were started from the browser."""
        return self.folder / BROWSER / "jobs"

    @property
    def changing_claims(self) -> Path:
        """The folder of the claims of those who change the feature library or the configuration from the browser."""
        return self.folder / BROWSER / "changing"

    # What is found out about the result

    @property
    def evaluation(self) -> Path:
        """The folder of the figures that tell how good the segmentations are."""
        return self.folder / "evaluation"

    @property
    def summary(self) -> Path:
        """The table of what is in each tomogram, as a workbook; under ``root``, where the published Pom has it."""
        return self._folder("summary.xlsx")

    @property
    def summary_csv(self) -> Path:
        """The same table as text."""
        return self._folder("summary.csv")

    @property
    def summary_parquet(self) -> Path:
        """The same table as Parquet."""
        return self._folder("summary.parquet")

    @property
    def summary_forms(self) -> tuple[Path, Path, Path]:
        """The forms of the table, the one that is best read first."""
        return self.summary_parquet, self.summary_csv, self.summary

    @property
    def subsets(self) -> Path:
        """The folder of the lists of tomograms that somebody put together."""
        return self.folder / "subsets"

    def subset(self, title: str) -> Path:
        """One such list."""
        return self.subsets / f"{title}.txt"

    # Pictures and other forms of the result; a kind is "density", an ontology's projection or a composition

    def images(self, kind: str) -> Path:
        """The folder of the pictures of one kind."""
        return self.image_dir / kind

    def picture(self, name: str, kind: str) -> Path:
        """The picture of a tomogram."""
        return self.images(kind) / f"{name}_{kind}.png"

    def movie(self, name: str, kind: str) -> Path:
        """The turning picture of a tomogram."""
        return self.images(kind) / f"{name}_{kind}.webp"

    def density_picture(self, name: str) -> Path:
        """The picture of the tomogram itself."""
        return self.picture(name, DENSITY_PICTURES)

    def projection(self, name: str, ontology: str, side: bool = False) -> Path:
        """The picture of an ontology (or Unknown) as seen along z, or from the side, along y."""
        return self.images(f"{ontology}{PROJECTION}") / f"{name}_{ontology}{'_side' if side else ''}.png"

    @property
    def render_configuration(self) -> Path:
        """What the three-dimensional pictures show."""
        return self.folder / "render_configuration.json"

    @property
    def browse_cache(self) -> Path:
        """The folder of what the browser's pages make of the result, to be made again where it is gone."""
        return self.folder / BROWSER / "cache"

    def ome_zarr(self, name: str) -> Path:
        """The folder of a tomogram and its segmentations as OME-Zarr."""
        return self.output_dir / f"{name}.ome.zarr"


def _list_and_warn(folder: Path) -> Listing:
    """What is in a folder; files of names that nothing can be called after are said, since they are in no list."""
    listing = list_tomograms(folder)
    if listing.unusable:
        log.warning(
            "%s: %s (one %s); rename what is a tomogram or annotation.",
            folder,
            counted(len(listing.unusable), "file is left out for its name", "files are left out for their names"),
            name_fault(listing.unusable[0].rpartition(".")[0]),
        )
    return listing
