"""YuNet's port against the library itself, and its weights' file against hostile ones."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from manifests.core.errors import InputError
from pipeline.aligners.networks.yunet import (
    OBJECT,
    SECTION_TABLE,
    SYMBOL,
    SYMBOL_TABLE,
    WEIGHTS,
    load_network,
    read_symbols,
)
from pipeline.arrays.numerics import in_fixed_batches
from pipeline.generators.base import Generator

# What yuface 2023.5.1 itself finds in three pictures by the default generator (rows of the
# latents below): score in whole percent; left, top, width, height, then the points, all cut to
# whole pixels.
BY_THE_LIBRARY = {
    2: (91, [26, 21, 79, 108, 45, 62, 81, 61, 62, 82, 48, 96, 80, 98]),
    3: (89, [17, 14, 68, 116, 48, 56, 77, 56, 70, 77, 50, 101, 75, 99]),
    7: (92, [29, 19, 79, 104, 45, 61, 83, 60, 63, 81, 50, 95, 82, 95]),
}


@pytest.fixture(scope="module")
def library(weights: Path) -> bytes:
    return (weights / WEIGHTS).read_bytes()


def test_the_port_finds_what_the_library_finds(weights: Path, dcgan: Generator) -> None:
    z = np.random.default_rng(5).standard_normal((12, dcgan.prior_width), np.float32)
    pictures = in_fixed_batches(dcgan.render, in_fixed_batches(dcgan.map, torch.from_numpy(z)))[
        list(BY_THE_LIBRARY)
    ]
    big = functional.interpolate(pictures, (128, 128), mode="bilinear", align_corners=False)
    with torch.inference_mode():
        found = load_network(weights / WEIGHTS)(big.round()).double().numpy()
    for rows, (percent, places) in zip(found, BY_THE_LIBRARY.values(), strict=True):
        best = rows[rows[:, 0].argmax()]
        best[3:5] -= best[1:3]
        # Half a pixel off at most on average where one that was cut to a whole one is compared.
        assert abs(100 * best[0] - percent - 0.5) < 0.75
        assert np.abs(best[1:] - places - 0.5).max() < 0.75


def test_every_weight_is_the_files(library: bytes) -> None:
    arrays = {
        name: each
        for name, each in read_symbols(library).items()
        if name.endswith(("_weight", "_bias"))
    }
    assert len(arrays) == 106 and all(np.isfinite(each).all() for each in arrays.values())


def cut(data: bytearray) -> None:
    del data[len(data) // 2 :]


def empty(data: bytearray) -> None:
    data.clear()


def of_another_kind(data: bytearray) -> None:
    data[:4] = b"GIF8"


def of_32_bits(data: bytearray) -> None:
    data[4] = 1


def without_symbols(data: bytearray) -> None:
    start, size, count, _ = SECTION_TABLE.unpack_from(data)
    for number in range(count):
        data[start + size * number + 4 : start + size * number + 8] = bytes(4)


def sections_outside(data: bytearray) -> None:
    data[0x28:0x30] = struct.pack("<Q", 1 << 60)


def endless_symbols(data: bytearray) -> None:
    at = symbol_section(data)
    data[at + 32 : at + 40] = struct.pack("<Q", 1 << 62)


def symbols_outside(data: bytearray) -> None:
    at = symbol_section(data)
    data[at + 24 : at + 32] = struct.pack("<Q", (1 << 64) - 8)


def no_such_names(data: bytearray) -> None:
    at = symbol_section(data)
    data[at + 40 : at + 44] = struct.pack("<I", 60_000)


def endless_names(data: bytearray) -> None:
    """As long as the rest of the file, each: copied one by one they would fill the memory."""
    at = symbol_section(data)
    (link,) = struct.unpack_from("<I", data, at + 40)
    start, size, *_ = SECTION_TABLE.unpack_from(data)
    data[start + size * link + 24 : start + size * link + 32] = struct.pack("<Q", len(data))
    data += b"x" * 50_000_000 + b"\0"
    each_object(data, name=0)


def huge_arrays(data: bytearray) -> None:
    each_object(data, length=1 << 62)


def arrays_outside(data: bytearray) -> None:
    each_object(data, address=1 << 63)


def short_arrays(data: bytearray) -> None:
    each_object(data, length=8)


def symbol_section(data: bytearray) -> int:
    start, size, count, _ = SECTION_TABLE.unpack_from(data)
    places = (start + size * number for number in range(count))
    return next(at for at in places if data[at + 4] == SYMBOL_TABLE)


def each_object(data: bytearray, **changes: int) -> None:
    at = symbol_section(data)
    first, length = struct.unpack_from("<QQ", data, at + 24)
    for place in range(first, first + length, struct.calcsize(SYMBOL)):
        name, info, other, index, address, size = struct.unpack_from(SYMBOL, data, place)
        if info & 15 == OBJECT:
            ends = changes.get("address", address), changes.get("length", size)
            name = changes.get("name", name)
            struct.pack_into(SYMBOL, data, place, name, info, other, index, *ends)


@pytest.mark.parametrize(
    "spoil",
    [
        cut, empty, of_another_kind, of_32_bits, without_symbols, sections_outside,
        endless_symbols, symbols_outside, no_such_names, endless_names, huge_arrays,
        arrays_outside, short_arrays,
    ],
)  # fmt: skip
def test_other_files_are_refused_in_one_line(
    tmp_path: Path, library: bytes, spoil: Callable[[bytearray], None]
) -> None:
    data = bytearray(library)
    spoil(data)
    (tmp_path / WEIGHTS).write_bytes(data)
    with pytest.raises(InputError, match="not libfacedetection's library with YuNet") as caught:
        load_network(tmp_path / WEIGHTS)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@given(st.binary(max_size=300))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    for head in (b"", b"\x7fELF\x02\x01"):
        try:
            read_symbols(head + data)
        except (LookupError, ValueError, OverflowError, struct.error):
            pass
