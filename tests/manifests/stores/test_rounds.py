"""Opening a round: every link is checked, and a store that lost a file does not open."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.stores.reading import FaceStore
from manifests.stores.rounds import open_round
from tests.toys import make_round


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_round("pool", 70)


def test_a_whole_round_opens() -> None:
    files = open_round("pool", "toy")
    assert len(files.require_manifest()) == len(files.faces) == len(files.teacher) == 70
    assert files.num_imported == 0


def test_faces_of_another_manifest_are_refused() -> None:
    manifest = layout.manifest("pool").read_bytes()
    make_round("pool", 70, seed=1)
    layout.manifest("pool").write_bytes(manifest)
    with pytest.raises(InputError, match=r"made from manifest .*but the manifest at hand is"):
        open_round("pool", "toy")


def test_embeddings_of_other_faces_are_refused() -> None:
    store = layout.teacher("pool", "toy")
    store.rename("old.zarr")
    make_round("pool", 70, seed=1)
    store.rename("new.zarr")
    Path("old.zarr").rename(store)
    with pytest.raises(InputError, match=r"made from faces .*but the faces at hand is"):
        open_round("pool", "toy")


def test_a_pinned_root_that_moved_is_refused() -> None:
    path = layout.faces("pool").as_posix()
    with pytest.raises(InputError, match="made from root"):
        open_round("pool", "toy", roots={path: "0" * 64})


def test_a_round_without_its_manifest_opens_but_has_no_latents() -> None:
    layout.manifest("pool").unlink()
    files = open_round("pool", "toy")
    assert files.num_imported == 70  # nothing says that a generator made them
    with pytest.raises(InputError, match="sample the round first"):
        files.require_manifest()


def test_a_manifest_under_another_rounds_name_is_refused() -> None:
    make_round("probe", 70)
    layout.manifest("pool").replace(layout.manifest("probe"))
    with pytest.raises(InputError, match=r"probe\.parquet: the manifest of round pool"):
        open_round("probe", "toy")


def test_a_store_that_lost_a_shard_does_not_open() -> None:
    (layout.faces("pool") / "images/c/0/0/0/0").unlink()
    with pytest.raises(InputError, match=r"1 of its \d+ files are missing"):
        FaceStore.open(layout.faces("pool"))
