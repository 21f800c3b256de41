"""What the names in a .scns pickle stand for while Pom reads it: holders that keep what they are given, no more.

A pickle may name any function of any module and have it called. Here a name never becomes that function or class:
`find_global` turns it into one of the few `Global` of this module, or refuses it. What a Global builds is plain
Python of ours; numpy is only handed arguments that were checked here (see `HeldArray.array`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONGEST_SHAPE = 32
_LONGEST_NAME = 80
_ITEM_SIZES = {code: int(code[1:]) for code in ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")}
_ITEM_SIZES |= {code: int(code[1:]) for code in ("f2", "f4", "f8", "c8", "c16")}


class ScnsError(Exception):
    """What is wrong with a pickle, worded to follow the name of its file: ``holds os.system, which ...``."""


def damaged(detail: str) -> ScnsError:
    """The error for a pickle that no version of Ais writes; ``detail`` completes 'is damaged: '."""
    return ScnsError(f"is damaged or is no annotation file of Ais ({detail}): take a copy, or save it in Ais again")


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Global:
    """A class or function that the pickle names; ``build`` is what happens here when the pickle calls it."""

    module: str
    name: str
    build: Callable[["Global", tuple[object, ...]], object]


@dataclass(eq=False, repr=False, slots=True)
class Held:
    """An object of a class that is not here: the arguments it was made with and its state, untouched.

    ``made_new`` says how it is written: by ``cls.__new__(cls, *args)`` rather than ``cls(*args)``.
    """

    cls: Global
    args: tuple[object, ...] = ()
    state: object = None
    made_new: bool = False


@dataclass(eq=False, repr=False, slots=True)
class HeldType:
    """A numpy dtype: only booleans and numbers, in any byte order."""

    code: str
    order: str = "="

    def set_state(self, state: object) -> None:
        """Takes the state that numpy pickles for a dtype: (version, byte order, no subtype, no fields, ...)."""
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise damaged("an array of structures")
        if state[1] not in ("<", ">", "|", "="):
            raise damaged("an array type without a byte order")
        self.order = state[1]

    def dtype(self) -> np.dtype[Any]:
        """The numpy dtype itself, one of those in `_ITEM_SIZES`."""
        return np.dtype(self.order + self.code)


@dataclass(eq=False, repr=False, slots=True)
class HeldArray:
    """An array as it lies in the file: its bytes are as many as shape and dtype ask for, and not copied."""

    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] | None = None
    fortran: bool = False
    raw: bytes = b""

    def set_state(self, state: object) -> None:
        """Takes the state that numpy pickles for an array: (version, shape, dtype, Fortran order, bytes)."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise damaged("an array without its five parts")
        self.fill(*state[1:])

    def fill(self, shape: object, held_type: object, fortran: object, raw: object) -> None:
        """Checks that the parts fit each other, and keeps them."""
        if not isinstance(held_type, HeldType):
            raise damaged("an array without a type")
        if not isinstance(raw, bytes):
            raise ScnsError("holds an array of objects, which is not part of an annotation; it was not read further")
        if not isinstance(shape, tuple) or len(shape) > LONGEST_SHAPE:
            raise damaged("an array without a shape")
        # Sizes above 64 bits are stopped before they are multiplied: their product could fill the memory.
        if not all(type(size) is int and 0 <= size < 2**63 for size in shape):
            raise damaged("an array with an impossible size")
        if math.prod(shape) * _ITEM_SIZES[held_type.code] != len(raw):
            raise damaged("an array whose size does not fit its data")
        self.shape, self.dtype, self.fortran, self.raw = shape, held_type.dtype(), bool(fortran), raw

    def array(self) -> NDArray[Any]:
        """The array, read-only, on the bytes of the file (no copy); it must have at least one element."""
        return np.frombuffer(self.raw, self.dtype).reshape(self.shape, order="F" if self.fortran else "C")


def find_global(module: object, name: object) -> Global:
    """What ``module.name`` stands for.

    Raises:
        ScnsError: the name is not one of those that annotation files hold; it names it.
    """
    if not isinstance(module, str) or not isinstance(name, str):
        raise damaged("a class without a name")
    if module.split(".", 1)[0] in ("Ais", "OpenGL"):
        return Global(module, name, Held)
    if (module, name) not in _BUILDERS:
        raise ScnsError(
            f"holds {_printable(module)}.{_printable(name)}, which is not part of an annotation; "
            "the file was not read any further"
        )
    return Global(module, name, _BUILDERS[module, name])


def _printable(text: str) -> str:
    """The text cut short, without what a terminal would obey."""
    shown = text[:_LONGEST_NAME].encode("ascii", "backslashreplace").decode()
    return "".join(char if char.isprintable() else "?" for char in shown) + "..." * (len(text) > _LONGEST_NAME)


def _build_nothing(cls: Global, args: tuple[object, ...]) -> object:
    raise ScnsError(f"makes a {cls.module}.{cls.name} in a way that no annotation does; it was not read any further")


def _build_dtype(cls: Global, args: tuple[object, ...]) -> HeldType:
    code = args[0] if args else None
    if not isinstance(code, str) or code not in _ITEM_SIZES:
        shown = _printable(code) if isinstance(code, str) else "strange"
        raise ScnsError(f"holds an array of type {shown}, which is not part of an annotation; it was not read further")
    return HeldType(code)


def _build_empty(cls: Global, args: tuple[object, ...]) -> HeldArray:
    of = args[0] if args else None
    if not isinstance(of, Global) or (of.module, of.name) not in (("numpy", "ndarray"), ("numpy", "memmap")):
        shown = f"{_printable(of.module)}.{_printable(of.name)}" if isinstance(of, Global) else "something"
        raise ScnsError(f"makes an array out of {shown}, which is no array; it was not read any further")
    return HeldArray()


def _build_scalar(cls: Global, args: tuple[object, ...]) -> object:
    """A number, as Python's own."""
    if len(args) != 2:
        raise damaged("a number without its two parts")
    held = HeldArray()
    held.fill((), args[0], False, args[1])
    return held.array().item()


def _build_from_buffer(cls: Global, args: tuple[object, ...]) -> HeldArray:
    """An array of pickle protocol 5: (bytes, dtype, shape, order)."""
    if len(args) != 4:
        raise damaged("an array without its four parts")
    raw, held_type, shape, order = args
    held = HeldArray()
    held.fill(shape, held_type, order == "F", raw)
    return held


def _build_array(cls: Global, args: tuple[object, ...]) -> HeldArray:
    """An array of dill: (function, its arguments, the array's state, attributes or None)."""
    if not 3 <= len(args) <= 4 or not isinstance(args[0], Global) or args[0].build is not _build_empty:
        raise damaged("an array without its parts")
    if not isinstance(args[1], tuple):
        raise damaged("an array without its arguments")
    held = _build_empty(args[0], args[1])
    held.set_state(args[2])
    return held


_SCALARS = "bool bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 longlong ulonglong float16 float32 float64"
_BUILDERS: dict[tuple[str, str], Callable[[Global, tuple[object, ...]], object]] = {
    **{("numpy", name): _build_nothing for name in ("ndarray", "memmap", *_SCALARS.split())},
    ("numpy", "dtype"): _build_dtype,
    ("dill._dill", "_create_array"): _build_array,
}
for _core in ("numpy.core", "numpy._core"):
    _BUILDERS[f"{_core}.multiarray", "_reconstruct"] = _build_empty
    _BUILDERS[f"{_core}.multiarray", "scalar"] = _build_scalar
    _BUILDERS[f"{_core}.numeric", "_frombuffer"] = _build_from_buffer
