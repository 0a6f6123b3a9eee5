"""Columns come back from tables to the bit, and a block's digest covers all that is in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from manifests.takeaway.blocks import Block, column_of, plan_parts, to_column, views

VALUES = st.sampled_from(["<f2", "<f4", "<f8", "i1", "<i8", "?"]).flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_dims=1, max_dims=3, max_side=5))
)


@given(VALUES)
def test_columns_come_back(values: np.ndarray) -> None:
    table = pa.table({"a": to_column(values)})
    found = column_of(table, "a")
    wanted = values if values.ndim == 1 else values.reshape(len(values), -1)
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    np.testing.assert_array_equal(found, wanted)


@given(st.integers(1, 20_000))
def test_parts_follow_each_other(count: int) -> None:
    parts = plan_parts(count)
    assert [row for part in parts for row in (part.start, part.stop)][1:-1:2] == [
        part.start for part in parts[1:]
    ]
    assert (parts[0].start, parts[-1].stop) == (0, count)
    assert [(part.number, part.of) for part in parts] == [
        (at, len(parts)) for at in range(len(parts))
    ]


def test_the_digest_covers_pixels_values_and_what_is_empty() -> None:
    images = np.zeros((2, 4, 4, 3), np.uint8)
    block = Block(images, pa.table({"a": [1.0, None], "b": ["x", ""]}))
    other = images.copy()
    other[1, 3, 3, 2] = 1
    changed = [
        replace(block, images=other),
        *(
            replace(block, table=pa.table({"a": a, "b": b}))
            for a, b in (([1.0, 0.0], ["x", ""]), ([1.0, None], ["x", None]))
        ),
    ]
    assert len({each.digest for each in [block, *changed]}) == 4
    assert Block(images.copy(), block.table).digest == block.digest


def test_views_have_names() -> None:
    assert [views(count) for count in (1, 2, 3)] == [
        ["plain"], ["plain", "flip"], ["plain", "flip", "view2"],
    ]  # fmt: skip
