"""The guide lists the keys that there are."""

import re
from pathlib import Path

from pom.app import annotate

ROW = re.compile(r'\{ group: "(?P<group>[^"]+)", (?:keys: \[(?P<keys>[^\]]*(?:"\]"[^\]]*)?)\], )?'
                 r'(?:shown: "(?P<shown>[^"]+)", )?says: "(?P<says>[^"]+)"')  # fmt: skip


def test_the_guide_has_the_keys_of_the_page() -> None:
    guide = Path(__file__).parents[2].joinpath("docs", "annotate.md").read_text(encoding="utf-8")
    section = guide.partition("## Keys and mouse")[2].partition("\n## ")[0]
    assert [line for line in section.splitlines() if line.startswith("|")] == table()


def table() -> list[str]:
    """As it must stand in the guide."""
    source = (Path(annotate.__file__).parent / "canvas" / "keys.js").read_text(encoding="utf-8")
    names = dict(re.findall(r'(\w+): "(.+?)"', re.findall(r"const NAMES = \{(.*)\}", source)[0]))
    lines, group = ["| | | |", "|---|---|---|"], ""
    for row in ROW.finditer(source):
        keys = [row["shown"]] if row["shown"] else re.findall(r'"([^"]+)"', row["keys"])
        shown = [names.get(key, key.upper() if len(key) == 1 else key) for key in keys]
        title = "" if row["group"] == group else row["group"]
        group = row["group"]
        lines.append(f"| {title} | {' '.join(f'`{key}`' for key in shown)} | {row['says']} |")
    assert len(lines) - 2 == source.count("{ group: ")
    return lines
