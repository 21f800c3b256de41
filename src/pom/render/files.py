"""Pictures on disk, each of which tells what it was made from."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from pom.io.atomic import atomic_path, remove_file
from pom.io.stamps import file_stamp

KEY = "made from"
"""Of the text in a PNG."""
MILLISECONDS = 80
"""That each picture of a movie is shown."""
QUALITY = 82

UNREADABLE = (OSError, SyntaxError, ValueError)
"""What Pillow raises where there is no picture, or a damaged one."""

Pixels = NDArray[np.uint8]
Source = tuple[str, int, int]
"""The name of a file, when it was written (ns), and its size (bytes)."""


def source(path: Path) -> Source:
    """What tells of a file, before it is read, whether it has changed since."""
    # Neither folders nor inodes: they change when a project is copied, and its pictures are right all the same.
    written, size, _ = file_stamp(path)
    return path.name, written, size


def fingerprint(settings: object, sources: Sequence[Source]) -> str:
    """A text that differs when a setting (anything JSON has a form for) or a file has changed."""
    return hashlib.sha256(json.dumps([settings, sources], sort_keys=True).encode()).hexdigest()


def write_png(path: Path, picture: Pixels, made_from: str) -> None:
    """Writes a picture, (height, width) or (height, width, 3), whole or not at all.

    Raises:
        PomError: it cannot be written.
    """
    text = PngImagePlugin.PngInfo()
    text.add_text(KEY, made_from)
    with atomic_path(path, lasting=False) as temporary:
        Image.fromarray(picture).save(temporary, pnginfo=text)


def write_movie(path: Path, pictures: Sequence[Pixels], made_from: str) -> None:
    """Writes pictures, (height, width, 3) each, as an animated WebP that begins again at its end, whole or not at all.

    Raises:
        PomError: it cannot be written.
    """
    first, *others = (Image.fromarray(picture) for picture in pictures)
    options: dict[str, Any] = {"duration": MILLISECONDS, "loop": 0, "quality": QUALITY, "xmp": made_from.encode()}
    with atomic_path(path, lasting=False) as temporary:
        first.save(temporary, "WEBP", save_all=True, append_images=others, **options)


def is_made_from(path: Path, made_from: str) -> bool:
    """Whether a picture or movie is there, whole, and tells that it was made from this."""
    return _told(path) == made_from and _is_whole(path)


def remove_picture(path: Path) -> bool:
    """Removes a picture or movie; one that does not tell what it was made from is somebody else's, and stays.

    Returns:
        Whether there was one.

    Raises:
        PomError: it cannot be removed.
    """
    if not _told(path):
        return False
    remove_file(path)
    return True


def _is_whole(path: Path) -> bool:
    """Whether nothing of a picture or movie was lost, as by a power failure before it was on the disk."""
    try:
        with Image.open(path) as picture:
            # The check sums of a PNG; a movie, whose note stands at its end, was found whole when it was opened.
            picture.verify()
    except UNREADABLE:
        return False
    return True


def _told(path: Path) -> str | None:
    """What a picture or movie says that it was made from; None where there is none, or it says nothing."""
    try:
        with Image.open(path) as picture:
            told = picture.info.get(KEY, picture.info.get("xmp"))
    except UNREADABLE:
        return None
    text = told.decode("utf-8", "replace") if isinstance(told, bytes) else told
    return text if isinstance(text, str) else None
