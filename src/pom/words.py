"""Numbers and their nouns in sentences that a person reads."""


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number with its noun: ``1 box``, ``2 boxes``.

    ``many``: the plural, by default ``one`` with an s; both may hold the verb too, such as ``file is``, ``files are``.
    """
    return f"{count} {one if count == 1 else many or one + 's'}"
