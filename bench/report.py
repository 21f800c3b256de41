"""What a measurement found: a table for a person, and the same as JSON."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

GIB = 1 << 30
MILLION = 1e6


def report(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    notes: Sequence[str],
    figures: Mapping[str, object],
    json_path: Path | None,
) -> None:
    """Prints a table and, where a path is given, writes it with the bare figures as JSON.

    Args:
        title: above the table.
        columns: their headings.
        rows: of the table, a text per column.
        notes: what one has to know to read it, a sentence each.
        figures: the numbers that the rows are made of.
        json_path: of the JSON file, or None.
    """
    notes = [machine(), *notes]
    table = Table(*columns)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    # Off a terminal rich takes 80 columns and folds the table; a log file is as wide as it needs.
    console = Console() if os.isatty(1) else Console(width=160)
    console.print(title, style="bold", highlight=False, soft_wrap=True)
    console.print(table)
    for note in notes:
        console.print(note, highlight=False, soft_wrap=True)
    if json_path is not None:
        whole = {
            "title": title,
            "rows": [dict(zip(columns, row, strict=True)) for row in rows],
            "notes": notes,
            "figures": figures,
        }
        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(json.dumps(whole, indent=2) + "\n")


def machine() -> str:
    """The machine and its settings, a sentence."""
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return (
        f"{_processor()}, {os.cpu_count()} processors, OMP_NUM_THREADS {threads}, load {load} at the end, "
        f"{platform.system()}, Python {platform.python_version()}."
    )


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        names = [line.split(":", 1)[1].strip() for line in path.read_text().splitlines() if "model name" in line]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
