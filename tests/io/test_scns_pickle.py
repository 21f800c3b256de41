"""Nothing that an annotation file names is run or imported, whatever it holds and however it is damaged.

Hostile pickles are put together from opcodes, so that they need nothing of what they name.
"""

import builtins
import io
import pickle
import pickletools
import random
import struct
import subprocess
import sys
import time
import tracemalloc
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pom.errors import PomError
from pom.io import scns_pickle
from pom.io.scns import Annotation, Feature, read_scns, write_scns

GENUINE = Path(__file__).parents[1] / "data" / "ais" / "new_00.scns"
START = b"\x80\x04"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def data(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def named(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def called(module: str, name: str, *args: bytes) -> bytes:
    return named(module, name) + b"(" + b"".join(args) + b"tR"


NUMBERS = named("numpy", "dtype") + text("u1") + b"\x89\x88\x87R" + b"(K\x03" + text("|") + b"NNNK\x00K\x00K\x00tb"
EMPTY = named("numpy", "ndarray") + b"K\x00\x85" + data(b"b")
RECONSTRUCT = named("numpy.core.multiarray", "_reconstruct")
FRAME = named("Ais.core.se_frame", "SEFrame") + text("/nowhere/cell.mrc") + b"\x85R"
FIELDS = b"".join(
    [
        *(text(key) + b"K\x08" for key in ("n_slices", "height", "width", "pixel_size")),
        text("features") + b"]",
    ]
)


def frame_with(value: bytes) -> bytes:
    """An annotation whose frame holds ``value`` in one of its fields."""
    return START + FRAME + b"}(" + text("extra") + value + FIELDS + b"ub."


def read(content: bytes, folder: Path) -> Annotation:
    path = folder / "cell.scns"
    path.write_bytes(content)
    return read_scns(path)


def refusal(content: bytes, folder: Path) -> str:
    with pytest.raises(PomError) as raised:
        read(content, folder)
    message = str(raised.value)
    assert message.startswith(f"{folder / 'cell.scns'} ")
    assert message.endswith(".")
    assert len(message) < 400
    return message


# Names.

SHELL = ["os:system", "posix:system", "nt:system", "subprocess:getoutput", "commands:getoutput", "os:popen"]
PYTHON = ["builtins:eval", "builtins:exec", "__builtin__:eval", "code:interact", "timeit:timeit", "cProfile:run"]
TRICKS = [
    "builtins:getattr",
    "builtins:__import__",
    "builtins:print",
    "builtins:list",
    "importlib:import_module",
    "operator:attrgetter",
    "operator:methodcaller",
    "functools:partial",
    "functools:reduce",
    "copyreg:_reconstructor",
    "copyreg:__newobj__",
    "copy_reg:_reconstructor",
    "_codecs:encode",
    "pickle:loads",
    "types:FunctionType",
    "collections:OrderedDict",
    "__main__:secret",
    "dill._dill:_create_function",
    "dill._dill:_create_code",
    "dill._dill:_import_module",
    "dill._dill:_get_attr",
    "dill._dill:_load_type",
    "dill._dill:_create_array.__globals__",
    "numpy:load",
    "numpy:fromfile",
    "numpy:dtype.__class__",
    "numpy.core.multiarray:scalar.__self__",
    "numpy.core.multiarray:fromstring",
    "numpy.testing._private.utils:runstring",
    "pom.io.scns:write_scns",
    "AisEvil.core:run",
    "OpenGLx.GL:run",
    "os.Ais:system",
    "ais.core.se_frame:SEFrame",
]
TOUCH = "touch {marker}"
OPEN = "open({marker!r}, 'w').close()"


@pytest.mark.parametrize("name", SHELL + PYTHON + TRICKS)
def test_every_other_name_is_refused_and_named(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "it-ran"
    module, attribute = name.split(":")
    argument = text((TOUCH if name in SHELL else OPEN).format(marker=str(marker)))
    call = called(module, attribute, argument)
    lines = f"{module}\n{attribute}\n".encode()
    for content in (
        START + call + b".",
        frame_with(call),
        START + named("Ais.core.se_frame", "SEFrame") + call + b"\x85R.",
        b"c" + lines + argument + b"\x85R.",
        b"(" + argument + b"i" + lines + b".",
    ):
        message = refusal(content, tmp_path)
        assert f"holds {module}.{attribute}, which is not part of an annotation; the file was not read any" in message
    assert not marker.exists()


@pytest.mark.parametrize(
    ("name", "argument"), [("posix.system", TOUCH), ("builtins.eval", OPEN), ("builtins.exec", OPEN)]
)
def test_those_pickles_do_run_with_pythons_own(tmp_path: Path, name: str, argument: str) -> None:
    """Else the test above would prove nothing."""
    marker = tmp_path / "it-ran"
    module, function = name.split(".")
    pickle.loads(START + called(module, function, text(argument.format(marker=str(marker)))) + b".")
    assert marker.exists()


def test_real_reductions_are_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return builtins.exec, (OPEN.format(marker=str(tmp_path / "it-ran")),)

    for protocol in (2, 3, 4, 5):
        assert "exec" in refusal(pickle.dumps({"features": [Evil()]}, protocol), tmp_path)
    assert not (tmp_path / "it-ran").exists()
    assert "Point" in refusal(pickle.dumps(Point(1, 2)), tmp_path)
    assert "multiarray" not in refusal(pickle.dumps(len), tmp_path)


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("Ais.core.se_frame", "SEFrame.__init__.__globals__"),
        ("Ais.core.se_frame", "SEFrame.__class__.__base__.__subclasses__"),
        ("Ais.os", "system"),
        ("Ais", "eval"),
        ("Ais.../../os", "system"),
        ("OpenGL.GL", "glGetString"),
        ("OpenGL.constant", "IntConstant"),
    ],
)
def test_classes_of_ais_and_opengl_hold_and_do_nothing(tmp_path: Path, module: str, name: str) -> None:
    marker = tmp_path / "it-ran"
    argument = text(TOUCH.format(marker=marker))
    for value in (
        called(module, name, argument),
        named(module, name) + b"(" + argument + b"t\x81",
        named(module, name) + b"(" + argument + b"t}\x92",
        called(module, name, argument) + argument + b"b",
        called(module, name) + b"(" + argument + b"e" + b"(" + argument + b"Nu",
    ):
        assert read(frame_with(value), tmp_path).n_slices == 8
    assert not marker.exists()
    assert not [module for module in sys.modules if module.split(".")[0] in ("Ais", "OpenGL", "dill")]


def test_what_was_made_cannot_be_called(tmp_path: Path) -> None:
    held = called("Ais.core.se_frame", "Filter")
    for function in (held, text("os.system"), NUMBERS, b"]", b"K\x01"):
        assert "a call of something that is no class" in refusal(frame_with(function + b")R"), tmp_path)
    assert "a call" in refusal(frame_with(named("Ais.core", "Filter") + b"]R"), tmp_path)


def test_only_held_objects_take_a_state(tmp_path: Path) -> None:
    for target in (b"]", b"}", b"N", text("x"), named("Ais.core", "Filter"), named("numpy", "dtype"), RECONSTRUCT):
        assert "a state that belongs to no object" in refusal(frame_with(target + b"}b"), tmp_path)


@pytest.mark.parametrize("opcode", [opcode.code for opcode in pickletools.opcodes])
def test_opcodes_are_known_or_refused(tmp_path: Path, opcode: str) -> None:
    code = opcode.encode("latin-1")
    if code not in scns_pickle._OPERATIONS and code != pickle.STOP:
        assert opcode in "PQIFLSTUVgpldo\x82\x83\x84\x8b\x97\x98"
        content = frame_with(b"K\x01" + code + b"1\n" * 20)
        assert "has no meaning there" in refusal(content, tmp_path)


# Arrays.


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([len, None], object), "type O8"),
        (np.zeros(3, [("x", "u1"), ("y", object)]), "type V9"),
        (np.zeros(3, [("x", "u1")]), "type V1"),
        (np.array(["text"]), "type U4"),
        (np.array([b"text"]), "type S4"),
        (np.zeros(1, "M8[s]"), "type M8"),
        (np.ma.masked_array([1, 2], [True, False]), "numpy.ma"),
    ],
    ids=["objects", "structure", "numbers in a structure", "text", "bytes", "dates", "masked"],
)
def test_arrays_of_anything_but_numbers_are_refused(tmp_path: Path, array: object, message: str) -> None:
    for protocol in (4, 5):
        assert message in refusal(frame_with(pickle.dumps(array, protocol)[:-1]), tmp_path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (RECONSTRUCT + b"(" + named("Ais.core", "Evil") + b"K\x00\x85" + data(b"b") + b"tR", "out of Ais.core.Evil"),
        (RECONSTRUCT + b"(" + named("numpy", "dtype") + b"K\x00\x85" + data(b"b") + b"tR", "out of numpy.dtype"),
        (RECONSTRUCT + b"(" + text("numpy.ndarray") + b"K\x00\x85" + data(b"b") + b"tR", "out of something"),
        (called("numpy", "ndarray", b"K\x05\x85"), "makes a numpy.ndarray"),
        (called("numpy", "memmap", text("/etc/passwd")), "makes a numpy.memmap"),
        (called("numpy", "uint16", b"K\x05"), "makes a numpy.uint16"),
        (called("numpy", "dtype", text("O8")), "type O8"),
        (called("numpy", "dtype", named("Ais.core", "Evil")), "type strange"),
        (called("numpy", "dtype", text("u1,O8")), "type u1,O8"),
        (called("numpy.core.multiarray", "scalar", called("numpy", "dtype", text("O8")), data(b"x" * 8)), "type O8"),
        (called("numpy.core.multiarray", "scalar", NUMBERS, data(b"xx")), "does not fit its data"),
        (called("numpy.core.multiarray", "scalar", NUMBERS), "two parts"),
        (called("dill._dill", "_create_array", named("Ais.core", "run"), b")", b")"), "without its parts"),
        (
            called("dill._dill", "_create_array", named("numpy", "dtype"), text("u1") + b"\x85", b")"),
            "without its parts",
        ),
        (called("dill._dill", "_create_array", RECONSTRUCT, named("Ais.a", "b") + b"\x85", b")"), "out of Ais.a.b"),
        (
            called("numpy.core.numeric", "_frombuffer", data(b"abc"), NUMBERS, b"K\x04\x85", text("C")),
            "not fit its data",
        ),
        (NUMBERS + b"(K\x03" + text("|") + NUMBERS + b"NNtb", "structures"),
        (NUMBERS + b"(K\x03" + data(b"|") + b"NNNtb", "byte order"),
    ],
)
def test_arrays_are_made_in_the_usual_way_only(tmp_path: Path, value: bytes, message: str) -> None:
    assert message in refusal(frame_with(value), tmp_path)


def array_of(shape: bytes, content: bytes) -> bytes:
    return RECONSTRUCT + b"(" + EMPTY + b"tR" + b"(K\x01" + shape + NUMBERS + b"\x89" + content + b"tb"


def test_arrays_fit_their_data(tmp_path: Path) -> None:
    assert read(frame_with(array_of(b"K\x02K\x03\x86", data(b"abcdef"))), tmp_path).n_slices == 8
    huge = b"\x8a\x09" + (2**64).to_bytes(9, "little")
    for shape, message in (
        (b"K\x02K\x02\x86", "does not fit its data"),
        (b"J\xff\xff\xff\xffJ\xfa\xff\xff\xff\x86", "impossible size"),
        (huge + b"K\x00\x86", "impossible size"),
        (b"\x88K\x06\x86", "impossible size"),
        (b"]", "without a shape"),
        (b"(" + b"K\x01" * 100 + b"K\x06t", "without a shape"),
        (b"(" + (b"\x8a\x08" + (2**62).to_bytes(8, "little")) * 30 + b"t", "does not fit its data"),
    ):
        assert message in refusal(frame_with(array_of(shape, data(b"abcdef"))), tmp_path)
    assert "array of objects" in refusal(frame_with(array_of(b"K\x01\x85", b"]K\x01a")), tmp_path)


# Damage.


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A short annotation with everything in it: of its bytes, few are pixels."""
    path = tmp_path_factory.mktemp("small") / "cell.scns"
    feature = Feature(
        "Nucleus", 4, {2: [(1, 1.5), (2, 2)]}, {2: np.ones((3, 4), np.uint8), 3: np.zeros((3, 4), np.uint8)}
    )
    write_scns(path, Annotation("/nowhere/cell.mrc", 5, 3, 4, 1.5, (feature, feature)))
    return path.read_bytes()


def test_a_file_truncated_anywhere_is_refused(tmp_path: Path, small_file: bytes) -> None:
    genuine = GENUINE.read_bytes()
    for content, lengths in (
        (genuine, [*range(1, len(genuine), 5000), len(genuine) - 1]),
        (small_file, range(1, len(small_file), 5)),
    ):
        for length in lengths:
            assert "is truncated" in refusal(content[:length], tmp_path)


def test_damaged_bytes_never_give_another_error(tmp_path: Path, small_file: bytes) -> None:
    rng = random.Random(20)
    genuine = GENUINE.read_bytes()
    structure = [place for opcode, _, place in pickletools.genops(genuine) if place is not None]
    outcomes = {"annotation": 0, "refused": 0}
    for turn in range(500):
        content = bytearray(genuine if turn < 300 else small_file)
        for _ in range(rng.randint(1, 4)):
            place = rng.choice(structure) + rng.randint(0, 3) if turn < 200 else rng.randrange(len(content))
            content[min(place, len(content) - 1)] = rng.randrange(256)
        start = time.perf_counter()
        try:
            annotation = read(bytes(content), tmp_path)
        except PomError:
            outcomes["refused"] += 1
        else:
            assert isinstance(annotation, Annotation)
            outcomes["annotation"] += 1
        assert time.perf_counter() - start < 2
    assert min(outcomes.values()) > 50


NONSENSE = (
    b"0. 1. . (. a. e. (e. s. u. (u. \x94. h\x05. R. b. 2. \x87. ]K\x01\x93. K\x01K\x02a. ](K\x01u. }(K\x01u.".split()
)
NONSENSE += b"](K\x01\x90. \x80\x07. X\x01\x00\x00\x00\xff. cos. NNR. N\x92. \x8a\x00.".split()


@pytest.mark.parametrize("content", [*NONSENSE, b"cos\n", b"c\xff\n\xff\n."])
def test_nonsense_is_refused(tmp_path: Path, content: bytes) -> None:
    refusal(content, tmp_path)


# Sizes and depths that would exhaust memory or stack.


def peak_of(action: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "announced",
    [
        *(
            opcode + struct.pack("<Q", 2**size)
            for opcode in (b"\x8e", b"\x8d", b"\x96", b"\x95")
            for size in (33, 50, 63)
        ),
        *(opcode + struct.pack("<I", 2**32 - 1) for opcode in (b"B", b"X", b"T", b"\x8b", b"r")),
        array_of(b"\x8a\x06" + (2**40).to_bytes(6, "little") + b"\x85", data(b"x")),
        array_of(b"(" + (b"\x8a\x06" + (2**40).to_bytes(6, "little")) * 3 + b"t", data(b"x")),
        array_of(b"K\x00" + b"\x8a\x06" + (2**40).to_bytes(6, "little") + b"\x86", data(b"")),
    ],
)
def test_announced_gigabytes_are_not_asked_for(tmp_path: Path, announced: bytes) -> None:
    content = START + b"]" + announced + b"N" * 100 + b"."

    def attempt() -> None:
        refusal(content, tmp_path)

    assert peak_of(attempt) < 2_000_000


@pytest.mark.parametrize(
    "content",
    [
        START + b"]" * 1_000_000 + b"a" * 999_999 + b".",
        START + b")" + b"\x85" * 300_000 + b".",
        START + b"})" + b"\x85" * 1_000_000 + b"Ns.",
        START + b"\x8f()" + b"\x85" * 100_000 + b"\x90.",
        START + b"(" * 300_000 + b"t" * 300_000 + b".",
        START + named("Ais.a", "b") + b"\x94)" + b"\x85" * 10 + b"\x81" + b"h\x00\x85R" * 10 + b"." * 100,
        START + FRAME + b"}(" + text("features") + b"]" * 100_000 + b"a" * 99_999 + FIELDS[:-9] + b"ub.",
    ],
    ids=["lists", "tuples", "key of tuples", "set of tuples", "marks", "objects", "features"],
)
def test_deep_nesting_is_refused(tmp_path: Path, content: bytes) -> None:
    refusal(content, tmp_path)


def test_deeply_nested_objects_in_a_field_are_left_aside(tmp_path: Path) -> None:
    depth = 100_000
    nested = named("Ais.core", "Node") + b"\x94" + b"h\x00" * depth + b")" + b"R\x85" * depth + b"R"
    assert read(frame_with(nested), tmp_path).n_slices == 8


def test_keys_that_would_all_collide_are_refused(tmp_path: Path) -> None:
    key = (7 * (2**61 - 1) << 70).to_bytes(20, "little")
    assert "a key that is neither number nor text" in refusal(frame_with(b"}\x8a\x14" + key + b"Ns"), tmp_path)


def test_keys_of_every_harmless_kind_are_read(tmp_path: Path) -> None:
    keys = (b"K\x01", b"\x88", b"N", text("a"), data(b"a"), b"G" + b"\x40" * 8, b"K\x01" + text("b") + b"\x86")
    entries = b"".join(key + b"N" for key in (*keys, called("Ais.core", "Kind", b"K\x01"), named("numpy", "uint16")))
    assert read(frame_with(b"}(" + entries + b"u"), tmp_path).n_slices == 8
    for key in (b"]", b"}", b"K\x01\x85\x85", b"(" + b"K\x01" * 17 + b"t"):
        assert "a key that is neither number nor text" in refusal(frame_with(b"}(" + key + b"Nu"), tmp_path)


def test_an_endless_file_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scns_pickle, "MOST_OPERATIONS", 1000)
    assert "too long for an annotation" in refusal(START + b"\x8f" * 2000 + b".", tmp_path)


# The whole, watched by the interpreter itself.

WATCHED = """
import sys
from pathlib import Path
from pom.errors import PomError
from pom.io.scns import read_scns

events = []
quiet = {"builtins.id", "object.__getattr__", "sys._getframe"}
path = sys.argv[1]
sys.addaudithook(lambda name, args: name in quiet or events.append((name, *map(str, args[:1]))))
try:
    print(len(read_scns(Path(path)).features))
except PomError as error:
    print("refused", "system" in str(error))
print([event for event in events if event[0] != "open"], [event[1] for event in events if event[0] == "open"] == [path])
"""


@pytest.mark.parametrize("kind", ["genuine", "hostile"])
def test_reading_opens_one_file_and_does_nothing_else(tmp_path: Path, kind: str) -> None:
    """Python's audit events tell of every import, call to the system, file opened and class found by a pickle."""
    path = tmp_path / "cell.scns"
    path.write_bytes(GENUINE.read_bytes() if kind == "genuine" else frame_with(called("os", "system", text("true"))))
    command = [sys.executable, "-c", WATCHED, str(path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert output == [{"genuine": "3", "hostile": "refused True"}[kind], "[] True"]


# Writing.


def test_only_plain_values_are_written() -> None:
    with pytest.raises(TypeError, match="a set cannot be written"):
        scns_pickle.dump({"a": {1}}, io.BytesIO())


def test_plain_values_are_written_as_python_reads_them() -> None:
    value = {"a": [1, -1, 0, 255, 256, -(2**70), 1.5, None, True, False], "ü\ud800": ((), (1,), b"", b"raw"), 3: {}}
    stream = io.BytesIO()
    scns_pickle.dump(value, stream)
    assert pickle.loads(stream.getvalue()) == value
    stream.seek(0)
    assert scns_pickle.load(stream, len(stream.getvalue())) == value
