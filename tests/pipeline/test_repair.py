"""A damaged store comes back with the root it had, and only what was damaged is made again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manifests.building.ledger import NAME as LEDGER
from manifests.check import find_faults
from manifests.core import layout
from manifests.core.digests import folder_hashes
from manifests.core.errors import InputError
from manifests.settings.params import Params
from manifests.stores.passport import NAME as PASSPORT
from pipeline import render
from pipeline.audit import audit
from pipeline.building.faces import Faces
from pipeline.building.shards import build
from pipeline.building.workers import Workers
from pipeline.embed import EmbedJob
from pipeline.render import RenderJob
from pipeline.repair import repair
from tests.pipeline.conftest import shards_done

FACES = layout.faces("pool")
TEACHER = layout.teacher("pool", "dlib-resnet")


def change_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x55
    path.unlink()
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


DAMAGE = [change_byte, cut, Path.unlink]
ALL = [0, 1, 2]


def mended(store: Path, params: Params) -> list[int]:
    """Repairs a store; the shards that were made again for it."""
    before = None if damaged_passport(store) else (store / PASSPORT).read_bytes()
    with shards_done(RenderJob) as rendered, shards_done(EmbedJob) as embedded:
        repair(store, params, Workers(1))
    assert not find_faults(store)
    if before is not None:
        assert (store / PASSPORT).read_bytes() == before
    return [*rendered, *embedded]


def damaged_passport(store: Path) -> bool:
    return any(fault.file == PASSPORT for fault in find_faults(store))


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    ("name", "made_again"),
    [
        ("images/c/1/0/0/0", [1]),
        ("ok/c/0", ALL),  # one shard of a small column holds the rows of all three
        ("images/zarr.json", []),
        ("landmarks/zarr.json", []),
        ("zarr.json", []),
        (LEDGER, []),
        (PASSPORT, []),
    ],
)
def test_faces_are_mended_by_the_damaged_shards_alone(
    sharded: Params,
    sharded_once: Path,
    damage: Callable[[Path], None],
    name: str,
    made_again: list[int],
) -> None:
    damage(FACES / name)
    assert mended(FACES, sharded) == made_again
    assert folder_hashes(FACES) == folder_hashes(sharded_once / FACES)


@pytest.mark.parametrize(("name", "made_again"), [("norms/c/0/0", ALL), ("zarr.json", [])])
def test_embeddings_are_mended(
    sharded: Params, sharded_once: Path, name: str, made_again: list[int]
) -> None:
    change_byte(TEACHER / name)
    assert mended(TEACHER, sharded) == made_again
    assert folder_hashes(TEACHER) == folder_hashes(sharded_once / TEACHER)


def test_with_the_ledger_a_damaged_shard_is_found_all_the_same(
    sharded: Params, sharded_once: Path
) -> None:
    change_byte(FACES / LEDGER)
    change_byte(FACES / "images/c/2/0/0/0")
    mended(FACES, sharded)
    assert folder_hashes(FACES) == folder_hashes(sharded_once / FACES)


def test_a_stray_file_goes(sharded: Params, sharded_once: Path) -> None:
    (FACES / "images/c/7").mkdir()
    (FACES / "images/c/7/stray").write_text("x")
    assert mended(FACES, sharded) == []
    assert folder_hashes(FACES) == folder_hashes(sharded_once / FACES)


def test_a_sound_store_is_left_alone(sharded: Params) -> None:
    assert "nothing to do" in repair(FACES, sharded, Workers(1))
    assert not layout.WORK.exists()


def test_nothing_is_done_where_other_faces_would_come_of_it(sharded: Params) -> None:
    (FACES / "ok/c/0").unlink()
    other = replace(sharded, render=replace(sharded.render, detect_size=80))
    before = folder_hashes(FACES)
    with pytest.raises(InputError, match=r'detect_size":64.* would be .*detect_size":80'):
        repair(FACES, other, Workers(1))
    assert folder_hashes(FACES) == before


def test_a_store_of_other_shards_keeps_them(sharded: Params, sharded_once: Path) -> None:
    change_byte(FACES / "images/c/0/0/0/0")
    larger = replace(sharded, render=replace(sharded.render, shard_rows=128))
    assert mended(FACES, larger) == [0]
    assert folder_hashes(FACES) == folder_hashes(sharded_once / FACES)


def test_a_store_that_cannot_come_out_the_same_is_left_as_it_is(
    sharded: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_byte(FACES / "images/c/0/0/0/0")
    before = folder_hashes(FACES)
    call = RenderJob.faces

    def other_bits(self: RenderJob, rows: np.ndarray, *, first_attempt: int = 0) -> Faces:
        faces = call(self, rows, first_attempt=first_attempt)
        faces.images[0, 0, 0, 0] ^= 1
        return faces

    monkeypatch.setattr(RenderJob, "faces", other_bits)
    with pytest.raises(InputError, match="makes other bytes; it was left as it is"):
        repair(FACES, sharded, Workers(1))
    assert folder_hashes(FACES) == before


def test_a_store_elsewhere_cannot_be_mended(sharded: Params, tmp_path: Path) -> None:
    shutil.copytree(FACES, tmp_path / "faces.zarr")
    (tmp_path / "faces.zarr/ok/c/0").unlink()
    with pytest.raises(InputError, match="only a store in its place"):
        repair(tmp_path / "faces.zarr", sharded, Workers(1))


def test_a_store_of_version_1_is_built_anew(sharded: Params) -> None:
    values = json.loads((FACES / PASSPORT).read_text())
    del values["digest"], values["metadata"]
    (FACES / PASSPORT).write_text(json.dumps(values | {"schema_version": 1}))
    (FACES / "ok/c/0").unlink()
    with pytest.raises(InputError, match="of version 1"):
        repair(FACES, sharded, Workers(1))


def test_a_store_of_an_earlier_version_is_mended_as_it_was(
    sharded: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(render, "VERSION", 2)
        rendering = render.open_rendering("pool", sharded)
    build(
        replace(rendering, provenance=replace(rendering.provenance, schema_version=2)), Workers(1)
    )
    shutil.rmtree(layout.WORK)
    before = folder_hashes(FACES)
    assert audit(FACES, sharded, Workers(1), rows=9, seed=0).holds
    for name in ("images/c/1/0/0/0", "ok/zarr.json"):
        change_byte(FACES / name)
    assert mended(FACES, sharded) == [1]
    assert folder_hashes(FACES) == before
