"""Strict reading of a JSON object that a person edits."""

import json
from pathlib import Path
from typing import Any

from pom.errors import PomError


def read_json_object(path: Path) -> dict[str, Any]:
    """Reads the JSON object in a file, UTF-8 with or without a byte-order mark.

    Raises:
        PomError: the file cannot be read, is not JSON, is not an object, names a key twice, or holds NaN
            or Infinity. The sentence says where.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PomError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8.") from error
    except OSError as error:
        raise PomError(f"{path} cannot be read: {error.strerror or error}.") from error
    try:
        value = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise PomError(f"{path} is not valid JSON: {error.msg} at {where}; correct it there.") from error
    except (ValueError, RecursionError) as error:  # a doubled key, NaN, a number too long, brackets too deep
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise PomError(f"{path} cannot be used: {reason}.") from error
    if not isinstance(value, dict):
        raise PomError(f"{path} must hold a JSON object, {{...}}, and not {_kind(value)}.")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dict of the pairs; json itself would silently keep the last of two."""
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"it holds the key {key!r} twice; keep one of them")
        result[key] = value
    return result


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"it holds {constant}, which is not a number; write a number in its place")


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return "a text"
    return f"the single value {json.dumps(value)}"
