"""Others' pickles: plain values come out right, and nothing of a stranger's program runs."""

from __future__ import annotations

import copyreg
import pickle
import pickletools
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from manifests.core.errors import InputError
from pipeline.foreign.pickles import (
    ARRAYS,
    WITH_OBJECTS,
    PickledArray,
    load_pickle,
    parse_pickle,
    shown,
)

STEPS = 10_000
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip
PROTOCOLS = st.integers(0, pickle.HIGHEST_PROTOCOL)


def parse(data: bytes, allowed: Any = ARRAYS) -> Any:
    return parse_pickle(data, allowed, most_steps=STEPS)


@settings(max_examples=50)
@given(PLAIN, PROTOCOLS)
def test_plain_values_come_back(value: Any, protocol: int) -> None:
    assert parse(pickle.dumps(value, protocol)) == value


@settings(max_examples=50)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.bool_, np.int64, np.float32, np.dtype(">u2")]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    PROTOCOLS,
    st.booleans(),
)
def test_arrays_come_back(array: np.ndarray, protocol: int, fortran: bool) -> None:
    wanted = np.asfortranarray(array) if fortran else array
    found = parse(pickle.dumps([wanted], protocol))[0]
    assert isinstance(found, PickledArray)
    assert found.values.dtype == array.dtype
    np.testing.assert_array_equal(found.values, array)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_objects_are_the_files_own_lists(protocol: int) -> None:
    value = np.array([b"ab", b"cde", None], dtype=object)
    data = pickle.dumps(value, protocol)
    assert parse(data, WITH_OBJECTS).objects == [b"ab", b"cde", None]
    with pytest.raises(InputError, match="an array of type 'O8'"):
        parse(data)
    with pytest.raises(InputError, match=r"of objects of shape \(2, 1\), expected one row"):
        parse(pickle.dumps(value[:2, None], protocol), WITH_OBJECTS)


def test_bytes_do_not_become_objects() -> None:
    call = b"\x80\x02cnumpy._core.numeric\n_frombuffer\n(U\x08AAAAAAAAcnumpy\ndtype\n"
    data = call + b"(U\x02O8\x89\x88tR(K\x01tU\x01CtR."
    with pytest.raises(InputError, match="bytes as an array of objects; refused"):
        parse(data, WITH_OBJECTS)


@settings(max_examples=50)
@given(st.booleans(), PROTOCOLS)
def test_truth_values_of_numpy_come_back(value: bool, protocol: int) -> None:
    assert parse(pickle.dumps(np.bool_(value), protocol)) is value


@pytest.mark.parametrize(
    "data",
    [b"(lp0\nS'\\xff\\xd8'\np1\naI01\na.", b"\x80\x02]q\x00(U\x02\xff\xd8q\x01\x88e."],
    ids=["protocol 0", "protocol 2"],
)
def test_strings_of_python_2_are_bytes(data: bytes) -> None:
    assert parse(data) == [b"\xff\xd8", True]


class Attack:
    """What a pickle of it would do is leave a file behind."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("nest", [lambda x: x, lambda x: ([b"x", {"a": (x,)}], [True])])
def test_a_call_is_refused_by_name_and_not_run(tmp_path: Path, protocol: int, nest: Any) -> None:
    data = pickle.dumps(nest(Attack(tmp_path / "ran")), protocol)
    with pytest.raises(InputError, match=r"it asks for [\w.]+; refused, it was not run"):
        parse(data)
    assert not (tmp_path / "ran").exists()
    pickle.loads(data)  # noqa: S301
    assert (tmp_path / "ran").exists()  # the attack is real


SYSTEM = b"cposix\nsystem\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (SYSTEM + b".", r"asks for posix\.system"),
        (b"(S'id'\niposix\nsystem\n.", r"asks for posix\.system"),
        (b"(" + SYSTEM + b"S'id'\no.", r"asks for posix\.system"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", r"asks for posix\.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x08type.mro\x93.", r"asks for builtins\.type\.mro"),
        (b"cnumpy\nload\n(S'x'\ntR.", r"asks for numpy\.load"),
        (b"cbuiltins\neval\n.", r"asks for builtins\.eval"),
        (b"\x82\x01.", "EXT1 asks for a class from a registry"),
        (b"\x83\x01\x00.", "EXT2 asks for"),
        (b"\x84\x01\x00\x00\x00.", "EXT4 asks for"),
        (b"P0\n.", "PERSID asks for an object kept outside"),
        (b"NQ.", "BINPERSID asks for"),
        (b"\x97.", "NEXT_BUFFER asks for"),
        (b"\xff.", "0xff asks for nothing that is known"),
        (b"S'print'\n(tR.", "calls a bytes"),
        (b"}(tR.", "calls a dict"),
        (b"}}b.", "sets the state of a dict"),
        (b"c_codecs\nencode\n}b.", "sets the state of a Name"),
        (b"c_codecs\nencode\n(V\xe9\nS'rot13'\ntR.", "spelled in b'rot13'"),
        (b"c_codecs\nencode\n)}S'a'\nNs\x92.", "with keywords"),
        (b"", "EOFError"),
        (b"]", "EOFError"),
        (b"a.", "not a pickle"),
        (b"\x80\x63.", "unsupported pickle protocol"),
        (b"(" * 1000, "nested deeper than"),
        (b"]" * 100 + b"a" * 99 + b".", "nested deeper than 32"),
        (b"}" * 20_000, "too many instructions"),
        (b"\x96" + struct.pack("<Q", 1 << 50) + b".", "claims 1125899906842624 bytes"),
        (b"\x8e" + struct.pack("<Q", 1 << 50) + b"x.", "not a pickle"),
    ],
    ids=lambda value: repr(value)[:32],
)
def test_what_could_do_harm_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(data)


def test_a_registered_class_is_refused_too() -> None:
    copyreg.add_extension("collections", "OrderedDict", 240)
    try:
        data = pickle.dumps(OrderedDict, 2)
        assert "EXT1" in {op.name for op, _, _ in pickletools.genops(data)}
        with pytest.raises(InputError, match="EXT1"):
            parse(data, {("collections", "OrderedDict"): OrderedDict})
    finally:
        copyreg.remove_extension("collections", "OrderedDict", 240)


def test_a_memo_far_away_takes_no_memory() -> None:
    assert parse(b"Nr\xff\xff\xff\x7f0j\xff\xff\xff\x7f.") is None


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, "None"), (True, "True"), (1.5, "1.5"), ("ab", "'ab'"), (b"ab", "b'ab'"),
        (1 << 50, "1125899906842624"), (1 << 99_999, "<int of 100000 bits>"), ((1, 2), "(1, 2)"),
        (Path(), "<PosixPath>"), ([[[]]], "[[[]]]"), ([[[1]]], "[[[...]]]"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_stranger_s_value_is_shown(value: Any, wanted: str) -> None:
    assert shown(value) == wanted


def test_a_value_that_would_fill_the_memory_is_shown_in_a_few_words() -> None:
    value: Any = [{"x": "y" * 1000}] * 10
    for _ in range(20):
        value = [value] * 10
    assert len(shown(value)) <= 80
    assert len(shown({"x" * 99: (b"y" * 10_000,) * 9})) <= 80


TWINS = b"K\x00K\x00\x86" + b"2\x86" * 45  # a pair of one pair of one pair …: 2^45 leaves


@pytest.mark.parametrize(
    "data",
    [
        b"}" + TWINS + b"K\x01s.",
        b"}(" + TWINS + b"K\x01u.",
        b"(" + TWINS + b"K\x01d.",
        b"\x8f(" + TWINS + b"\x90.",
        b"(" + TWINS + b"\x91.",
    ],
    ids=["SETITEM", "SETITEMS", "DICT", "ADDITEMS", "FROZENSET"],
)
def test_keys_that_take_hours_to_hash_are_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="a tuple as a key, expected a name or a number"):
        parse(b"\x80\x04" + data)


@settings(max_examples=20)
@given(st.dictionaries(st.text() | st.binary() | st.integers(), st.none()), PROTOCOLS)
def test_names_and_numbers_are_keys(value: dict[Any, None], protocol: int) -> None:
    assert parse(pickle.dumps(value, protocol)) == value
    if protocol >= 4:
        assert parse(pickle.dumps([set(value), frozenset(value)], protocol)) == [
            set(value),
            frozenset(value),
        ]


def test_a_small_file_that_grows_is_refused() -> None:
    text = pickle.dumps("x" * 10_000, 2)[:-1] + b"q\x010"
    again = b"c_codecs\nencode\n(h\x01tR"
    with pytest.raises(InputError, match="grows large"):
        parse(text + b"](" + again * 200 + b"e.")


@pytest.mark.parametrize(
    ("shape", "code", "data", "message"),
    [
        ((4,), "u1", b"xyz", "in 3 bytes"),
        ((-3,), "u1", b"xyz", "in 3 bytes"),
        ((1 << 60,), "u1", b"xyz", "in 3 bytes"),
        ((3.0,), "u1", b"xyz", r"shape \(3\.0,\)"),
        ((1,) * 40, "u1", b"x", "shape"),
        ((1,), "O8", b"xyzxyzxy", "type 'O8'"),
        ((1,), "V3", b"xyz", "type 'V3'"),
        ((3,), "u1", "xyz", "without bytes"),
    ],
    ids=lambda value: repr(value)[:32],
)
def test_arrays_that_contradict_themselves_are_refused(
    shape: Any, code: str, data: Any, message: str
) -> None:
    kind = b"cnumpy\ndtype\n" + b"(V" + code.encode() + b"\nI00\nI01\ntR"
    numbers, held = (pickle.dumps(each, 2)[2:-1] for each in (shape, data))
    state = b"(K\x01" + numbers + kind + b"I00\n" + held + b"t"
    with pytest.raises(InputError, match=message):
        parse(b"cnumpy.core.multiarray\n_reconstruct\n(tR" + state + b"b.")


@settings(max_examples=50)
@given(st.binary(max_size=60))
def test_junk_is_refused_in_words(data: bytes) -> None:
    try:
        parse(data)
    except InputError as error:
        assert str(error)


@settings(max_examples=50)
@given(PLAIN, PROTOCOLS, st.data())
def test_damage_is_refused_in_words(value: Any, protocol: int, data: st.DataObject) -> None:
    whole = bytearray(pickle.dumps([value, np.arange(3)], protocol))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    test_junk_is_refused_in_words.hypothesis.inner_test(bytes(whole))  # type: ignore[attr-defined]


def test_files_are_bounded_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(pickle.dumps([1, 2]))
    assert load_pickle(path, {}, most_bytes=1000, most_steps=STEPS) == [1, 2]
    with pytest.raises(InputError, match=r"x\.bin: \d+ bytes, at most 10 are read"):
        load_pickle(path, {}, most_bytes=10, most_steps=STEPS)
    with pytest.raises(InputError, match="no such file"):
        load_pickle(tmp_path / "none", {}, most_bytes=10, most_steps=STEPS)
    path.write_bytes(SYSTEM + b".")
    with pytest.raises(InputError, match=r"x\.bin: it asks for posix\.system"):
        load_pickle(path, {}, most_bytes=1000, most_steps=STEPS)
