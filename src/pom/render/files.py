"""Pictures on disk, each of which tells what it was made from."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from pom.io.atomic import atomic_path
from pom.io.stamps import file_stamp

KEY = "made from"
"""Of the text in a PNG."""
MILLISECONDS = 80
"""That each picture of a movie is shown."""
QUALITY = 82

Pixels = NDArray[np.uint8]


def fingerprint(settings: object, files: Sequence[Path]) -> str:
    """A text that differs when a setting (anything JSON has a form for) or a file has changed."""
    # Neither folders nor inodes: they change when a project is copied, and its pictures are right all the same.
    seen = [settings, [[path.name, *file_stamp(path)[:2]] for path in files]]
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


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
    """Whether a picture or movie is there and tells that it was made from this."""
    try:
        with Image.open(path) as picture:
            told = picture.info.get(KEY, picture.info.get("xmp"))
    except OSError:  # none there, or none that can be read
        return False
    return (told.decode("utf-8", "replace") if isinstance(told, bytes) else told) == made_from
