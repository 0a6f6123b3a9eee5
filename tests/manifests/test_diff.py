"""Two stores or manifests: every difference has its line, and what is the same has none."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import manifests.diff
from manifests.core.errors import InputError
from manifests.diff import compare, compare_manifests, compare_stores, different_values, main
from manifests.stores.latents import LatentManifest
from manifests.stores.passport import Fingerprint
from manifests.stores.reading import FaceStore, TeacherStore
from tests.toys import PASSPORT, RECIPE, toy_faces, toy_manifest, toy_teacher

ROWS, SIZE = 200, 8
LEAVES = st.one_of(st.integers(0, 3), st.none(), st.text("ab", max_size=2))
TREES = st.dictionaries(
    st.sampled_from("pqr"),
    st.recursive(LEAVES, lambda t: st.dictionaries(st.sampled_from("xy"), t)),
)


def pictures(rows: int = ROWS) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (rows, SIZE, SIZE, 3), dtype=np.uint8)


def vectors() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((ROWS, 2, 3)).astype(np.float32)


@pytest.fixture
def faces(tmp_path: Path) -> FaceStore:
    return toy_faces(tmp_path / "a/faces.zarr", pictures(), task_rows=128)


@pytest.fixture
def teacher(tmp_path: Path) -> TeacherStore:
    return toy_teacher(tmp_path / "a/t.zarr", vectors())


def starting(lines: list[str], start: str) -> list[str]:
    return [line for line in lines if line.startswith(start)]


class TestFaces:
    def test_a_copy_is_the_same_and_none_of_its_arrays_is_read(
        self, faces: FaceStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        copy = toy_faces(tmp_path / "b/faces.zarr", pictures(), task_rows=128)
        monkeypatch.delattr(manifests.diff, "read_rows")
        assert compare_stores(faces, copy) == []

    def test_one_changed_pixel_is_found_in_its_row(self, faces: FaceStore, tmp_path: Path) -> None:
        images = pictures()
        images[150, 3, 4, 1] ^= 1
        lines = compare_stores(faces, toy_faces(tmp_path / "b", images, task_rows=128))
        assert [line.split(":")[0] for line in lines] == [
            "merkle_root", "images", "every value is the same",
        ]  # fmt: skip
        assert lines[1].startswith("images: 1 of 200 rows differ, the first is row 150; 0.0026 %")
        assert lines[2].endswith("ok, quality, reason")

    def test_lost_faces_are_counted_each_way(self, faces: FaceStore, tmp_path: Path) -> None:
        ok = np.arange(ROWS) % 50 > 0
        lines = compare_stores(faces, toy_faces(tmp_path / "b", pictures(), ok=ok, task_rows=128))
        assert "num_ok: 200 | 196" in lines
        assert "failures.no_face: absent | 4" in lines
        assert starting(lines, "ok:")[0].endswith("true: 4 only in A, 0 only in B")
        assert starting(lines, "reason:")[0].endswith("ok → no_face in 4")

    def test_other_shards_with_the_same_values_still_differ(
        self, faces: FaceStore, tmp_path: Path
    ) -> None:
        lines = compare_stores(faces, toy_faces(tmp_path / "b", pictures(), task_rows=64))
        assert "rows of a task: 128 | 64" in lines
        assert lines[-1] == "every value is the same: images, ok, quality, reason"

    def test_fingerprints_differ_with_their_meaning(self, faces: FaceStore, tmp_path: Path) -> None:
        made_by = Fingerprint({"name": "other", "frame": {"size": 9}}, {"batch": 32})
        passport = replace(PASSPORT, fingerprint=made_by)
        other = toy_faces(tmp_path / "b", pictures(), passport=passport, task_rows=128)
        assert starting(compare_stores(faces, other), "fingerprint") == [
            "fingerprint.identity.name: toy-generator | other (may not be mixed)",
            "fingerprint.identity.frame.size: absent | 9 (may not be mixed)",
            "fingerprint.numerics.batch: 64 | 32 (low bits may differ)",
        ]

    def test_pictures_of_another_size_are_not_compared(
        self, faces: FaceStore, tmp_path: Path
    ) -> None:
        other = toy_faces(tmp_path / "b", pictures()[:, :4, :4], task_rows=128)
        lines = compare_stores(faces, other)
        assert "images: rows are uint8[8, 8, 3] | uint8[4, 4, 3]; not compared" in lines
        assert "attributes.frame.size: 8 | 4" in lines

    def test_rows_of_one_manifest_are_compared_as_far_as_both_go(
        self, faces: FaceStore, tmp_path: Path
    ) -> None:
        images = pictures()[:70]
        images[5] += 1
        lines = compare_stores(faces, toy_faces(tmp_path / "b", images, task_rows=128))
        assert "arrays are compared in the first 70 rows" in lines
        assert starting(lines, "images: 1 of 70 rows differ, the first is row 5")

    def test_unlike_manifests_and_sizes_end_at_the_headline(
        self, faces: FaceStore, tmp_path: Path
    ) -> None:
        passport = replace(PASSPORT, manifest_digest="12" * 32)
        other = toy_faces(tmp_path / "b", pictures()[:70], passport=passport, task_rows=128)
        lines = compare_stores(faces, other)
        assert "num_rows: 200 | 70" in lines
        assert "manifest_digest: cdcdcdcdcdcd | 121212121212 (row i need not be the same face)" in (
            lines
        )
        assert lines[-1].startswith("arrays are not compared: unlike manifests")

    def test_a_block_is_a_few_chunks_and_changes_nothing(
        self, faces: FaceStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        images = pictures()
        images[[70, 199]] ^= 7  # none in the first block
        other = toy_faces(tmp_path / "b", images, task_rows=128)
        at_once = compare_stores(faces, other)
        read, sizes = manifests.diff.read_rows, []

        def recorded(*args: Any) -> np.ndarray:
            sizes.append(len(rows := read(*args)))
            return rows

        monkeypatch.setattr(manifests.diff, "BLOCK_BYTES", 1)
        monkeypatch.setattr(manifests.diff, "read_rows", recorded)
        assert compare_stores(faces, other) == at_once
        assert max(sizes) == 128  # one chunk of the small columns; 64 of the pictures
        assert sizes[:8] == [64, 64, 64, 64, 64, 64, 8, 8]

    def test_empty_stores_differ_only_in_what_is_said(self, tmp_path: Path) -> None:
        one = toy_faces(tmp_path / "a", pictures(0))
        other = toy_faces(tmp_path / "b", pictures(0), passport=replace(PASSPORT, round="other"))
        assert compare_stores(one, other) == ["round: toy | other"]

    def test_a_damaged_chunk_is_named(self, faces: FaceStore, tmp_path: Path) -> None:
        other = toy_faces(tmp_path / "b/faces.zarr", pictures() + 1, task_rows=128)
        shard = other.path / "images/c/1/0/0/0"
        data = bytearray(shard.read_bytes())
        data[40] ^= 1
        shard.write_bytes(data)
        with pytest.raises(InputError, match=r"b/faces\.zarr: images is damaged"):
            compare_stores(faces, other)


class TestTeachers:
    def test_cosines_and_lost_rows(self, teacher: TeacherStore, tmp_path: Path) -> None:
        rows = vectors()
        rows[3] *= -1
        rows[7] = np.nan
        lines = compare_stores(teacher, toy_teacher(tmp_path / "b", rows))
        (line,) = starting(lines, "embeddings")
        assert line.startswith("embeddings: 2 of 200 rows differ, the first is row 3; cosine -1.0")
        assert f"{1 - 2 / 199:.6f} on average, of 199 rows in both" in line
        assert line.endswith("finite: 1 only in A, 0 only in B")

    def test_means_are_told_by_their_distance(self, teacher: TeacherStore, tmp_path: Path) -> None:
        lines = compare_stores(teacher, toy_teacher(tmp_path / "b", vectors() + 0.5))
        (line,) = starting(lines, "attributes.mean")
        assert line == "attributes.mean: 3 numbers, at most 0.5 apart"
        assert starting(lines, "attributes.spread")

    def test_embeddings_of_other_faces_are_named(
        self, teacher: TeacherStore, tmp_path: Path
    ) -> None:
        other = toy_teacher(tmp_path / "b", vectors(), faces_root="12" * 32)
        lines = compare_stores(teacher, other)
        assert lines == ["faces_root: efefefefefef | 121212121212 (made from another face store)"]


@given(a=TREES, b=TREES)
def test_nested_values_differ_exactly_where_they_differ(a: dict, b: dict) -> None:
    assert (different_values(a, b) == []) == (a == b)
    assert different_values(a, a) == []
    assert len(different_values(a, b)) == len(different_values(b, a))


def changed(manifest: LatentManifest, name: str, row: int, value: object) -> LatentManifest:
    cells = manifest.table[name].to_pylist()
    cells[row] = value
    at = manifest.table.schema.get_field_index(name)
    field = manifest.table.schema.field(name)
    table = manifest.table.set_column(at, field, pa.array(cells, field.type))
    return LatentManifest(manifest.recipe, table)


class TestManifests:
    def test_an_equal_one_is_the_same(self) -> None:
        assert compare_manifests(toy_manifest(9), toy_manifest(9)) == []

    @settings(max_examples=30)
    @given(
        in_a=st.lists(st.booleans(), min_size=9, max_size=9),
        in_b=st.lists(st.booleans(), min_size=9, max_size=9),
    )
    def test_faces_in_one_alone_are_counted(self, in_a: list[bool], in_b: list[bool]) -> None:
        whole = toy_manifest(9)
        a, b = (LatentManifest(RECIPE, whole.table.filter(pa.array(kept))) for kept in (in_a, in_b))
        lines = compare_manifests(a, b)
        for side, mine, other in (("A", a, b), ("B", b, a)):
            alone = sorted(set(mine.face_id.tolist()) - set(other.face_id.tolist()))
            text = f"{len(alone)} faces only in {side}, the first is {alone[0]}" if alone else None
            assert [line for line in lines if f"only in {side}" in line] == ([text] if text else [])
        assert len(lines) == (0 if in_a == in_b else 1 + sum("faces only" in x for x in lines))

    @pytest.mark.parametrize(
        ("name", "value"),
        [("score", 0.5), ("parent_id", 2**62 + 1), ("origin", "mined"), ("side", -1), ("law", "x")],
    )
    def test_a_changed_cell_is_found(self, name: str, value: object) -> None:
        manifest = toy_manifest(9)
        lines = compare_manifests(manifest, changed(manifest, name, 4, value))
        assert lines[1:] == [
            f"{name}: 1 of 9 common faces differ, the first is {manifest.face_id[4]}"
        ]

    def test_empty_cells_and_nan_are_alike_each_for_itself(self) -> None:
        manifest = changed(toy_manifest(9), "score", 2, float("nan"))
        assert compare_manifests(manifest, changed(manifest, "step", 0, None)) == []
        lines = compare_manifests(manifest, changed(manifest, "law", 0, "x"))
        assert [line.split(":")[0] for line in lines] == ["digest", "law"]
        assert starting(compare_manifests(manifest, toy_manifest(9)), "score: 1 of 9")

    def test_latents_tell_how_far_they_are(self) -> None:
        manifest = toy_manifest(9)
        latent = manifest.latents[3] + np.array([0, 0, 0.25, 0], np.float32)
        lines = compare_manifests(manifest, changed(manifest, "latent", 3, latent.tolist()))
        assert lines[1].startswith("latent: 1 of 9 common faces differ")
        assert lines[1].endswith(f"{manifest.face_id[3]}, at most 0.25 apart")

    def test_recipes_are_compared_field_by_field(self) -> None:
        manifest = toy_manifest(9)
        other = LatentManifest(replace(RECIPE, psi=0.5), manifest.table)
        assert compare_manifests(manifest, other)[1:] == ["recipe.psi: 1.0 | 0.5"]

    def test_widths_of_latents_may_differ(self) -> None:
        other = toy_manifest(9, recipe=replace(RECIPE, latent_width=6))
        assert "recipe.latent_width: 4 | 6" in compare_manifests(toy_manifest(9), other)


class TestCommand:
    def test_a_store_of_another_kind_is_refused(
        self, faces: FaceStore, teacher: TeacherStore
    ) -> None:
        with pytest.raises(InputError, match=r"a faces store, .*a teacher store; give two of a"):
            compare(faces.path, teacher.path)

    def test_a_manifest_beside_a_store_is_refused(self, faces: FaceStore, tmp_path: Path) -> None:
        toy_manifest().write(tmp_path / "toy.parquet")
        with pytest.raises(InputError, match="a manifest and a store; give two of a kind"):
            compare(tmp_path / "toy.parquet", faces.path)

    def test_a_round_that_is_not_here_is_named(self, tmp_path: Path) -> None:
        toy_manifest().write(tmp_path / "toy.parquet")
        with pytest.raises(InputError, match=r"^probe: no such round or store"):
            compare(tmp_path / "toy.parquet", Path("probe"))

    @pytest.mark.parametrize("name", ["none.parquet", "none.zarr"])
    def test_what_is_not_there_is_named(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(InputError, match=rf"{name}: .*(no such file|does not exist)"):
            compare(tmp_path / name, tmp_path / name)

    def test_nothing_that_a_terminal_obeys_is_printed(
        self,
        faces: FaceStore,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        passport = replace(PASSPORT, licences={"\x1b[2J": "line\nbreak\r"})
        other = toy_faces(tmp_path / "b", pictures(), passport=passport, task_rows=128)
        monkeypatch.setattr(sys, "argv", ["diff", str(faces.path), str(other.path)])
        main()
        out = capsys.readouterr().out
        assert r"  licences.\x1b[2J: absent | line\nbreak\r" in out.splitlines()

    def test_it_exits_by_what_it_finds(
        self,
        faces: FaceStore,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        other = toy_faces(tmp_path / "b", pictures()[:70])
        toy_manifest().write(tmp_path / "toy.parquet")
        for a, b, status, text in (
            (faces.path, faces.path, 0, "two faces stores, the same\n"),
            (faces.path, other.path, 1, "  num_rows: 200 | 70\n"),
            (tmp_path / "toy.parquet", tmp_path / "toy.parquet", 0, "two manifests, the same\n"),
        ):
            found = tmp_path / "found.json"
            monkeypatch.setattr(
                sys, "argv", ["diff", str(a), str(b), "--json", str(found), "--force"]
            )
            assert main() == status
            assert text in capsys.readouterr().out
            assert bool(json.loads(found.read_text())["differences"]) == bool(status)
