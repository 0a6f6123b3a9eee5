"""What leaves in a take-away comes back as it was: a round to the byte, rows of it to the bit."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.check import find_faults
from manifests.core import layout
from manifests.core.digests import folder_hashes
from manifests.core.errors import InputError
from manifests.stores.latents import LatentManifest
from manifests.stores.metadata import array_names
from manifests.stores.passport import Passport
from manifests.stores.reading import FaceStore, read_rows
from manifests.stores.rounds import embedded_by, open_round
from manifests.takeaway.packing import export_round
from manifests.takeaway.unpacking import import_round
from tests.packed import FEW, ROUND, TASK_ROWS, TEACHERS, checkout, make_round

COUNT = 3 * TASK_ROWS + 8
OUT = Path("out.h5")


@pytest.fixture(scope="module")
def source() -> Iterator[None]:
    """A checkout with round `pool`, for tests that leave it as it is."""
    with checkout():
        make_round(COUNT)
        yield


@pytest.fixture
def fresh(source: None) -> Iterator[None]:
    """The same one, from which round `few/pool` goes afterwards."""
    yield
    forget(FEW)


def forget(name: str) -> None:
    layout.manifest(name).unlink(missing_ok=True)
    shutil.rmtree(layout.faces(name).parent, ignore_errors=True)


def stores_of(name: str) -> list[Path]:
    teachers, _ = embedded_by(name, FaceStore.open(layout.faces(name)))
    return [layout.faces(name), *(layout.teacher(name, teacher) for teacher in teachers)]


@settings(max_examples=8)
@given(
    st.sampled_from([0, 1, TASK_ROWS - 1, TASK_ROWS, TASK_ROWS + 1, COUNT]),
    st.integers(0, 9),
    st.sampled_from([2, 3]),
)
def test_a_whole_round_comes_back_to_the_byte(count: int, seed: int, version: int) -> None:
    with checkout():
        make_round(count, seed=seed, version=version)
        before = {root: folder_hashes(Path(root)) for root in ("data", "manifests")}
        export_round(ROUND, OUT)
        shutil.rmtree("data")
        shutil.rmtree("manifests")
        assert import_round(OUT, ROUND).num_rows == count
        assert {root: folder_hashes(Path(root)) for root in before} == before
        assert not list(layout.WORK.iterdir())


def test_a_whole_round_under_a_teams_name_is_the_same_round(fresh: None) -> None:
    export_round(ROUND, OUT)
    assert import_round(OUT, FEW).kept_roots
    for ours, theirs in zip(stores_of(ROUND), stores_of(FEW), strict=True):
        assert Passport.read(ours) == Passport.read(theirs)
    digests = {LatentManifest.read(layout.manifest(name)).digest for name in (ROUND, FEW)}
    assert len(digests) == 1


def check_selection(rows: np.ndarray) -> None:
    """Round `few/pool` has exactly these rows of `pool`, and is sound."""
    for teacher in TEACHERS:
        ours, theirs = open_round(ROUND, teacher), open_round(FEW, teacher)
        for mine, yours in ((ours.faces, theirs.faces), (ours.teacher, theirs.teacher)):
            assert array_names(mine.path) == array_names(yours.path)
            for name in array_names(mine.path):
                wanted = read_rows(mine.path, mine.group, name)[rows]
                found = read_rows(yours.path, yours.group, name)
                assert wanted.dtype == found.dtype
                assert wanted.tobytes() == found.tobytes()
            assert dict(mine.group.attrs) == dict(yours.group.attrs)
        assert theirs.faces.task_rows == TASK_ROWS
    table = ours.require_manifest().table.take(pa.array(rows))
    chosen = LatentManifest(ours.require_manifest().recipe, table)
    assert theirs.require_manifest().digest == chosen.digest  # over values and nulls
    for store in stores_of(FEW):
        assert not find_faults(store)


@settings(max_examples=12)
@given(chosen=st.sets(st.integers(0, COUNT - 1), max_size=COUNT - 1))
def test_any_faces_come_back_to_the_bit(source: None, chosen: set[int]) -> None:
    ids = LatentManifest.read(layout.manifest(ROUND)).face_id
    Path("faces.txt").write_text("\ufeff" + "".join(f"{ids[row]}\r\n" for row in chosen))  # Windows
    export_round(ROUND, OUT, selection="faces.txt")
    try:
        assert import_round(OUT, FEW).num_rows == len(chosen)
        check_selection(np.array(sorted(chosen), int))
    finally:
        forget(FEW)


def usable() -> np.ndarray:
    return np.flatnonzero(open_round(ROUND, "toy").faces.ok())


@pytest.mark.parametrize("selection", ["0:100", "::10", "-5:", "150:20", "60:70:3", "ok"])
def test_slices_and_usable_rows(fresh: None, selection: str) -> None:
    bounds = [int(part) if part else None for part in selection.split(":") if ":" in selection]
    rows = np.arange(COUNT)[slice(*bounds)] if bounds else usable()
    found = export_round(ROUND, OUT, selection=selection)
    assert (found.num_rows, found.num_source_rows) == (len(rows), COUNT)
    assert found.num_ok == len(np.intersect1d(rows, usable()))
    import_round(OUT, FEW)
    check_selection(rows)


def test_a_selection_says_of_what_it_is_one(fresh: None) -> None:
    export_round(ROUND, OUT, selection="::2")
    import_round(OUT, FEW)
    for ours, theirs in zip(stores_of(ROUND), stores_of(FEW), strict=True):
        source, found = Passport.read(ours), Passport.read(theirs)
        assert found.lineage["selection_of"] == source.merkle_root
        assert len(found.lineage["rows"]) == 64
        assert (found.fingerprint, found.licences) == (source.fingerprint, source.licences)
        assert (found.round, found.num_rows) == (ROUND, COUNT // 2)
    assert found.faces_root == Passport.read(layout.faces(FEW)).merkle_root


def test_a_selection_of_all_faces_of_a_selection_is_that_selection(fresh: None) -> None:
    export_round(ROUND, OUT, selection="::2")
    import_round(OUT, FEW)
    export_round(FEW, Path("again.h5"))
    assert Path("again.h5").read_bytes() != OUT.read_bytes()  # it has its ledger and passport
    before = folder_hashes(layout.faces(FEW))
    forget(FEW)
    import_round(Path("again.h5"), FEW)
    assert folder_hashes(layout.faces(FEW)) == before


def test_a_list_of_faces_may_be_a_table(fresh: None) -> None:
    ids = LatentManifest.read(layout.manifest(ROUND)).face_id
    faces = pa.array([ids[7], ids[3], ids[7]])
    pq.write_table(pa.table({"gap": [0.1, 0.2, 0.3], "face_id": faces}), "faces.parquet")
    export_round(ROUND, OUT, selection="faces.parquet")
    import_round(OUT, FEW)
    check_selection(np.array([3, 7]))


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("::0", "its step is 0"),
        ("::-1", "no such file, and not all, ok or a slice"),
        ("-:5", "no such file, and not all, ok or a slice"),
        (f"0:{'9' * 5000}", "no such file, and not all, ok or a slice"),
        ("holes.parquet", "no list of faces .2 empty cells"),
        ("nowhere.txt", "no such file"),
        ("words.txt", "no list of faces"),
        ("empty.parquet", "no list of faces"),
        ("strangers.txt", "1 of its 2 faces are not in this round, the first is 5"),
    ],
)
def test_a_selection_that_is_none(source: None, selection: str, message: str) -> None:
    ids = LatentManifest.read(layout.manifest(ROUND)).face_id
    Path("words.txt").write_text("one two")
    Path("empty.parquet").write_bytes(b"")
    holes = pa.array([None, int(ids[0]), None], pa.int64())
    pq.write_table(pa.table({"face_id": holes}), "holes.parquet")
    Path("strangers.txt").write_text(f"5\n{ids[0]}\n")
    with pytest.raises(InputError, match=message):
        export_round(ROUND, Path("none.h5"), selection=selection)
    assert not Path("none.h5").exists()


def test_the_same_rows_make_the_same_bytes(source: None) -> None:
    export_round(ROUND, OUT, selection="all")
    time.sleep(1.1)  # HDF5 would note the second
    export_round(ROUND, Path("again.h5"), selection=f"0:{COUNT}")
    assert Path("again.h5").read_bytes() == OUT.read_bytes()


def test_others_can_read_the_file(source: None) -> None:
    export_round(ROUND, OUT, selection="10:20")
    files = open_round(ROUND, "toy")
    laws = files.require_manifest().table["law"].slice(10, 10)
    with h5py.File(OUT) as file:
        assert np.array_equal(file["faces/images"][:], files.faces.images(10, 20))
        assert list(file["manifest/law"].asstr()[:]) == laws.fill_null("").to_pylist()
        assert json.loads(file["papers/faces/passport"][0])["merkle_root"] == files.faces.root
        assert "papers/faces/ledger" not in file


@pytest.mark.parametrize("teachers", [[], ["toy"]])
def test_teachers_can_be_chosen(fresh: None, teachers: list[str]) -> None:
    export_round(ROUND, OUT, teachers=teachers)
    assert import_round(OUT, FEW).teachers == teachers
    assert embedded_by(FEW, FaceStore.open(layout.faces(FEW)))[0] == teachers


@pytest.mark.parametrize("teacher", ["absent", "../toy", ""])
def test_a_teacher_that_is_none(source: None, teacher: str) -> None:
    with pytest.raises(InputError, match=r"does not exist|a name has"):
        export_round(ROUND, OUT, teachers=[teacher])


def test_embeddings_of_other_faces_stay_unless_they_are_asked_for(fresh: None) -> None:
    other = layout.teacher(ROUND, "other")
    shutil.copytree(layout.teacher(ROUND, TEACHERS[0]), other)
    replace(Passport.read(other), faces_root="ab" * 32).write(other)
    try:
        found = export_round(ROUND, OUT)
        with pytest.raises(InputError, match=r"other\.zarr: made from faces abab"):
            export_round(ROUND, OUT, teachers=["other"])
    finally:
        shutil.rmtree(other)
    assert (list(found.teachers), found.left_out) == (sorted(TEACHERS), [other])


def test_a_store_of_version_1_becomes_one_of_today(fresh: None) -> None:
    path = layout.faces(ROUND) / "passport.json"
    today = path.read_text()
    values = json.loads(today)
    del values["digest"], values["metadata"]
    path.write_text(json.dumps({**values, "schema_version": 1, "merkle_root": "ab" * 32}))
    try:
        export_round(ROUND, OUT, teachers=[])
    finally:
        path.write_text(today)
    import_round(OUT, FEW)
    assert Passport.read(layout.faces(FEW)).lineage["selection_of"] == "ab" * 32
    assert not find_faults(layout.faces(FEW))


def test_a_round_without_its_manifest_stays(source: None) -> None:
    manifest = layout.manifest(ROUND).rename("kept")
    try:
        with pytest.raises(InputError, match=r"pool\.parquet: no such file; bring it"):
            export_round(ROUND, OUT)
    finally:
        manifest.rename(layout.manifest(ROUND))


def command(monkeypatch: pytest.MonkeyPatch, name: str, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", [name, *words])
    monkeypatch.delitem(sys.modules, name, raising=False)  # of another test
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(name, run_name="__main__")
    return int(str(ended.value.code))


def test_the_commands(
    fresh: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--rows", "0:70", "--teacher", "toy", "--out", str(OUT), "--force"]
    assert command(monkeypatch, "manifests.pack", ROUND, *words) == 0
    assert f"out.h5: 70 of {COUNT} rows" in capsys.readouterr().out
    assert command(monkeypatch, "manifests.unpack", str(OUT), FEW) == 0
    said = capsys.readouterr().out
    assert f"{layout.faces(FEW)}: 70 of {COUNT} rows" in said and "roots of their own" in said
    assert command(monkeypatch, "manifests.unpack", str(OUT), FEW) == 2
    assert "round few/pool is there already" in capsys.readouterr().err
