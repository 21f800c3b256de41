"""The summary's files: what was measured in each tomogram, and the table of all as workbook, text and Parquet.

pandas and pyarrow are imported by the functions that need them.
"""

import contextlib
import math
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pom.errors import DiskError, PomError
from pom.io.atomic import atomic_path, write_json
from pom.io.stamps import file_stamp

if TYPE_CHECKING:
    import pandas as pd

TOMOGRAM = "Tomogram"
UNLIKE = "Unlike"
"""How unlike the network's training data a tomogram is; over 1 it is farther than nearly all known patches."""
UNLIKE_FLAG = "Unlike training data"
VOLUME, COMPONENTS, CONFIDENCE = " volume (um^3)", " components", " confidence"
"""What the column of a feature's figure has after the name of the feature; its share, in percent, has nothing."""
RESERVED = (TOMOGRAM, UNLIKE, UNLIKE_FLAG)
FIGURES_PER_FEATURE = (VOLUME, COMPONENTS, CONFIDENCE)


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True)


class Figures(_Entry):
    """What was measured of a feature in a tomogram, away from its upper and lower margin."""

    percent: float
    """The mean output over full scale, 0..100."""
    volume: float
    """Of the voxels at or above the level, in cubic micrometres."""
    components: int
    """Pieces of these voxels (26-connected) that are no dust."""
    confidence: float | None
    """The mean output of these voxels, 0..1; None where there are none."""


class Settings(_Entry):
    """What the figures depend on beside the file."""

    level: int
    """A voxel belongs to the feature from ``level`` / 256 of full scale on; 0..256."""
    dust: float
    """Pieces smaller than this do not count, in nm^3."""
    margin: float
    """The share of the slices that is left out above, and below."""
    voxel_size: tuple[float, float, float]
    """(z, y, x) in Angstrom, along axes where the file has none."""


class Measurement(_Entry):
    """What was measured of a feature in a tomogram, of which file and how."""

    bytes: int
    modified_ns: int
    """When the file was written, in ns since 1970."""
    settings: Settings
    figures: Figures


class TomogramSummary(_Entry):
    """What was measured of a tomogram, by feature."""

    tomogram: str
    features: dict[str, Measurement]


def read_tomogram_summary(path: Path) -> TomogramSummary | None:
    """What was measured of a tomogram; None where there is no such file, or a damaged one: it is measured again."""
    try:
        return TomogramSummary.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def write_tomogram_summary(path: Path, summary: TomogramSummary) -> None:
    """Writes what was measured of a tomogram.

    Raises:
        PomError: it cannot be written.
    """
    # It can be measured again, and after a power failure it is.
    write_json(path, summary.model_dump(mode="json"), lasting=False)


def unlike_flags(unlike: "pd.Series[Any]") -> "pd.Series[Any]":
    """Whether tomograms are unlike the training data, as pandas' nullable booleans; not known where that is not."""
    return (unlike > 1).astype("boolean").mask(unlike.isna())


def percent_columns(columns: Iterable[object]) -> tuple[str, ...]:
    """Those columns of the table that are features' shares in percent, in their order."""
    names = [str(column) for column in columns]
    known = set(names)

    def is_of_another(name: str) -> bool:
        return any(name.endswith(ending) and name.removesuffix(ending) in known for ending in FIGURES_PER_FEATURE)

    return tuple(name for name in names if name not in RESERVED and not is_of_another(name))


def write_parquet(path: Path, table: "pd.DataFrame") -> None:
    """Writes the table, the index (the tomograms' names) among its columns.

    Raises:
        PomError: it cannot be written.
    """
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, engine="pyarrow", index=True)


def write_csv(path: Path, table: "pd.DataFrame") -> None:
    """Writes the table as text with commas, figures to six digits; what is not known is empty.

    Raises:
        PomError: it cannot be written.
    """
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index_label=TOMOGRAM, float_format="%.6g")


def write_workbook(path: Path, sheets: Mapping[str, "pd.DataFrame"]) -> None:
    """Writes tables as the sheets of a workbook (.xlsx), each with its index as first column.

    Raises:
        PomError: it cannot be written.
    """
    with atomic_path(path) as temporary:
        try:
            _save_workbook(temporary, sheets)
        except OSError as error:
            if error.filename == str(temporary):
                raise
            raise DiskError(
                f"{path} was not written ({error.strerror or error}): see that there is room in its folder and in the"
                f" temporary one, {tempfile.gettempdir()}, or name another in TMPDIR."
            ) from error


def _save_workbook(path: Path, sheets: Mapping[str, "pd.DataFrame"]) -> None:
    """Writes the sheets; openpyxl puts them into the temporary folder first."""
    from openpyxl import Workbook  # type: ignore[import-untyped]
    from openpyxl.cell import WriteOnlyCell  # type: ignore[import-untyped]

    book = Workbook(write_only=True)
    for title, table in sheets.items():
        sheet = book.create_sheet(title)
        sheet.freeze_panes = "B2"
        sheet.column_dimensions["A"].width = 24

        def text(value: str, sheet: Any = sheet) -> Any:
            cell = WriteOnlyCell(sheet, value)
            # Said outright, or a name that begins with '=' would be a formula.
            cell.data_type = "s"
            return cell

        sheet.append([text(str(table.index.name)), *(text(str(column)) for column in table.columns)])
        rows = table.astype(object).where(table.notna(), None).itertuples(name=None)
        for name, *cells in rows:
            sheet.append([text(str(name)), *(text(cell) if isinstance(cell, str) else _plain(cell) for cell in cells)])
    book.save(path)


def _plain(value: Any) -> Any:
    """A cell as Python's own type; None where nothing is known."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_table(paths: Sequence[Path]) -> "pd.DataFrame | None":
    """Reads the summary's table from the first of these files that is there; None where none is.

    Args:
        paths: by preference, each .parquet, .csv or .xlsx; but a workbook of one sheet that is newer than the others,
            as the published Pom writes it, counts before them.

    Returns:
        Indexed by the tomograms' names (texts), which the index is called after; figures as float64, NaN where not
        known; the flag as pandas' nullable boolean.

    Raises:
        PomError: the file is damaged or cannot be read.
    """
    for path in sorted(paths, key=lambda path: not _is_newer_and_published(path, paths)):
        with contextlib.suppress(FileNotFoundError):
            return _tidy(_read(path))
    return None


def _is_newer_and_published(path: Path, paths: Sequence[Path]) -> bool:
    if path.suffix != ".xlsx":
        return False
    times = [file_stamp(other)[0] for other in paths if other != path]
    try:
        # Time alone does not tell: ours is newer too, once somebody has saved it in a spreadsheet.
        return path.stat().st_mtime_ns > max(times, default=0) and _n_sheets(path) == 1
    except (OSError, zipfile.BadZipFile):
        return False  # whoever reads it says what is wrong


def _n_sheets(path: Path) -> int:
    with zipfile.ZipFile(path) as book:
        return sum(name.startswith("xl/worksheets/") and name.endswith(".xml") for name in book.namelist())


def _read(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path, engine="pyarrow")
        # A tomogram may be called 001 or NA.
        names: dict[Any, Any] = {0: str, TOMOGRAM: str}
        if path.suffix == ".csv":
            return pd.read_csv(path, index_col=0, dtype=names, keep_default_na=False, na_values=[""])
        return pd.read_excel(path, index_col=0, dtype=names, keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged files of these kinds fail in many ways
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise PomError(f"{path} cannot be read ({reason}): make it again with 'pom summarize'.") from error


def _tidy(table: "pd.DataFrame") -> "pd.DataFrame":
    """One row per tomogram, names as texts, figures as numbers; an infinite one, of another program, is not known."""
    import numpy as np
    import pandas as pd

    table.columns = [str(column) for column in table.columns]
    table.index = pd.Index([str(name) for name in table.index], dtype=object, name=TOMOGRAM)
    table = table.loc[~table.index.duplicated(keep="last"), ~table.columns.duplicated()]
    if UNLIKE_FLAG in table:
        table = table.assign(**{UNLIKE_FLAG: _flags(table)})
    numbers = {
        column: pd.to_numeric(table[column], errors="coerce").astype("float64").replace([np.inf, -np.inf], np.nan)
        for column in table.columns
        if column != UNLIKE_FLAG
    }
    return pd.DataFrame({column: numbers.get(column, table[column]) for column in table.columns}, index=table.index)


def _flags(table: "pd.DataFrame") -> "pd.Series[Any]":
    flags = table[UNLIKE_FLAG]
    known = flags.notna()
    if UNLIKE in table:  # earlier versions wrote False where nothing was known
        known &= table[UNLIKE].notna()
    read = flags.map(lambda flag: str(flag).casefold() in ("true", "1", "1.0")).astype("boolean")
    return read.where(known)
