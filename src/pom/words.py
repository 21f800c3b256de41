"""Numbers and their nouns, and lists of names, in sentences that a person reads."""

from collections.abc import Sequence

MOST_NAMES = 10
"""So many names stand in a sentence; of more, the rest is counted."""


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number with its noun: ``1 box``, ``2 boxes``.

    ``many``: the plural, by default ``one`` with an s; both may hold the verb too, such as ``file is``, ``files are``.
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def listed(names: Sequence[str]) -> str:
    """Names with commas between them; of many, ``MOST_NAMES`` and how many more there are."""
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
