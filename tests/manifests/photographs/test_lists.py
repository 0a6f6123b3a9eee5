"""Long lists as columns, and the line of what is wrong in them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from manifests.core.errors import InputError
from manifests.photographs import lists
from manifests.photographs.lists import read_columns

COLUMNS = {"left": pa.int64(), "right": pa.int64(), "same": pa.int8()}


@pytest.mark.parametrize("text", ["1 2 1\n3 4 0\n", "1 2 1\r\n\r\n3 4 0"])
def test_a_list_is_read_as_columns(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.txt").write_text(text)
    found = read_columns(tmp_path / "x.txt", COLUMNS)
    assert found.to_pydict() == {"left": [1, 3], "right": [2, 4], "same": [1, 0]}


def test_of_a_list_with_a_header_the_named_columns_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('SUBJECT,FILE,TEMPLATE\n7,"a, b",1\n8,c,2\n')
    columns = {"TEMPLATE": pa.int64(), "SUBJECT": pa.int64()}
    found = read_columns(tmp_path / "x.csv", columns, delimiter=",", header=True)
    assert found.to_pydict() == {"TEMPLATE": [1, 2], "SUBJECT": [7, 8]}
    with pytest.raises(InputError, match=r"Column 'left' .* does not exist"):
        read_columns(tmp_path / "x.csv", COLUMNS, delimiter=",", header=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"1 2 1\n3 4\n", r"x\.txt: .*Row #2: Expected 3 columns, got 2.*expected left right same"),
        (b"1 2 1\n3 x 0\n", "Row #2: CSV conversion error to int64: invalid value 'x'"),
        (b"1 2 1\nnan 4 0\n", "line 2: left is no number"),
        (b"1 2 1\n1 2 300\n", "Row #2: .*invalid value '300'"),
        (b"1\t2\t1\n", "Row #1: Expected 3 columns, got 1"),
        (b"\x00\xff 1 2\n", "Row #1: CSV conversion error"),
        (b"", "Empty CSV file"),
    ],
)
def test_bad_lists_are_refused_in_one_line(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "x.txt").write_bytes(text)
    with pytest.raises(InputError, match=message):
        read_columns(tmp_path / "x.txt", COLUMNS)


def test_missing_and_huge_lists_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"x\.txt: no such file; expected left right same a line"):
        read_columns(tmp_path / "x.txt", COLUMNS)
    (tmp_path / "x.txt").write_text("1 2 1\n")
    monkeypatch.setattr(lists, "LARGEST", 5)
    with pytest.raises(InputError, match="6 bytes, at most 5 are read"):
        read_columns(tmp_path / "x.txt", COLUMNS)
