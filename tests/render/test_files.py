"""Pictures that tell what they were made from."""

from pathlib import Path

import numpy as np
import pytest

from pom.render.files import is_made_from, remove_picture, write_movie, write_png


def write(path: Path) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 255, (3, 64, 64, 3), np.uint8)
    if path.suffix == ".png":
        write_png(path, pixels[0], "these files")
    else:
        write_movie(path, list(pixels), "these files")
    return path.read_bytes()


@pytest.mark.parametrize("file", ["a.png", "a.webp"])
def test_a_torn_picture_is_made_from_nothing(tmp_path: Path, file: str) -> None:
    path = tmp_path / file
    whole = write(path)
    assert is_made_from(path, "these files") and not is_made_from(path, "others")
    for kept in (len(whole) - 30, len(whole) // 3, 8, 0):
        path.write_bytes(whole[:kept])
        assert not is_made_from(path, "these files")
        # A file system may know the length already, and have none of what stands there.
        path.write_bytes(whole[:kept] + bytes(len(whole) - kept))
        assert not is_made_from(path, "these files")
    assert not is_made_from(tmp_path / "none.png", "these files")


def test_no_wrong_byte_of_a_picture_ends_the_command(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    whole = write(path)
    for place in range(40):  # where it says what it is, and how large
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        assert not is_made_from(path, "these files")


def test_a_torn_picture_can_be_removed_and_another_program_s_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(write(path)[:3000])
    assert remove_picture(path) and not path.exists()
    path.write_bytes(b"not a picture")
    assert not remove_picture(path) and path.exists()
