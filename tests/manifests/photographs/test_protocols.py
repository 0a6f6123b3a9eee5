from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from manifests.core.digests import sha256_text
from manifests.core.errors import InputError
from manifests.core.tables import read_table, write_table
from manifests.photographs.protocols import (
    KIND,
    SCHEMA,
    TEMPLATE_KIND,
    TEMPLATE_SCHEMA,
    Benchmark,
    TemplateSet,
)
from tests.conftest import ROOT

NAMES = ("a/1", "a/2", "b/1", "b/2")


@pytest.fixture
def benchmark() -> Benchmark:
    """Two folds, each of one genuine and one impostor pair, over four images."""
    return Benchmark(
        "toy",
        np.array([0, 0, 1, 1], np.int16),
        ("a/1", "a/1", "b/1", "b/2"),
        ("a/2", "b/1", "b/2", "a/2"),
        np.array([True, False, True, False]),
        {name: sha256_text(name) for name in NAMES},
    )


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.fixture(scope="module")
def orl() -> Benchmark:
    return Benchmark.read(ROOT / "manifests/benchmarks/orl.parquet")


def test_a_benchmark_comes_back_as_it_was(tmp_path: Path, benchmark: Benchmark) -> None:
    benchmark.write(tmp_path / "toy.parquet")
    found = Benchmark.read(tmp_path / "toy.parquet")
    assert found.protocol_sha256 == benchmark.protocol_sha256
    assert (found.left, found.right, found.sha256) == (
        benchmark.left,
        benchmark.right,
        benchmark.sha256,
    )


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": {name: "0" * 64 for name in NAMES}},
        {"left": ("a/1", "a/2", "b/1", "b/2")},
        {"fold": np.array([1, 1, 0, 0], np.int16)},
        {"alignment": "by hand"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_protocol_hash_covers(benchmark: Benchmark, change: dict) -> None:
    assert replace(benchmark, **change).protocol_sha256 != benchmark.protocol_sha256


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fold": np.array([0, 0, 2, 2], np.int16)}, "fold 1 has no pairs"),
        ({"fold": np.array([1, 1, 2, 2], np.int16)}, "fold 0 has no pairs"),
        ({"fold": np.zeros(4, np.int16)}, "one fold only"),
        ({"same": np.array([True, False, True, True])}, "fold 1 needs genuine and impostor"),
        ({"left": ("a/1",)}, "unlike lengths"),
        ({"sha256": {name: "0" * 64 for name in NAMES[:3]}}, "no hash for image b/2"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_protocol_is_refused(benchmark: Benchmark, change: dict, message: str) -> None:
    with pytest.raises(InputError, match=f"benchmark toy: .*{message}"):
        replace(benchmark, **change)


def test_no_pairs_are_refused(benchmark: Benchmark) -> None:
    nothing = {"fold": np.empty(0, np.int16), "same": np.empty(0, bool), "left": (), "right": ()}
    with pytest.raises(InputError, match="no pairs"):
        replace(benchmark, **nothing)


def test_the_frozen_images_pass(benchmark: Benchmark, images: Path) -> None:
    benchmark.check_images(images)


def test_a_changed_image_is_refused_by_name(benchmark: Benchmark, images: Path) -> None:
    (images / "b/1").write_text("another picture")
    with pytest.raises(InputError, match=r"b/1: not the image that benchmark toy"):
        benchmark.check_images(images)


def test_a_missing_image_is_refused_by_name(benchmark: Benchmark, images: Path) -> None:
    (images / "a/2").unlink()
    with pytest.raises(InputError, match=r"a/2: .* it is missing"):
        benchmark.check_images(images)
    (images / "b/1").write_text("another picture")
    with pytest.raises(InputError, match=r"2 faults\n.*a/2: .*missing\n.*b/1: not the image"):
        benchmark.check_images(images)


def test_orl_has_as_many_genuine_as_impostor_pairs(orl: Benchmark) -> None:
    assert (int(orl.same.sum()), int((~orl.same).sum())) == (1800, 1800)


def test_orl_folds_share_no_person(orl: Benchmark) -> None:
    people: dict[int, set[str]] = {}
    for fold, *pair in zip(orl.fold.tolist(), orl.left, orl.right, strict=True):
        people.setdefault(fold, set()).update(name.split("/")[0] for name in pair)
    assert len(set.union(*people.values())) == sum(map(len, people.values())) == 40


def test_orl_pairs_are_labelled_by_person(orl: Benchmark) -> None:
    pairs = zip(orl.left, orl.right, strict=True)
    assert [a.split("/")[0] == b.split("/")[0] for a, b in pairs] == orl.same.tolist()


def test_orl_photographs_are_the_frozen_ones(orl: Benchmark, weights: Path) -> None:
    orl.check_images(weights / "orl")


@pytest.fixture
def templates() -> Benchmark:
    """Three templates of two people, searched for in a gallery of two."""
    members = TemplateSet(
        ("a/1", "a/1", "a/2", "b/3"), ("x", "y", "x", "x"), NAMES, ("a/1", "b/3"), ("a/2",)
    )
    fold, same = np.array([0, 0, 1, 1], np.int16), np.array([True, False, True, False])
    hashes = {name: sha256_text(name) for name in NAMES}
    sides = ("a/1", "a/1", "a/2", "a/2"), ("a/2", "b/3", "a/1", "b/3")
    return Benchmark("templates", fold, *sides, same, hashes, templates=members)


def test_templates_come_back_as_they_were(tmp_path: Path, templates: Benchmark) -> None:
    templates.write(tmp_path / "t.parquet")
    found = Benchmark.read(tmp_path / "t.parquet")
    assert found.protocol_sha256 == templates.protocol_sha256
    assert (found.templates, found.left, found.sha256) == (
        templates.templates, templates.left, templates.sha256,
    )  # fmt: skip
    assert (found.images, found.compared) == (sorted(NAMES), ["a/1", "a/2", "b/3"])


@pytest.mark.parametrize(
    "change", [{"media": ("x", "x", "x", "x")}, {"gallery": ("a/1",)}, {"image": NAMES[::-1]}]
)
def test_the_hash_of_templates_covers(templates: Benchmark, change: dict) -> None:
    assert templates.templates is not None
    other = replace(templates, templates=replace(templates.templates, **change))
    assert other.protocol_sha256 != templates.protocol_sha256
    with pytest.raises(InputError, match=r"the first unlike (media|gallery|image) entry is"):
        templates.check_same(other)


def test_a_pair_over_an_unknown_template_is_refused(templates: Benchmark) -> None:
    with pytest.raises(InputError, match=r"a pair names template 'c/9', which has no images"):
        replace(templates, left=("a/1", "a/1", "a/2", "c/9"))


def test_another_benchmark_is_not_the_frozen_one(
    benchmark: Benchmark, templates: Benchmark
) -> None:
    benchmark.check_same(replace(benchmark, recorded={"decoder": "another"}))
    with pytest.raises(InputError, match="frozen for 'toy', found 'templates'"):
        benchmark.check_same(templates)
    with pytest.raises(InputError, match="found 'none: the images are crops"):
        benchmark.check_same(replace(benchmark, alignment="none: the images are crops"))


def test_groups_are_frozen_with_either_kind_of_protocol(
    tmp_path: Path, benchmark: Benchmark, templates: Benchmark
) -> None:
    for number, plain in enumerate((benchmark, templates)):
        grouped = replace(plain, group=("x", "", "y", "x"))
        assert grouped.protocol_sha256 != plain.protocol_sha256
        grouped.write(path := tmp_path / f"{number}.parquet")
        found = Benchmark.read(path)
        assert (found.group, found.left, found.sha256) == (grouped.group, plain.left, plain.sha256)
        assert found.protocol_sha256 == grouped.protocol_sha256
        with pytest.raises(InputError, match="first unlike pair's group is 2: frozen y; found x"):
            grouped.check_same(replace(plain, group=("x", "", "x", "x")))
        with pytest.raises(InputError, match="unlike pair's group is 0: frozen x; found none"):
            grouped.check_same(plain)
    with pytest.raises(InputError, match="pair columns of unlike lengths"):
        replace(benchmark, group=("x",))
    for name in ("a\nb", "x" * 201):
        with pytest.raises(
            InputError, match=r"benchmark toy: group '.*', expected one line of at m"
        ):
            replace(benchmark, group=("x", "", name, "x"))


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("left", ["a/1", None, "b/1", "b/2"], "a pair without left"),
        ("left_sha256", ["0" * 64, "1" * 64, "2" * 64, "3" * 64], "two hashes for image a/1"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(
    tmp_path: Path, benchmark: Benchmark, column: str, values: list, message: str
) -> None:
    benchmark.write(tmp_path / "toy.parquet")
    table, metadata, _ = read_table(tmp_path / "toy.parquet", KIND, SCHEMA)
    place = SCHEMA.get_field_index(column)
    table = table.set_column(place, SCHEMA.field(place), pa.array(values, pa.string()))
    metadata.pop("kind")
    write_table(tmp_path / "toy.parquet", KIND, table, metadata)
    with pytest.raises(InputError, match=rf"toy\.parquet: {message}"):
        Benchmark.read(tmp_path / "toy.parquet")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"part": "villain"}, "a row of part 'villain'"), ({"media": None}, "a member without media")],
)
def test_a_template_file_that_contradicts_itself_is_refused(
    tmp_path: Path, templates: Benchmark, change: dict, message: str
) -> None:
    templates.write(tmp_path / "t.parquet")
    table, metadata, _ = read_table(tmp_path / "t.parquet", TEMPLATE_KIND, TEMPLATE_SCHEMA)
    rows = table.to_pylist()
    rows[0] |= change
    metadata.pop("kind")
    other = pa.Table.from_pylist(rows, schema=TEMPLATE_SCHEMA)
    write_table(tmp_path / "t.parquet", TEMPLATE_KIND, other, metadata)
    with pytest.raises(InputError, match=rf"t\.parquet: {message}"):
        Benchmark.read(tmp_path / "t.parquet")
