"""Columns of names are the lists that they stand for."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.photographs.columns import Names, together

NAMES = st.lists(st.sampled_from(["b", "a", "c/1", "", "é"]))


@given(NAMES)
def test_a_column_reads_as_its_list(rows: list[str]) -> None:
    column = Names.of(rows)
    assert list(column) == rows and column == rows and tuple(rows) == column
    assert [column[at] for at in range(len(rows))] == rows
    assert column[1:] == rows[1:] and np.asarray(column).tolist() == rows
    assert column.arrow().to_pylist() == rows and column.arrow().type == pa.string()
    assert Names.of_arrow(pa.chunked_array([column.arrow()])) == rows
    assert Names.of(column) is column and column != [*rows, "x"]
    chosen = np.arange(len(rows)) % 2 == 0
    assert column.where(chosen) == rows[::2]


@given(NAMES)
def test_two_columns_are_numbered_alike_in_the_order_of_names(left: list[str]) -> None:
    right = ["a", *left][: len(left)]
    unused = Names(["never", *dict.fromkeys(left)], Names.of(left).codes + 1)
    names, one, other = together(unused, right)
    assert names == sorted({*left, *right})
    assert [names[row] for row in one] == left and [names[row] for row in other] == right


def test_a_column_has_no_hash_as_a_list_has_none() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(Names.of(["a"]))
