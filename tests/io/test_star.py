import tracemalloc
from pathlib import Path

import pytest

from pom.errors import PomError
from pom.io.star import read_star_column, write_star

PARTICLES = """# version 50001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
1 opticsGroup1

data_particles

loop_
_rlnCoordinateX #1
_rlnTomoName #2   # of the tilt series
  12.5  TS_001
  13.5  'TS 002'

# a comment
  14.5  "TS_003"
"""


def test_a_column_of_any_table_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    path.write_text(PARTICLES)
    assert read_star_column(path, ["rlnTomoName"]) == ["TS_001", "TS 002", "TS_003"]
    assert read_star_column(path, ["wrpTomoName", "RLNCOORDINATEX"]) == ["12.5", "13.5", "14.5"]


def test_single_values_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    path.write_text("data_\n_rlnTomoName   TS_1.tomostar\n_empty\n")
    assert read_star_column(path, ["rlnTomoName"]) == ["TS_1.tomostar"]


def test_a_file_without_the_column_says_which_it_should_have(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    path.write_text(PARTICLES)
    with pytest.raises(PomError, match="no column _x or _y"):
        read_star_column(path, ["x", "y"])
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(PomError, match="is not text"):
        read_star_column(path, ["x"])
    with pytest.raises(PomError, match="cannot be read"):
        read_star_column(tmp_path / "missing.star", ["x"])


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    names = ["TS_001", "TS 002", "#3", "_4", "it's", "data_5x", ""]
    write_star(tmp_path / "a.star", "global", {"rlnTomoName": names, "other": [str(n) for n in range(len(names))]})
    assert read_star_column(tmp_path / "a.star", ["rlnTomoName"]) == names
    assert "data_global\n\nloop_\n_rlnTomoName #1\n_other #2\nTS_001\t0\n" in (tmp_path / "a.star").read_text()


def test_a_long_file_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    numbers = " ".join(f"{number}.125" for number in range(20))
    heading = "".join(f"_rlnC{number}\n" for number in range(20))
    path.write_text(f"data_\nloop_\n_rlnTomoName\n{heading}" + f"TS_1 {numbers}\nTS_2 {numbers}\n" * 2000)
    tracemalloc.start()
    try:
        assert read_star_column(path, ["x", "rlnTomoName"]) == ["TS_1", "TS_2"]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size / 2
