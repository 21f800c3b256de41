"""Which network goes over which tomograms, and where its outputs are; what every worker is given."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pom.io.checkpoints import ModelCard, require_card
from pom.jobs.claims import Claims
from pom.jobs.ledger import Ledger
from pom.project.names import EMPTY, segmentation_file, without_empty
from pom.project.paths import SHARED_STEP, Project


@dataclass(frozen=True)
class Segmentation:
    """A step that segments tomograms. Use ``joint`` and ``single`` to make one."""

    project: Project
    step: str
    network: Path
    """The folder of the network."""
    made_by: str
    """The command that trains the network."""
    test: bool
    """Whether the tomograms are those of the test folder."""

    @classmethod
    def joint(cls, project: Project) -> "Segmentation":
        """The joint network over all tomograms."""
        return cls(project, SHARED_STEP, project.joint_network, "pom shared train", test=False)

    @classmethod
    def single(cls, project: Project, ontology: str, *, test: bool) -> "Segmentation":
        """A single network over all tomograms, or over those of the test folder."""
        made_by = f'pom single train -o "{ontology}"'
        step = project.single_step(ontology, test=test)
        return cls(project, step, project.single_network(ontology), made_by, test)

    @cached_property
    def card(self) -> ModelCard:
        """The card of the network.

        Raises:
            PomError: there is no network.
        """
        return require_card(self.network, self.made_by)

    @property
    def claims(self) -> Claims:
        """The claims of the step, anew for this process."""
        return Claims(self.project.jobs(self.step) / "claims")

    @property
    def ledger(self) -> Ledger:
        """The ledger of the step."""
        return Ledger(self.project.jobs(self.step), self.project.records(self.step))

    def names(self) -> list[str]:
        """The tomograms, sorted.

        Raises:
            PomError: there are none.
        """
        return self.project.listed_tomograms(test=self.test)

    @property
    def folder(self) -> Path:
        """The folder of the outputs."""
        return self.project.test_dir if self.test else self.project.output_dir

    def outputs(self, name: str) -> dict[int, Path]:
        """Where the outputs of a tomogram go, by the network's output index."""
        output = self.project.test_output if self.test else self.project.output
        named = enumerate(self.card.outputs)
        return {index: output(name, ontology) for index, ontology in named if ontology != EMPTY}

    @property
    def in_stores(self) -> bool:
        """Whether all outputs of a tomogram go into one OME-Zarr."""
        return self.step == SHARED_STEP and self.project.configuration.output_format == "ome-zarr"

    @cached_property
    def endings(self) -> tuple[str, ...]:
        """What the names of a tomogram's outputs have after its own name."""
        return tuple(segmentation_file("", ontology) for ontology in without_empty(self.card.outputs))

    def inputs(self, name: str) -> Mapping[str, Path]:
        """The files that the network needs of a tomogram, by channel, existing or not."""
        return self.project.input_files(name, test=self.test, channels=self.card.preprocessing.channels)
