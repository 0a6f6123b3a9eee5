from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from manifests.core.errors import InputError
from manifests.core.tables import write_table
from manifests.stores.latents import KIND, LARGEST, LatentManifest, Recipe, build, empty, face_ids
from tests.toys import RECIPE, WIDTH, toy_manifest

FLOATS = st.floats(-LARGEST, LARGEST, width=32)
LATENTS = arrays(np.float32, st.tuples(st.integers(0, 9), st.just(WIDTH)), elements=FLOATS)


def write_unchecked(path: Path, table: pa.Table, **metadata: Any) -> Path:
    """A manifest file with a right digest whose contents nobody looked at."""
    texts = {name: str(value) for name, value in {**vars(RECIPE), **metadata}.items()}
    write_table(path, KIND, table, texts)
    return path


def with_column(manifest: LatentManifest, name: str, values: list) -> pa.Table:
    index = manifest.table.schema.get_field_index(name)
    field = manifest.table.schema.field(name)
    return manifest.table.set_column(index, field, pa.array(values, field.type))


@settings(max_examples=30)
@given(latents=LATENTS, psi=st.floats(0.0, 2.0))
def test_a_manifest_comes_back_as_it_was(tmp_path_factory: Any, latents: Any, psi: float) -> None:
    path = tmp_path_factory.mktemp("latents") / "round.parquet"
    manifest = build(replace(RECIPE, psi=psi), latents, origin="prior")
    manifest.write(path)
    found = LatentManifest.read(path, expect=manifest.digest)
    assert (found.recipe, found.digest) == (manifest.recipe, manifest.digest)
    assert found.table.equals(manifest.table)
    assert np.array_equal(found.latents, latents)


def test_digest_does_not_move_with_the_file_layout(tmp_path: Path) -> None:
    path = tmp_path / "round.parquet"
    manifest = toy_manifest(9)
    manifest.write(path)
    before = path.read_bytes()
    pq.write_table(pq.read_table(path), path, row_group_size=4, compression="none")
    assert path.read_bytes() != before
    assert LatentManifest.read(path).digest == manifest.digest


def test_lineage_columns_are_kept_with_their_nulls(tmp_path: Path) -> None:
    parents = np.array([2**62, 2**62 + 1, 5], np.int64)
    columns = {"parent_id": parents, "step": np.array([0.5, 0.25, 1.0], np.float32)}
    latents = np.zeros((3, WIDTH), np.float32)
    build(RECIPE, latents, origin="mined", law="dynamic", **columns).write(tmp_path / "a.parquet")
    table = LatentManifest.read(tmp_path / "a.parquet").table
    assert table["parent_id"].to_pylist() == parents.tolist()
    assert table["identity_id"].null_count == 3


def test_nullable_columns_read_as_floats() -> None:
    manifest = toy_manifest(3)
    table = with_column(manifest, "region_id", [4, None, 6])
    region = LatentManifest(RECIPE, table).column("region_id")
    assert np.array_equal(region, [4.0, np.nan, 6.0], equal_nan=True)


def test_a_round_without_faces_is_legal(tmp_path: Path) -> None:
    empty(RECIPE, origin="mined").write(tmp_path / "none.parquet")
    found = LatentManifest.read(tmp_path / "none.parquet")
    assert len(found) == 0
    assert found.latents.shape == (0, WIDTH)


def test_face_ids_are_a_prefix_and_the_row() -> None:
    ids = face_ids(RECIPE, "prior", "", 3)
    assert (ids & 0xFFFFFFFF).tolist() == [0, 1, 2]
    assert len({int(i) >> 32 for i in ids}) == 1
    assert ids.min() >= 0


@pytest.mark.parametrize(
    "recipe",
    [replace(RECIPE, round="theirs"), replace(RECIPE, generator_sha256="12" * 32)],
    ids=["round", "generator"],
)
def test_two_teams_never_share_an_id(recipe: Recipe) -> None:
    ours, theirs = toy_manifest(5), toy_manifest(5, recipe=recipe)
    assert not set(ours.face_id) & set(theirs.face_id)


def test_another_seed_gives_other_ids() -> None:
    assert not set(toy_manifest(5, seed=1).face_id) & set(toy_manifest(5, seed=2).face_id)


def test_seeds_of_a_round_differ_by_row() -> None:
    assert len(set(toy_manifest(50).table["seed"].to_pylist())) == 50


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.1e6, -3e38])
def test_a_latent_that_draws_nothing_is_refused_by_file_and_row(
    tmp_path: Path, value: float
) -> None:
    manifest = toy_manifest(4)
    values = manifest.latents.tolist()
    values[2][1] = value
    path = write_unchecked(tmp_path / "nan.parquet", with_column(manifest, "latent", values))
    with pytest.raises(InputError, match=r"nan\.parquet: row 2: latent is not finite"):
        LatentManifest.read(path)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([3, 7, 7, 9], r"row 2: duplicate face_id 7"),
        ([3, 7, 9, 8], r"row 3: unsorted face_id 8"),
        ([3, 7, 2**63 - 1, -(2**63)], rf"row 3: unsorted face_id -{2**63}"),  # 1 apart in 64 bits
    ],
    ids=["duplicate", "unsorted", "further apart than 64 bits"],
)
def test_ids_out_of_order_are_refused_by_file_and_row(
    tmp_path: Path, ids: list[int], message: str
) -> None:
    table = with_column(toy_manifest(4), "face_id", ids)
    path = write_unchecked(tmp_path / "ids.parquet", table)
    with pytest.raises(InputError, match=rf"ids\.parquet: {message}"):
        LatentManifest.read(path)


@pytest.mark.parametrize("width", [WIDTH - 1, WIDTH + 1])
def test_wrong_width_is_refused_by_file(tmp_path: Path, width: int) -> None:
    path = write_unchecked(tmp_path / "wide.parquet", toy_manifest().table, latent_width=width)
    with pytest.raises(InputError, match=rf"wide\.parquet: latents are 4-d, .* says {width}-d"):
        LatentManifest.read(path)


def test_wrong_width_is_refused_when_built() -> None:
    with pytest.raises(InputError, match=r"shape \(2, 7\), expected \(faces, 4\)"):
        build(RECIPE, np.zeros((2, 7), np.float32), origin="prior")


@pytest.mark.parametrize(
    ("column", "value"), [("origin", "guess"), ("generator", "other-generator")]
)
def test_strange_value_is_refused_by_file(tmp_path: Path, column: str, value: str) -> None:
    table = with_column(toy_manifest(3), column, [value] * 3)
    path = write_unchecked(tmp_path / "strange.parquet", table)
    with pytest.raises(InputError, match=rf"strange\.parquet: {column} '{value}', expected"):
        LatentManifest.read(path)


def test_unknown_latent_space_is_refused(tmp_path: Path) -> None:
    path = write_unchecked(tmp_path / "s.parquet", toy_manifest().table, latent_space="s")
    with pytest.raises(InputError, match=r"s\.parquet: latent space 's'"):
        LatentManifest.read(path)


def test_values_changed_afterwards_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "round.parquet"
    manifest = toy_manifest(3)
    manifest.write(path)
    table = with_column(manifest, "seed", [1, 2, 3])
    pq.write_table(table.replace_schema_metadata(pq.read_schema(path).metadata), path)
    with pytest.raises(InputError, match=r"round\.parquet: its values have digest"):
        LatentManifest.read(path)


def test_another_round_than_expected_names_both_digests(tmp_path: Path) -> None:
    ours, theirs = toy_manifest(seed=1), toy_manifest(seed=2)
    ours.write(tmp_path / "round.parquet")
    with pytest.raises(InputError, match=f"round.parquet: .*{ours.digest}.*{theirs.digest}"):
        LatentManifest.read(tmp_path / "round.parquet", expect=theirs.digest)


@pytest.mark.parametrize("text", [None, "not Parquet"])
def test_a_file_that_is_no_table_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "round.parquet"
    if text:
        path.write_text(text)
    with pytest.raises(InputError, match=r"round\.parquet: (no such|not a readable)"):
        LatentManifest.read(path)


def test_a_table_of_another_kind_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", "gap-table-1", toy_manifest().table, {})
    with pytest.raises(InputError, match=r"a\.parquet: holds gap-table-1, not latent-manifest-1"):
        LatentManifest.read(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"generator": "stylegan"}, r"round toy: latents of generator toy-generator .* stylegan"),
        ({"sha256": "99" * 32}, r"\(abababababab\).*\(999999999999\)"),
        ({"latent_width": 512}, r"latents are 4-d in z, .* takes 512-d in z"),
        ({"space": "w"}, r"takes 4-d in w"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_another_generator_is_refused(change: dict, message: str) -> None:
    ours = {
        "generator": RECIPE.generator,
        "sha256": RECIPE.generator_sha256,
        "latent_width": WIDTH,
        "space": "z",
    }
    toy_manifest().require(**ours)
    with pytest.raises(InputError, match=message):
        toy_manifest().require(**{**ours, **change})


@pytest.mark.parametrize("psi", ["nan", "inf", "-inf"])
def test_a_truncation_that_is_no_finite_number_is_refused(tmp_path: Path, psi: str) -> None:
    path = write_unchecked(tmp_path / "m.parquet", toy_manifest().table, psi=psi)
    with pytest.raises(InputError, match=r"m\.parquet: its metadata holds no number .psi"):
        LatentManifest.read(path)
