"""Whole numbers as they stand in addresses."""

MOST_DIGITS = 6


def whole(text: str) -> int | None:
    """A whole number, 0 or more; None where a text is none, or a longer one than anybody means."""
    fits = text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS
    return int(text) if fits else None
