"""Zarr on disk as Pom wants it: each file flushed before it appears, and faults in one sentence."""

import asyncio
import json
from pathlib import Path
from typing import Any

from pom.errors import PomError
from pom.io.atomic import write_bytes, write_json

METADATA = "zarr.json"


def whole_file_store(folder: Path) -> Any:
    """Zarr's store of a folder, but for one thing: each file is flushed to disk before it appears."""
    from zarr.core.buffer import Buffer
    from zarr.storage import LocalStore

    class WholeFileStore(LocalStore):
        async def set(self, key: str, value: Buffer) -> None:
            await asyncio.to_thread(self.set_sync, key, value)

        def set_sync(self, key: str, value: Buffer) -> None:
            self._check_writable()
            write_bytes(self.root / key, value.to_bytes())

    return WholeFileStore(folder)


def write_group(folder: Path, attributes: dict[str, Any]) -> None:
    """Writes the metadata of a Zarr group (version 3).

    Raises:
        PomError: the file cannot be written.
    """
    write_json(folder / METADATA, {"zarr_format": 3, "node_type": "group", "attributes": attributes})


def read_metadata(folder: Path) -> dict[str, Any]:
    """The metadata of a Zarr group or array, as they are in its ``zarr.json``.

    Raises:
        PomError: there are none, or they are damaged.
    """
    path = folder / METADATA
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise PomError(f"There is no file {path}: copy or make {folder} again.") from error
    except OSError as error:
        raise PomError(f"{path} cannot be read ({error.strerror or error}): check that disk.") from error
    except ValueError as error:
        raise PomError(f"{path} is damaged ({error}): copy or make {folder} again.") from error
    if not isinstance(found, dict) or found.get("zarr_format") != 3:
        raise PomError(f"{path} is not of Zarr's version 3: make {folder} again.")
    return found


def reason_of(error: BaseException) -> str:
    """What went wrong in Zarr, where damaged files fail in many ways, as part of a sentence."""
    return " ".join(str(error).split()) or type(error).__name__
