from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from manifests.building.ledger import NAME as LEDGER
from manifests.building.ledger import read_ledger
from manifests.building.writing import Task, plan_tasks
from manifests.check import find_faults
from manifests.core.errors import InputError
from manifests.stores.metadata import dimensions
from manifests.stores.reading import TASK_ROWS, FaceStore, TeacherStore, store_root
from tests.toys import PASSPORT, toy_faces, toy_teacher

SIZE = 8
TWO_SHARDS = 1500


def pictures(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def flip_bit(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.fixture
def faces(tmp_path: Path) -> FaceStore:
    return toy_faces(tmp_path / "faces.zarr", pictures(5))


@pytest.mark.parametrize("count", [0, 1, 1024, 1025, 5000])
def test_tasks_cover_every_row_once(count: int) -> None:
    tasks = plan_tasks(count)
    rows = [row for task in tasks for row in range(task.start, task.stop)]
    assert rows == list(range(count))
    assert all(task.stop - task.start == TASK_ROWS for task in tasks[:-1])


def test_tasks_are_numbered_in_order() -> None:
    assert plan_tasks(TWO_SHARDS) == [Task(0, 0, 1024), Task(1, 1024, TWO_SHARDS)]


def test_rows_come_back_from_two_shards(tmp_path: Path) -> None:
    images, ok = pictures(TWO_SHARDS), np.arange(TWO_SHARDS) % 3 > 0
    store = toy_faces(tmp_path / "faces.zarr", images, ok=ok)
    assert np.array_equal(store.images(0, len(store)), images)
    assert np.array_equal(store.images(1000, 1050), images[1000:1050])
    assert np.array_equal(store.ok(), ok)
    assert np.array_equal(store.column("reason"), ~ok)
    assert sorted(path.name for path in (store.path / "images/c").iterdir()) == ["0", "1"]


def test_order_of_writing_changes_no_byte(tmp_path: Path) -> None:
    images = pictures(TWO_SHARDS)
    forward = toy_faces(tmp_path / "a", images, order=[0, 1])
    backward = toy_faces(tmp_path / "b", images, order=[1, 0])
    assert forward.root == backward.root


def test_a_black_shard_is_a_file_like_any_other(tmp_path: Path) -> None:
    store = toy_faces(tmp_path / "faces.zarr", np.zeros((3, SIZE, SIZE, 3), np.uint8))
    assert (store.path / "images/c/0/0/0/0").exists()


def test_an_empty_store_opens(tmp_path: Path) -> None:
    store = toy_faces(tmp_path / "faces.zarr", pictures(0))
    assert len(store) == 0
    assert store.images(0, 0).shape == (0, SIZE, SIZE, 3)
    assert store.ok().shape == (0,)


def test_an_empty_teacher_store_opens(tmp_path: Path) -> None:
    store = toy_teacher(tmp_path / "t.zarr", np.empty((0, 2, 3), np.float32))
    assert store.embeddings().shape == (0, 2, 3)
    assert store.width == 3


def test_embeddings_come_back_as_float16(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((TWO_SHARDS, 2, 3)).astype(np.float32)
    store = toy_teacher(tmp_path / "t.zarr", rows)
    assert np.array_equal(store.embeddings(), rows.astype(np.float16))
    np.testing.assert_allclose(store.centre(), rows.mean(axis=(0, 1)), atol=1e-4)


def test_passport_holds_the_root_of_the_bytes_on_disk(faces: FaceStore) -> None:
    assert faces.root == store_root(faces.path)


def test_sealed_ledger_lists_every_shard(tmp_path: Path) -> None:
    store = toy_faces(tmp_path / "faces.zarr", pictures(TWO_SHARDS))
    lines = read_ledger(store.path / LEDGER).shards
    assert [(line.shard, line.num_rows) for line in lines] == [(0, 1024), (1, 476)]


def test_expected_digests_open_the_store(faces: FaceStore) -> None:
    expect = {"manifest": PASSPORT.manifest_digest, "root": faces.root}
    assert FaceStore.open(faces.path, expect=expect).root == faces.root


@pytest.mark.parametrize("name", ["manifest", "root"])
def test_another_digest_than_expected_names_both_sides(faces: FaceStore, name: str) -> None:
    have = {"manifest": PASSPORT.manifest_digest, "root": faces.root}[name]
    message = rf"faces\.zarr: made from {name} {have[:12]}, but the {name} at hand is 343434343434"
    with pytest.raises(InputError, match=message):
        FaceStore.open(faces.path, expect={name: "34" * 32})


def test_embeddings_of_other_faces_are_refused(tmp_path: Path) -> None:
    store = toy_teacher(tmp_path / "t.zarr", np.arange(12.0).reshape(2, 2, 3), faces_root="ef" * 32)
    with pytest.raises(InputError, match=r"made from faces efefefefefef, .* 343434343434"):
        TeacherStore.open(store.path, expect={"faces": "34" * 32})


def test_a_store_of_another_kind_is_refused(faces: FaceStore) -> None:
    with pytest.raises(InputError, match=r"a faces store, expected a teacher store"):
        TeacherStore.open(faces.path)


def test_an_unfinished_store_does_not_open(faces: FaceStore) -> None:
    (faces.path / "passport.json").unlink()
    with pytest.raises(InputError, match=r"faces\.zarr: this store is unfinished"):
        FaceStore.open(faces.path)


@pytest.mark.parametrize("at", [40, -40], ids=["pixels", "index of the shard"])
def test_a_flipped_bit_is_noticed_on_reading(faces: FaceStore, at: int) -> None:
    flip_bit(faces.path / "images/c/0/0/0/0", at)
    with pytest.raises(InputError, match=r"images is damaged .*checksum"):
        faces.images(0, 5)
    assert store_root(faces.path) != faces.root


def test_a_lost_shard_changes_the_root(faces: FaceStore) -> None:
    (faces.path / "images/c/0/0/0/0").unlink()
    assert store_root(faces.path) != faces.root


def test_a_store_cannot_be_written_through_its_reader(faces: FaceStore) -> None:
    with pytest.raises(ValueError, match="read-only"):
        faces.group["images"][0] = 0  # type: ignore[index]


def test_a_store_of_version_1_opens(faces: FaceStore) -> None:
    path = faces.path / "passport.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    for name in ("digest", "metadata", "shard_rows"):
        del values[name]
    path.write_text(json.dumps(values | {"schema_version": 1}), encoding="utf-8")
    opened = FaceStore.open(faces.path)
    assert np.array_equal(opened.images(0, 5), pictures(5))
    assert opened.task_rows == TASK_ROWS and opened.passport.metadata == {}


@pytest.mark.parametrize("version", [2, 3])
def test_dimensions_have_names_since_version_3(tmp_path: Path, version: int) -> None:
    passport = replace(PASSPORT, schema_version=version)
    faces = toy_faces(tmp_path / "faces.zarr", pictures(5), passport=passport)
    rows = np.random.default_rng(0).random((5, 2, 3), np.float32)
    teacher = toy_teacher(tmp_path / "teachers/toy.zarr", rows, passport=passport)
    group = zarr.open_group(faces.path, mode="r")
    named = {name: group[name].metadata.dimension_names for name in ("images", "ok")}
    named["norms"] = zarr.open_group(teacher.path, mode="r")["norms"].metadata.dimension_names
    expected = {"images": ("face", "y", "x", "colour"), "ok": ("face",), "norms": ("face", "view")}
    assert named == (expected if version == 3 else dict.fromkeys(expected))
    assert np.array_equal(FaceStore.open(faces.path).images(0, 5), pictures(5))
    assert not find_faults(faces.path) and faces.passport.schema_version == version


def test_arrays_that_nobody_foresaw_name_each_dimension_once() -> None:
    assert dimensions("depth", 3) == ("face", "depth_1", "depth_2")
    assert dimensions("images", 2) == ("face", "images_1")
