"""What was summarised, for looking at: which tomograms, in what order, like which others, and what is unusual."""

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pom.io.stamps import FileStamp, file_stamp
from pom.io.summary_files import TOMOGRAM, UNLIKE, percent_columns, read_table
from pom.measure.similarity import distances_to, nearest_distances
from pom.project.names import UNKNOWN
from pom.project.paths import Project
from pom.workflow.subsets import list_subsets, subset_names

if TYPE_CHECKING:
    import pandas as pd

Bounds = tuple[float | None, float | None]
"""The lowest and the highest value that count; None where there is no such end."""

OUTLIER = 3.5
"""So many robust standard deviations from the middle a figure is unusual (Iglewicz and Hoaglin 1993)."""
LEAST_UNKNOWN, LEAST_DISTANCE = 10.0, 0.1
"""In percent, and as a Hellinger distance: less is not unusual, however alike the tomograms are."""


@dataclass(frozen=True)
class Query:
    """Which tomograms are wanted, and in what order; it can be written into a URL.

    Attributes:
        text: words that the name must hold, upper and lower case being alike.
        ranges: by column of the table what its value must lie between, both ends counting.
        sort: a column, ``Tomogram`` for the name; None for the table's own order, which is by name.
        descending: the other way round; what is not known comes last either way.
        subset: the title of a list of tomograms that the wanted ones must be on.
        dropped: what a URL said that could not be understood, a sentence each; no part of the query itself.
    """

    text: str = ""
    ranges: Mapping[str, Bounds] = field(default_factory=dict)
    sort: str | None = None
    descending: bool = False
    subset: str | None = None
    dropped: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def from_parameters(
        cls, parameters: Mapping[str, str | Sequence[str]], columns: Collection[str] | None = None
    ) -> "Query":
        """The query that a URL's parameters tell; what is not understood is left out and told in ``dropped``.

        Args:
            parameters: ``q``, ``sort``, ``desc``, ``subset`` and ``range`` (``COLUMN:LOW:HIGH``, of which either number
                may be missing), each a text or a list of texts; starlette's ``QueryParams`` is taken too. Others are
                passed over.
            columns: the table's; without them every column is taken to be there.
        """
        dropped: list[str] = []

        def is_column(name: str) -> bool:
            known = columns is None or name in columns
            if not known:
                dropped.append(f"There is no column {name!r}.")
            return known

        ranges: dict[str, Bounds] = {}
        for text in _all(parameters, "range"):
            name, bounds = _range(text)
            if bounds is None:
                dropped.append(f"{text!r} is no range: write COLUMN:LOW:HIGH, of which LOW or HIGH may be missing.")
            elif is_column(name) and bounds != (None, None):
                ranges[name] = bounds
        sort = _first(parameters, "sort")
        return cls(
            text=_first(parameters, "q").strip(),
            ranges=ranges,
            sort=sort if sort and (sort == TOMOGRAM or is_column(sort)) else None,
            descending=_first(parameters, "desc") == "1",
            subset=_first(parameters, "subset") or None,
            dropped=tuple(dropped),
        )

    def parameters(self) -> dict[str, str | list[str]]:
        """What ``from_parameters`` takes; only what differs from the query for all tomograms."""
        found: dict[str, str | list[str]] = {}
        if self.text:
            found["q"] = self.text
        if self.ranges:
            found["range"] = [f"{name}:{_number(low)}:{_number(high)}" for name, (low, high) in self.ranges.items()]
        if self.sort is not None:
            found["sort"] = self.sort
        if self.descending:
            found["desc"] = "1"
        if self.subset is not None:
            found["subset"] = self.subset
        return found


class Atlas:
    """The summary of a project, read again once its file has changed; may be used by several threads."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._lock = threading.Lock()
        self._stamps: tuple[FileStamp, ...] | None = None
        self._held: _Held | None = None

    @property
    def project(self) -> Project:
        """Whose summary it is."""
        return self._project

    def now(self) -> "Atlas":
        """The same, which stays as the summary is at this moment: for a page that asks more than one thing of it.

        Raises:
            PomError: the summary's file is damaged.
        """
        return _AtlasOfNow(self._project, self._current())

    def table(self) -> "pd.DataFrame":
        """The table as it is now, a row per tomogram, indexed by name; empty where nothing was summarised.

        Its columns are those of ``summary.parquet``. It is shared: whoever wants to change it makes a copy.

        Raises:
            PomError: the summary's file is damaged.
        """
        return self._current().table

    def features(self) -> tuple[str, ...]:
        """The columns that are features' shares in percent, in the table's order."""
        return self._current().features

    def query(self, parameters: Mapping[str, str | Sequence[str]]) -> Query:
        """``Query.from_parameters`` with this table's columns; a subset that is not there is dropped too."""
        query = Query.from_parameters(parameters, set(self.table().columns))
        if query.subset is None or query.subset in list_subsets(self._project):
            return query
        said = (*query.dropped, f"There is no subset {query.subset!r}.")
        return Query(query.text, query.ranges, query.sort, query.descending, dropped=said)

    def select(self, query: Query) -> list[str]:
        """The names of the wanted tomograms, in the wanted order.

        A column that the table does not have narrows nothing and orders nothing.

        Raises:
            PomError: there is no such subset.
        """
        held = self._current()
        wanted = np.ones(len(held.names), dtype=bool)
        for column, (low, high) in query.ranges.items():
            if column in held.table:
                values = held.values(column)
                # NaN is in no range.
                wanted &= (values >= (-np.inf if low is None else low)) & (values <= (np.inf if high is None else high))
        words = query.text.casefold().split()
        if words:
            wanted &= np.fromiter((all(word in name for word in words) for name in held.folded), bool, len(wanted))
        if query.subset is not None:
            members = set(subset_names(self._project, query.subset))
            wanted &= np.fromiter((name in members for name in held.names), bool, len(wanted))
        chosen = np.flatnonzero(wanted)
        return [held.names[row] for row in chosen[held.order(query, chosen)]]

    def similar(self, name: str, most: int = 8) -> list[tuple[str, float]]:
        """The tomograms of the most similar composition, nearest first, each with its distance, 0..1.

        That is the Hellinger distance of the shares of the ontologies and Unknown (see ``pom.measure.similarity``);
        of two tomograms those that are known of both count.

        Returns:
            Nothing where the tomogram was not summarised.
        """
        held = self._current()
        if name not in held.rows:
            return []
        row = held.rows[name]
        distances = distances_to(held.shares, row)
        distances[row] = np.nan
        nearest = np.argsort(distances, kind="stable")[:most]
        return [(held.names[other], float(distances[other])) for other in nearest if np.isfinite(distances[other])]

    def ranked(self, name: str, without: Collection[str] = ()) -> list[str]:
        """The ontologies and Unknown of a tomogram, most abundant first.

        Left out are ``soft_ignore_in_summary`` of the configuration, ``without``, and those of unknown share. Nothing
        where the tomogram was not summarised.
        """
        held = self._current()
        if name not in held.rows:
            return []
        ignored = {*without, *self._project.configuration.soft_ignore_in_summary}
        shares = zip(held.ontologies, held.shares[held.rows[name]], strict=True)
        known = [(share, ontology) for ontology, share in shares if ontology not in ignored and np.isfinite(share)]
        return [ontology for _, ontology in sorted(known, key=lambda pair: -pair[0])]

    def unusual(self, most: int = 20) -> list[tuple[str, str]]:
        """Tomograms that deserve a look, each with the reason; those with more than one reason first.

        They are unlike the network's training data, or much of them is Unknown, or their composition is far from
        that of every other.
        """
        return self._current().unusual[:most]

    def _current(self) -> "_Held":
        project = self._project
        paths = project.summary_forms
        with self._lock:
            stamps = tuple(file_stamp(path) for path in paths)
            if self._held is None or stamps != self._stamps:
                self._held = _Held(read_table(paths), (*project.ontologies, UNKNOWN))
                self._stamps = stamps
            return self._held


class _AtlasOfNow(Atlas):
    """An atlas that reads nothing more."""

    def __init__(self, project: Project, held: "_Held") -> None:
        super().__init__(project)
        self._read = held

    def _current(self) -> "_Held":
        return self._read


class _Held:
    """The table as it was read, and what follows from it."""

    def __init__(self, table: "pd.DataFrame | None", ontologies: Sequence[str]) -> None:
        import pandas as pd

        index = pd.Index([], dtype=object, name=TOMOGRAM)
        self.table = pd.DataFrame(index=index) if table is None else table.sort_index(kind="stable")
        self.names: list[str] = list(self.table.index)
        self.rows = {name: row for row, name in enumerate(self.names)}
        self.folded = [name.casefold() for name in self.names]
        self.features = percent_columns(self.table.columns)
        self.ontologies = tuple(ontology for ontology in ontologies if ontology in self.features)
        self.shares: NDArray[np.float64] = self.table[list(self.ontologies)].to_numpy(np.float64)
        """(tomogram, ontology), in percent; NaN where not known."""

    def values(self, column: str) -> NDArray[np.float64]:
        return self.table[column].to_numpy(np.float64, na_value=np.nan)

    def order(self, query: Query, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """What puts ``rows`` in the wanted order."""
        if query.sort is None or query.sort not in self.table:
            ordered = np.arange(len(rows))
            return ordered[::-1] if query.descending else ordered
        values = self.values(query.sort)[rows]
        # NaN is sorted to the end either way.
        return np.argsort(-values if query.descending else values, kind="stable")

    @cached_property
    def unusual(self) -> list[tuple[str, str]]:
        reasons: dict[str, list[str]] = {}

        def say(rows: NDArray[np.intp], sentence: Any) -> None:
            for row in rows:
                reasons.setdefault(self.names[row], []).append(sentence(row))

        if UNLIKE in self.table:
            unlike = self.values(UNLIKE)
            say(_highest(unlike, 1.0), lambda row: f"unlike the training data ({unlike[row]:.2f}; 1 is the limit)")
        if UNKNOWN in self.ontologies:
            unknown = self.values(UNKNOWN)
            limit = max(_outlying(unknown), LEAST_UNKNOWN)
            say(_highest(unknown, limit), lambda row: f"{unknown[row]:.0f} % is Unknown")
        if len(self.names) > 2 and self.ontologies:
            far = nearest_distances(self.shares)
            limit = max(_outlying(far), LEAST_DISTANCE)
            say(_highest(far, limit), lambda row: f"composed like no other (distance {far[row]:.2f})")
        ordered = sorted(reasons.items(), key=lambda item: -len(item[1]))
        return [(name, "; ".join(sentences)) for name, sentences in ordered]


def _highest(values: NDArray[np.float64], limit: float) -> NDArray[np.intp]:
    """Where values are above a limit, the highest first."""
    rows = np.flatnonzero(values > limit)
    return rows[np.argsort(-values[rows], kind="stable")]


def _outlying(values: NDArray[np.float64]) -> float:
    """From where on a value is unusually high: by the median and the median deviation from it."""
    known = values[np.isfinite(values)]
    if not len(known):
        return np.inf
    middle = float(np.median(known))
    return middle + OUTLIER * 1.4826 * float(np.median(np.abs(known - middle)))


def _all(parameters: Any, key: str) -> list[str]:
    """All values of a parameter; starlette's own mapping gives only the last by its ``[]``."""
    if hasattr(parameters, "getlist"):
        return list(parameters.getlist(key))
    found = parameters.get(key, ())
    return [found] if isinstance(found, str) else list(found)


def _first(parameters: Any, key: str) -> str:
    return next(iter(_all(parameters, key)), "")


def _range(text: str) -> tuple[str, Bounds | None]:
    """``COLUMN:LOW:HIGH`` as column and bounds; None where that is not what it is. A column may hold colons."""
    name, *ends = text.rsplit(":", 2)
    if len(ends) != 2 or not name:
        return name, None
    try:
        low, high = (float(end) if end.strip() else None for end in ends)
    except ValueError:
        return name, None
    if any(end is not None and not np.isfinite(end) for end in (low, high)):
        return name, None
    return name, (low, high)


def _number(value: float | None) -> str:
    return "" if value is None else repr(float(value)).removesuffix(".0")
