"""Groups of a benchmark's people from a table: by what was measured, or as a list says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eval.photos.people import as_frozen, with_groups
from eval.photos.photo_sets import open_photographs
from manifests.core.errors import InputError
from manifests.photographs.protocols import Benchmark
from manifests.records.attributes import FACES, PHOTOGRAPHS, Attribute, AttributeTable, Source
from tests.protocols import make_folder, make_templates, opened, save, write_rows

MALE = Attribute("Male", "", 0.0, 1.0, (0.0, 0.5, 1.0), "said to be")
PROBABILITY = {"ada": (0.2, 0.1), "bob": (0.9, 0.4), "cyd": (0.3, 0.6), "dan": (0.8, np.nan)}
# The mean of bob's is 0.65 and of cyd's 0.45, though either has a photograph on the other side.
PAIRS = [
    (0, "ada/0.png", "ada/1.png", 1), (0, "ada/0.png", "cyd/0.png", 0),
    (1, "bob/0.png", "bob/1.png", 1), (1, "bob/0.png", "dan/0.png", 0),
    (1, "ada/1.png", "dan/0.png", 0),
]  # fmt: skip
GROUPS = ("not Male", "not Male", "Male", "Male", "")


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    make_folder(tmp_path / "photos/images", dict.fromkeys(PROBABILITY, 2))
    write_rows(tmp_path / "photos/pairs.csv", ("fold", "left", "right", "same"), PAIRS)
    return f"pairs:{tmp_path / 'photos'}"


@pytest.fixture
def table(pairs: str, tmp_path: Path) -> Path:
    photographs = open_photographs(pairs)
    values = [[PROBABILITY[Path(name).parent.name][int(Path(name).stem)]] for name in
              photographs.images]  # fmt: skip
    made = AttributeTable(
        {"name": "toy"}, Source(PHOTOGRAPHS, "pairs", photographs.digest), (MALE,),
        np.array(values, np.float32), None, photographs.images, photographs.subjects,
    )  # fmt: skip
    made.write(tmp_path / "male.parquet")
    return tmp_path / "male.parquet"


def test_people_are_grouped_by_the_mean_of_their_photographs(
    pairs: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = opened(pairs)
    found = with_groups(before, pairs, table, ["Male"])
    assert found.benchmark.group == GROUPS
    assert "people by group: Male 2; not Male 2" in capsys.readouterr().err
    assert found.basis.startswith("Male of male.parquet ")
    assert found.benchmark.protocol_sha256 != before.benchmark.protocol_sha256


def test_a_list_names_people_or_photographs(pairs: str, tmp_path: Path) -> None:
    people = [("ada", "x"), ("bob", "y"), ("cyd", "x"), ("dan", "y"), ("eve", "z")]
    write_rows(tmp_path / "people.csv", ("subject", "group"), people)
    wanted = tuple({"not Male": "x", "Male": "y", "": ""}[name] for name in GROUPS)
    found = with_groups(opened(pairs), pairs, tmp_path / "people.csv", [])
    assert found.benchmark.group == wanted  # of eve the benchmark has no photograph
    photos = [(f"{name}/0.png", group) for name, group in people[:-2]]
    write_rows(tmp_path / "photos.csv", ("image", "group"), photos)
    found = with_groups(opened(pairs), pairs, tmp_path / "photos.csv", [])
    assert found.benchmark.group == ("x", "x", "y", "", "")  # dan is in none


def test_the_people_of_templates_have_groups(tmp_path: Path) -> None:
    text = f"templates:{make_templates(tmp_path / 't')}"
    write_rows(tmp_path / "list.csv", ("image", "group"), [("r2.png", "x"), ("g2.png", "x")])
    found = with_groups(opened(text), text, tmp_path / "list.csv", [])
    assert found.benchmark.group == ("x", "x", "x", "") * 10


def test_groups_that_were_frozen_come_back(pairs: str, table: Path, tmp_path: Path) -> None:
    grouped = with_groups(opened(pairs), pairs, table, ["Male"])
    grouped.frozen().write(tmp_path / "frozen.parquet")
    frozen = Benchmark.read(tmp_path / "frozen.parquet")
    again = as_frozen(opened(pairs), frozen)
    assert again.benchmark.protocol_sha256 == grouped.benchmark.protocol_sha256
    assert again.basis == grouped.basis
    frozen.check_same(again.benchmark)


def test_tables_that_say_nothing_of_these_people_are_refused(
    pairs: str, table: Path, tmp_path: Path
) -> None:
    def refused(message: str, path: Path | None = table, by: tuple[str, ...] = ("Male",)) -> None:
        with pytest.raises(InputError, match=message):
            with_groups(opened(pairs), pairs, path, by)

    refused("male.parquet: measured attributes; say with --by", by=())
    refused("--by Male: groups are of a table; name it with --groups", path=None)
    write_rows(tmp_path / "list.csv", ("subject", "group"), [("eve", "x")])
    refused("list.csv: says the groups itself; leave --by out", tmp_path / "list.csv")
    refused(r"list\.csv: none of 4 people is in a group", tmp_path / "list.csv", ())
    rows = [("ada/0.png", "x"), ("ada/1.png", "y")]
    write_rows(tmp_path / "list.csv", ("image", "group"), rows)
    refused(r"line 3: ada/1\.png is of group 'y', the same person of 'x' by .*line 2; correct",
            tmp_path / "list.csv", ())  # fmt: skip
    made = AttributeTable.read(table)
    stored = AttributeTable(
        made.annotator, Source(FACES, "pool", "0" * 64), made.attributes, made.values,
        np.arange(len(made)), None, made.subject,
    )  # fmt: skip
    stored.write(tmp_path / "stored.parquet")
    refused(
        "stored.parquet: measured on stored faces; annotate pairs:", tmp_path / "stored.parquet"
    )
    save(tmp_path / "photos/images/eve/0.png", (1, 2, 3))
    refused("male.parquet: measured on other photographs than pairs:.* has; annotate it again")
