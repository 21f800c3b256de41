"""Reads and writes the pickles of annotation files as values only: nothing that a pickle names is imported or run.

The reader is an interpreter of its own for the opcodes that such files need, not Python's unpickler held back: what
is not written here cannot happen. It reads the file piece by piece, never asks for more bytes than the file still
has, does not recurse, and stops after `MOST_OPERATIONS`. The standard library's ``pickletools`` describes the format.
"""

import pickle
import struct
from collections.abc import Callable, Iterable
from typing import BinaryIO

from pom.io.scns_values import Global, Held, HeldArray, HeldType, ScnsError, damaged, find_global

MOST_OPERATIONS = 5_000_000
"""A genuine file has some thousands, seven for each box; a long file of one-byte opcodes could else fill the memory."""

_LONGEST_LINE = 1024
_LONGEST_KEY = 16
_NEWEST_PROTOCOL = 5
_LOW_LEVEL = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, struct.error)


def load(stream: BinaryIO, size: int) -> object:
    """The value that a pickle of ``size`` bytes describes: plain containers, numbers, text and Held objects.

    Raises:
        ScnsError: the pickle is truncated, damaged, or holds something that annotations do not.
    """
    try:
        return _Machine(stream, size).run()
    except MemoryError as error:
        raise ScnsError("does not fit into this machine's memory") from error
    except _LOW_LEVEL as error:  # such as a value taken from an empty stack
        raise damaged(f"byte {stream.tell()} makes no sense there") from error


class _Machine:
    """The stack machine of a pickle. A mark sets the stack aside in ``outer``: no operation reaches below its mark."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.stream, self.size, self.left = stream, size, size
        self.stack: list[object] = []
        self.outer: list[list[object]] = []
        self.memo: dict[int, object] = {}

    def run(self) -> object:
        for _ in range(MOST_OPERATIONS):
            opcode = self.take(1)
            if opcode == pickle.STOP:
                return self.stack.pop()
            operation = _OPERATIONS.get(opcode)
            if operation is None:
                raise damaged(f"byte {self.size - self.left - 1} has no meaning there")
            operation(self)
        raise ScnsError("is too long for an annotation; it was not read to its end")

    # What the file holds next.

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes; a count is believed only if the file is that long."""
        data = self.stream.read(count) if count <= self.left else b""
        if len(data) != count:
            raise ScnsError(f"is truncated (it ends at byte {self.size}): take a copy, or save it in Ais again")
        self.left -= count
        return data

    def take_size(self, layout: str) -> int:
        size: int = struct.unpack(layout, self.take(struct.calcsize(layout)))[0]
        return size

    def take_float(self) -> float:
        number: float = struct.unpack(">d", self.take(8))[0]
        return number

    def take_long(self) -> int:
        return int.from_bytes(self.take(self.take_size("<B")), "little", signed=True)

    def take_bytes(self, layout: str) -> bytes:
        return self.take(self.take_size(layout))

    def take_text(self, layout: str) -> str:
        return self.take_bytes(layout).decode("utf-8", "surrogatepass")  # paths that are not UTF-8 have surrogates

    def take_line(self) -> str:
        line = self.stream.readline(min(_LONGEST_LINE, self.left))
        self.left -= len(line)
        if not line.endswith(b"\n"):
            raise damaged("a name without an end")
        return line[:-1].decode()

    def take_protocol(self) -> None:
        if self.take_size("<B") > _NEWEST_PROTOCOL:
            raise damaged("a pickle of a protocol that is not known")

    def take_frame(self) -> None:
        """Frames only help to read ahead; one that reaches beyond the end tells early that the file is truncated."""
        count = self.take_size("<Q")
        if count > self.left:
            self.take(count)

    # The stack and the memo.

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self) -> object:
        return self.stack.pop()

    def discard(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_to_mark()

    def discard_to_mark(self) -> None:
        self.pop_to_mark()

    def mark(self) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def pop_to_mark(self) -> list[object]:
        items, self.stack = self.stack, self.outer.pop()
        return items

    def pop_tuple(self, count: int) -> tuple[object, ...]:
        if count > len(self.stack):
            raise damaged("a tuple of more than there is")
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        return items

    def keep(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    # Containers, each filled from what lies on top of it.

    def extend(self, items: list[object]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Held):  # a list of a class that is not here: its items are not needed
            raise damaged("items that belong to no list")

    def add(self, items: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, set):
            raise damaged("items that belong to no set")
        target.update(_keys(items))

    def update(self, items: Iterable[object]) -> None:
        target, entries = self.stack[-1], list(items)
        if len(entries) % 2 or not isinstance(target, dict | Held):
            raise damaged("entries that belong to no dictionary")
        if isinstance(target, dict):
            target.update(zip(_keys(entries[::2]), entries[1::2], strict=True))

    # Objects.

    def name(self) -> None:
        module, name = self.pop_tuple(2)
        self.push(find_global(module, name))

    def name_in_lines(self) -> Global:
        return find_global(self.take_line(), self.take_line())

    def refuse_instance(self) -> None:
        """INST of protocol 0 names and calls at once; no annotation has it, whatever it names."""
        called = self.name_in_lines()
        raise damaged(f"an old kind of call, of {called.module}.{called.name}")

    def call(self) -> None:
        function, args = self.pop_tuple(2)
        if not isinstance(function, Global) or not isinstance(args, tuple):
            raise damaged("a call of something that is no class")
        self.push(function.build(function, args))

    def call_with_keywords(self) -> None:
        self.pop()  # the keywords: what they make is not here anyway
        self.call()

    def set_state(self) -> None:
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, Held):
            target.state = state
        elif isinstance(target, HeldArray | HeldType):
            target.set_state(state)
        else:
            raise damaged("a state that belongs to no object")


def _keys(keys: list[object]) -> list[object]:
    """The keys, if they can be hashed safely.

    Nested tuples could overflow the C stack, and long integers be made so that all have one hash.
    """
    for key in keys:
        for item in key if isinstance(key, tuple) and len(key) <= _LONGEST_KEY else (key,):
            long = isinstance(item, int) and item.bit_length() > 64
            if long or not (item is None or isinstance(item, int | float | str | bytes | Held | Global)):
                raise damaged("a dictionary with a key that is neither number nor text")
    return keys


_OPERATIONS: dict[bytes, Callable[[_Machine], None]] = {
    pickle.PROTO: _Machine.take_protocol,
    pickle.FRAME: _Machine.take_frame,
    pickle.NONE: lambda machine: machine.push(None),
    pickle.NEWTRUE: lambda machine: machine.push(True),
    pickle.NEWFALSE: lambda machine: machine.push(False),
    pickle.BININT: lambda machine: machine.push(machine.take_size("<i")),
    pickle.BININT1: lambda machine: machine.push(machine.take_size("<B")),
    pickle.BININT2: lambda machine: machine.push(machine.take_size("<H")),
    pickle.LONG1: lambda machine: machine.push(machine.take_long()),
    pickle.BINFLOAT: lambda machine: machine.push(machine.take_float()),
    pickle.SHORT_BINUNICODE: lambda machine: machine.push(machine.take_text("<B")),
    pickle.BINUNICODE: lambda machine: machine.push(machine.take_text("<I")),
    pickle.BINUNICODE8: lambda machine: machine.push(machine.take_text("<Q")),
    pickle.SHORT_BINBYTES: lambda machine: machine.push(machine.take_bytes("<B")),
    pickle.BINBYTES: lambda machine: machine.push(machine.take_bytes("<I")),
    pickle.BINBYTES8: lambda machine: machine.push(machine.take_bytes("<Q")),
    pickle.BYTEARRAY8: lambda machine: machine.push(machine.take_bytes("<Q")),
    pickle.EMPTY_LIST: lambda machine: machine.push([]),
    pickle.EMPTY_DICT: lambda machine: machine.push({}),
    pickle.EMPTY_SET: lambda machine: machine.push(set()),
    pickle.EMPTY_TUPLE: lambda machine: machine.push(()),
    pickle.TUPLE: lambda machine: machine.push(tuple(machine.pop_to_mark())),
    pickle.TUPLE1: lambda machine: machine.push(machine.pop_tuple(1)),
    pickle.TUPLE2: lambda machine: machine.push(machine.pop_tuple(2)),
    pickle.TUPLE3: lambda machine: machine.push(machine.pop_tuple(3)),
    pickle.FROZENSET: lambda machine: machine.push(frozenset(_keys(machine.pop_to_mark()))),
    pickle.APPEND: lambda machine: machine.extend([machine.pop()]),
    pickle.APPENDS: lambda machine: machine.extend(machine.pop_to_mark()),
    pickle.ADDITEMS: lambda machine: machine.add(machine.pop_to_mark()),
    pickle.SETITEM: lambda machine: machine.update(machine.pop_tuple(2)),
    pickle.SETITEMS: lambda machine: machine.update(machine.pop_to_mark()),
    pickle.MARK: _Machine.mark,
    pickle.POP: _Machine.discard,
    pickle.POP_MARK: _Machine.discard_to_mark,
    pickle.DUP: lambda machine: machine.push(machine.stack[-1]),
    pickle.MEMOIZE: lambda machine: machine.keep(len(machine.memo)),
    pickle.BINPUT: lambda machine: machine.keep(machine.take_size("<B")),
    pickle.LONG_BINPUT: lambda machine: machine.keep(machine.take_size("<I")),
    pickle.BINGET: lambda machine: machine.push(machine.memo[machine.take_size("<B")]),
    pickle.LONG_BINGET: lambda machine: machine.push(machine.memo[machine.take_size("<I")]),
    pickle.STACK_GLOBAL: _Machine.name,
    pickle.GLOBAL: lambda machine: machine.push(machine.name_in_lines()),
    pickle.INST: _Machine.refuse_instance,
    pickle.REDUCE: _Machine.call,
    pickle.NEWOBJ: _Machine.call,
    pickle.NEWOBJ_EX: _Machine.call_with_keywords,
    pickle.BUILD: _Machine.set_state,
}
"""Everything a pickle can have done; the other opcodes (persistent and extension objects, buffers, text numbers of
protocol 0) are in no annotation file."""


def dump(value: object, stream: BinaryIO) -> None:
    """Writes plain containers, numbers, text, bytes and Held objects as a pickle of protocol 4.

    Classes are written by the names in `Global`, so they need not exist here. Held objects may refer to each other.

    Raises:
        TypeError: the value holds something else.
    """
    stream.write(pickle.PROTO + b"\x04")
    _Writer(stream).write(value)
    stream.write(pickle.STOP)


class _Writer:
    """Writes one value after the other; a Held or Global that comes again becomes a reference to the first."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.memo: dict[int, int] = {}

    def put(self, *parts: bytes) -> None:
        for part in parts:
            self.stream.write(part)

    def write(self, value: object) -> None:
        if id(value) in self.memo:
            self.put(pickle.LONG_BINGET, struct.pack("<I", self.memo[id(value)]))
        elif value is None or isinstance(value, bool):
            self.put({None: pickle.NONE, True: pickle.NEWTRUE, False: pickle.NEWFALSE}[value])
        elif isinstance(value, int):
            encoded = pickle.encode_long(value)
            self.put(pickle.LONG1, struct.pack("<B", len(encoded)), encoded)
        elif isinstance(value, float):
            self.put(pickle.BINFLOAT, struct.pack(">d", value))
        elif isinstance(value, str):
            encoded = value.encode("utf-8", "surrogatepass")
            self.put(pickle.BINUNICODE, struct.pack("<I", len(encoded)), encoded)
        elif isinstance(value, bytes):
            self.put(pickle.BINBYTES8, struct.pack("<Q", len(value)), value)
        elif isinstance(value, list | tuple | dict):
            self.write_container(value)
        else:
            self.write_object(value)

    def write_container(self, value: list[object] | tuple[object, ...] | dict[object, object]) -> None:
        first, last = {
            list: (pickle.EMPTY_LIST + pickle.MARK, pickle.APPENDS),
            tuple: (pickle.MARK, pickle.TUPLE),
            dict: (pickle.EMPTY_DICT + pickle.MARK, pickle.SETITEMS),
        }[type(value)]
        self.put(first)
        for item in value:
            self.write(item)
            if isinstance(value, dict):
                self.write(value[item])
        self.put(last)

    def write_object(self, value: object) -> None:
        if isinstance(value, Global):
            self.write(value.module)
            self.write(value.name)
            self.put(pickle.STACK_GLOBAL)
            self.remember(value)
        elif isinstance(value, Held):
            self.write(value.cls)
            self.write(value.args)
            self.put(pickle.NEWOBJ if value.made_new else pickle.REDUCE)
            self.remember(value)  # before its state, which may lead back to it
            self.write(value.state)
            self.put(pickle.BUILD)
        else:
            raise TypeError(f"a {type(value).__name__} cannot be written into an annotation file")

    def remember(self, value: object) -> None:
        self.put(pickle.MEMOIZE)
        self.memo[id(value)] = len(self.memo)
