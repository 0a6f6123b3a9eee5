"""Tables of labels: MAAD-Face's names in whatever spelling, masks, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eval.attributes.labels import Labels, read_labels
from eval.attributes.maad_face import GROUPS, LABEL_QUALITY, NAMES, canonical
from manifests.core.errors import InputError
from manifests.records.attributes import NAME


def written(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def read(tmp_path: Path, *rows: str, wanted: tuple[str, ...] = ()) -> Labels:
    return read_labels(written(tmp_path / "labels.csv", *rows), wanted)


def test_the_schema_has_47_names_in_ten_groups() -> None:
    assert [len(group) for group in GROUPS.values()] == [7, 2, 9, 4, 8, 4, 3, 2, 7, 1]
    assert len(set(NAMES)) == 47
    assert all(NAME.fullmatch(name) for name in NAMES)
    assert LABEL_QUALITY["Receding Hairline"].precision == 0.54


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_known_with_underscores_and_in_capitals(name: str) -> None:
    assert canonical(name.replace(" ", "_").replace("'", "_").upper()) == name


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        ("5_o_Clock_Shadow", "5 o'Clock Shadow"), ("Wearing_Hat", "Hat"), ("Wavy", "Wavy Hair"),
        ("Black", "Black"), ("Black_Hair", "Black Hair"), ("oval", "Oval Face"),
        ("Blurry", None), ("", None), ("Wearing", None), ("Hair", None),
    ],
)  # fmt: skip
def test_headings_of_other_tables(heading: str, name: str | None) -> None:
    assert canonical(heading) == name


def test_a_table_as_maad_face_has_it(tmp_path: Path) -> None:
    found = read(
        tmp_path, "Filename,Identity,Male,5_o_Clock_Shadow", "n1/1.jpg,7,1,-1", "n1/2.jpg,7,1,0",
        "n2/1.jpg,,-1,",
    )  # fmt: skip
    assert found.kind == "image"
    assert found.key == ("n1/1.jpg", "n1/2.jpg", "n2/1.jpg")
    assert found.subject == ("7", "7", "")
    assert found.attributes == ("Male", "5 o'Clock Shadow")
    assert found.values.tolist() == [[1, -1], [1, 0], [-1, 0]]


def test_parquet_is_read_alike(tmp_path: Path) -> None:
    columns = {"face_id": [9 << 40, 5], "Smiling": [1, -1], "Bald": [None, 0]}
    pq.write_table(pa.table(columns), tmp_path / "labels.parquet")
    found = read_labels(tmp_path / "labels.parquet")
    assert (found.kind, found.key, found.subject) == ("face_id", (str(9 << 40), "5"), None)
    assert found.values.tolist() == [[1, 0], [-1, 0]]


def test_attributes_that_are_asked_for_may_have_any_name(tmp_path: Path) -> None:
    rows = ("image,Dimples,Smiling", "a.jpg,1,-1")
    assert read(tmp_path, *rows, wanted=("Dimples",)).attributes == ("Dimples",)
    assert read(tmp_path, *rows, wanted=("smiling",)).attributes == ("Smiling",)
    with pytest.raises(InputError, match="column 'Dimples' is none of MAAD-Face's 47 attributes"):
        read(tmp_path, *rows)


def test_labels_are_found_in_what_they_label(tmp_path: Path) -> None:
    found = read(tmp_path, "image,Male", "b.jpg,1", "a.jpg,-1")
    np.testing.assert_array_equal(
        found.rows_in(["a.jpg", "b.jpg", "c.jpg"], "photographs x"), [1, 0]
    )
    message = r"labels.csv: image 'b.jpg' is not in photographs x; name the photographs"
    with pytest.raises(InputError, match=message):
        found.rows_in(["a.jpg"], "photographs x")


def test_labels_find_photographs_whose_names_are_spelled_otherwise(tmp_path: Path) -> None:
    found = read(tmp_path, "image,Male", "p\\Zo\u00eb.jpg,1", "a.jpg,-1")
    assert found.rows_in(["a.jpg", "p/Zoe\u0308.jpg"], "photographs x").tolist() == [1, 0]
    with pytest.raises(InputError, match=r"2 faults\n.*there is 'p/zoe\\u0308\.jpg'.*\n.*capitals"):
        found.rows_in(["A.jpg", "p/zoe\u0308.jpg"], "photographs x")
    twice = read(tmp_path, "image,Male", "Zo\u00eb.jpg,1", "Zoe\u0308.jpg,-1")
    with pytest.raises(InputError, match=r"'Zo\\xeb\.jpg' and 'Zoe\\u0308\.jpg' are one image"):
        twice.rows_in(["Zo\u00eb.jpg"], "photographs x")


def test_all_wrong_cells_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, "image,Male,Bald", "a.jpg,2,1", "b.jpg,1,x", "a.jpg,0,0")
    for part in ("3 faults", "Male of row 0 is '2'", "Bald of row 1 is 'x'", "'a.jpg' is there 2"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "wanted", "message"),
    [
        (["Smiling", "1"], (), "expected one of image and face_id"),
        (["image,face_id,Smiling", "a,1,1"], (), "expected one of image and face_id"),
        (["image,Smiling", "a.jpg,yes"], (), "Smiling of row 0 is 'yes', expected 1, -1, or 0"),
        (["image,Smiling", "a.jpg,2"], (), "Smiling of row 0 is '2'"),
        (["image,Smiling", "a.jpg,1", "a.jpg,1"], (), "image 'a.jpg' is there 2 times"),
        (["image,Hat,Wearing_Hat", "a.jpg,1,1"], (), "two columns name one attribute"),
        (["image,Smiling", "a.jpg,1"], ("Bald",), "no attribute 'Bald'; it has Smiling"),
        (["image", "a.jpg"], (), "0 attributes, expected 1 to"),
        (["image,Smiling"], (), "no rows"),
        (["image,Smiling", "a.jpg,1,1,1"], (), "not a readable table"),
        (["image,Smi/le", "a.jpg,1"], ("Smi/le",), "rename its column"),
    ],
)  # fmt: skip
def test_bad_tables_are_one_line(
    tmp_path: Path, rows: list[str], wanted: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, *rows, wanted=wanted)
    assert re.search(message, str(caught.value))
    assert "\n" not in str(caught.value)


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; name a CSV or Parquet table"):
        read_labels(tmp_path / "nowhere.csv")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(InputError, match="not a readable table"):
        read_labels(tmp_path / "a.parquet")
