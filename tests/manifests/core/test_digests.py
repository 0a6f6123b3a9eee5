from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.core import digests
from manifests.core.digests import (
    canonical_json,
    folder_hashes,
    merkle_root,
    sha256_text,
    table_digest,
)
from tests import references

LEAVES = st.dictionaries(st.text("abc/", min_size=1, max_size=4), st.text("0123", max_size=4))


def digest(**columns: pa.Array) -> str:
    return table_digest(pa.table(columns), {"kind": "test"})


def test_a_long_column_of_strings_has_the_digest_that_it_had_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = pa.array(["a", 'b"', None, "é", "", "c"])
    whole = digest(x=values)
    monkeypatch.setattr(digests, "AT_ONCE", 2)
    assert digest(x=values) == whole
    empty = hashlib.sha256(b'{"kind":"test"}x:string[]').hexdigest()
    assert digest(x=values[:0]) == empty


@given(LEAVES)
def test_merkle_root_equals_its_slow_twin(leaves: dict[str, str]) -> None:
    assert merkle_root(leaves) == references.merkle_root(leaves)


@given(LEAVES, st.randoms())
def test_merkle_root_ignores_the_order_of_listing(leaves: dict[str, str], random) -> None:
    listed = list(leaves.items())
    random.shuffle(listed)
    assert merkle_root(dict(listed)) == merkle_root(leaves)


def test_files_cannot_swap_places() -> None:
    assert merkle_root({"a": "1", "b": "2"}) != merkle_root({"a": "2", "b": "1"})


def test_canonical_json_is_one_text_for_one_value() -> None:
    assert canonical_json({"b": 1, "a": [1.5, None]}) == '{"a":[1.5,null],"b":1}'


def test_canonical_json_refuses_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})


def test_folder_hashes_names_nested_files_but_the_left_out(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("deep/a", "b", "passport.json"):
        (tmp_path / name).write_text(name)
    found = folder_hashes(tmp_path, leave_out=["passport.json"])
    assert found == {name: sha256_text(name) for name in ("b", "deep/a")}


def test_table_digest_ignores_chunks_and_slices() -> None:
    whole = pa.table({"x": pa.array([1, None, 3, 4]), "v": _lists(4)})
    pieces = pa.concat_tables([whole.slice(0, 1), whole.slice(1)])
    padded = pa.concat_tables([whole.slice(2), whole]).combine_chunks().slice(2)
    assert {table_digest(t, {}) for t in (whole, pieces, padded)} == {table_digest(whole, {})}


@pytest.mark.parametrize(
    "other",
    [
        {"x": pa.array([1, 0])},
        {"x": pa.array([None, 1])},
        {"x": pa.array([1, None], pa.int32())},
        {"y": pa.array([1, None])},
        {"x": pa.array([1, None]), "y": pa.nulls(2)},
    ],
    ids=["null is not zero", "place of the null", "type", "name", "one column more"],
)
def test_table_digest_sees(other: dict[str, pa.Array]) -> None:
    assert digest(x=pa.array([1, None])) != digest(**other)


def test_table_digest_keeps_strings_apart() -> None:
    assert digest(x=pa.array(["ab", "c"])) != digest(x=pa.array(["a", "bc"]))


def test_table_digest_sees_the_metadata() -> None:
    table = pa.table({"x": pa.array([1])})
    assert table_digest(table, {"psi": "1.0"}) != table_digest(table, {"psi": "0.7"})


def _lists(count: int) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.arange(2.0 * count)), 2)
