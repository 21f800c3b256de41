"""What is wrong with the value of an option, in words for a person."""

import typer

WHOLE_NUMBER = frozenset({"int_parsing", "int_parsing_size", "int_from_float", "int_type"})
NUMBER = frozenset({"float_parsing", "float_type", "finite_number"})
"""Pydantic's names of faults."""


def in_plain_words(fault: typer.BadParameter) -> typer.BadParameter:
    """The same fault without pydantic's words, of which typer gives the first; others stay as they are."""
    from pydantic import ValidationError

    if not isinstance(fault.__cause__, ValidationError):
        return fault
    first = fault.__cause__.errors(include_url=False)[0]
    given, limits = first["input"], first.get("ctx", {})
    if first["type"] in WHOLE_NUMBER:
        fault.message = f"{given!r} is no whole number."
    elif first["type"] in NUMBER:
        fault.message = f"{given!r} is no number."
    elif first["type"] == "greater_than_equal":
        fault.message = f"{given} is too little: give {limits['ge']} or more."
    elif first["type"] == "less_than_equal":
        fault.message = f"{given} is too much: give {limits['le']} or less."
    elif first["type"] == "value_error":
        fault.message = f"{limits['error']}"
    return fault
