"""Pictures in the size in which they are shown, made once and kept."""

import contextlib
import logging
from io import BytesIO
from pathlib import Path

from pom.app.answers import NotFoundError
from pom.app.browse.kinds import Kind
from pom.errors import PomError
from pom.io.atomic import write_bytes
from pom.io.stamps import file_stamp, stamp_text

log = logging.getLogger(__name__)

WHOLE = 0
SIZES = (160, 320, 640)
"""Longest sides in pixels; only a few, so that the folder of those kept has an end."""
QUALITY = 82


class Thumbnails:
    """Makes small pictures and keeps them in a folder. Every method may be called by any thread.

    Args:
        folder: where they are kept, ``KIND/NAME/SIZE-TAG.webp``; made when the first one is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def content(self, kind: Kind, name: str, size: int | None) -> tuple[bytes, str, str]:
        """A picture's bytes, its media type, and the tag of its file.

        Args:
            kind: of which kind.
            name: the tomogram; a name that the project knows.
            size: the longest side in pixels, one of ``SIZES``; ``WHOLE``: as it is; None is none of them.

        Raises:
            NotFoundError: there is no such picture.
            PomError: it is of no such size, or no picture that can be read.
        """
        path = kind.path(name)
        tag = picture_tag(path)
        if tag is None:
            raise NotFoundError(f"There is no picture {kind.id!r} of {name}.")
        if size == WHOLE:
            return (_turned(path) if kind.upright else _read(path)), "image/png", tag
        if size not in SIZES:
            raise PomError(f"Pictures are {', '.join(map(str, SIZES))} pixels large, or whole with size=0.")
        kept = self._folder / kind.id / name / f"{size}-{tag}.webp"
        with contextlib.suppress(OSError):
            return kept.read_bytes(), "image/webp", tag
        content = _small(path, size, upright=kind.upright)
        _keep(kept, content, size)
        return content, "image/webp", tag


def picture_tag(path: Path) -> str | None:
    """A short text that changes with the file; None where there is none."""
    stamp = file_stamp(path)
    return stamp_text(stamp) if any(stamp) else None


def _keep(path: Path, content: bytes, size: int) -> None:
    """Keeps a small picture instead of older ones of its size; a folder that cannot be written costs time only."""
    try:
        write_bytes(path, content, lasting=False)
        for other in path.parent.glob(f"{size}-*"):
            if other != path:
                other.unlink(missing_ok=True)
    except (PomError, OSError) as error:
        log.debug("A small picture is not kept: %s", error)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PomError(f"{path} cannot be read ({error.strerror or error}): check that disk.") from error


def _turned(path: Path) -> bytes:
    return _made(path, None, upright=True, file_format="PNG")


def _small(path: Path, size: int, *, upright: bool) -> bytes:
    return _made(path, size, upright=upright, file_format="WEBP", quality=QUALITY, method=2)


def _made(path: Path, size: int | None, *, upright: bool, file_format: str, **options: int) -> bytes:
    from PIL import Image

    buffer = BytesIO()
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            if size is not None:
                picture.thumbnail((size, size), Image.Resampling.LANCZOS)
            turned = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if upright else picture
            turned.save(buffer, file_format, **options)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PomError(f"{path} is no picture that can be read: delete it, and make it again.") from error
    return buffer.getvalue()
