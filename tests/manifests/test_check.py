"""The integrity check finds every kind of damage, also in a store copied elsewhere."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from manifests.check import describe, find_faults, main
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.stores.passport import Passport
from tests.toys import make_round


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_round("pool", 70)
    return layout.faces("pool")


def test_a_sound_round_has_no_faults(faces: Path) -> None:
    for store in (faces, layout.teacher("pool", "toy")):
        assert not list(find_faults(store))


@pytest.mark.parametrize("name", ["images/c/0/0/0/0", "ok/c/0", "zarr.json", "ledger.jsonl"])
def test_a_changed_byte_is_found(faces: Path, name: str) -> None:
    path = faces / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()  # it may be a hard link
    path.write_bytes(data)
    assert [fault.file for fault in find_faults(faces)] == [name]


def test_a_missing_shard_and_a_stray_file_are_found(faces: Path) -> None:
    (faces / "stray").write_text("x")
    (faces / "quality/c/0").unlink()
    assert {fault.file for fault in find_faults(faces)} == {"stray", "quality/c/0"}


def test_embeddings_beside_other_faces_are_found(
    faces: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = layout.teacher("pool", "toy")
    shutil.move(teacher, "kept.zarr")
    make_round("pool", 70, seed=1)
    shutil.rmtree(teacher)
    shutil.move("kept.zarr", teacher)
    assert ["made from" in fault.text for fault in find_faults(teacher)] == [True, True]
    monkeypatch.setattr(sys, "argv", ["check", str(faces), str(teacher)])
    assert main() == 1
    said = capsys.readouterr().err
    assert "no byte is damaged" in said and "repair" not in said
    assert said.endswith("next: facestill embed pool --teacher toy\n")


def test_a_round_is_no_broken_store(faces: Path) -> None:
    with pytest.raises(InputError, match=r"name data/pool/faces.zarr, data/pool/teachers/toy.zarr"):
        find_faults(faces.parent)
    with pytest.raises(InputError, match=r"a folder of stores.* name data/pool/teachers/toy.zarr"):
        find_faults(faces.parent / "teachers")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("round.h5", r"round\.h5: a file, .*`facestill unpack round\.h5 TEAM/ROUND`"),
        ("packed/SHA256SUMS", r"packed: no store, but what .*`sha256sum -c SHA256SUMS`"),
        ("stick/round.h5", r"stick: no store; name a round that is here"),
    ],
)
def test_what_is_no_store_is_not_called_damaged(faces: Path, made: str, said: str) -> None:
    Path(made).parent.mkdir(exist_ok=True)
    Path(made).touch()
    with pytest.raises(InputError, match=said):
        find_faults(Path(made.split("/")[0]))


def test_a_store_with_sums_in_it_is_looked_at(faces: Path) -> None:
    (faces / layout.SUMS).touch()
    assert [fault.file for fault in find_faults(faces)] == [layout.SUMS]


def test_a_mistyped_round_is_answered_with_those_that_are_here(faces: Path) -> None:
    make_round("team/probe", 70)
    with pytest.raises(InputError, match=r"pol: no such store; .* that is here: pool, team/probe$"):
        find_faults(Path("pol"))


def test_a_packed_file_is_no_name_of_a_round(faces: Path) -> None:
    Path("pool.h5").touch()
    with pytest.raises(InputError, match=r"`facestill unpack pool\.h5 TEAM/ROUND`"):
        layout.faces("pool.h5")


def test_a_store_that_lost_its_passport_is_named_once(faces: Path) -> None:
    (faces / "passport.json").unlink()
    first, *_ = find_faults(faces)
    assert first.file == "passport.json" and str(faces) not in first.text.partition("; run")[0]


def test_a_sound_store_says_its_root(faces: Path) -> None:
    assert f", root {Passport.read(faces).merkle_root}" in describe(faces)


def test_a_copy_elsewhere_says_what_is_absent(faces: Path) -> None:
    shutil.copytree(layout.teacher("pool", "toy"), "elsewhere.zarr")
    assert not list(find_faults(Path("elsewhere.zarr")))
    assert re.search(r"not here: its manifest .*, its faces", describe(Path("elsewhere.zarr")))


def test_the_command_exits_by_what_it_finds(
    faces: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["check", str(faces)])
    assert main() == 0
    assert capsys.readouterr().out.endswith("1 of 1 sound\n")
    (faces / "ok/c/0").unlink()
    assert main() == 1
    assert f"next: facestill repair {faces}" in capsys.readouterr().err


def test_what_comes_next_can_be_pasted(
    faces: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(faces, "a copy.zarr")
    Path(copy, "ok/c/0").unlink()
    monkeypatch.setattr(sys, "argv", ["check", copy])
    assert main() == 1
    assert "next: facestill repair 'a copy.zarr' (" in capsys.readouterr().err


def test_a_stray_file_moves_no_cursor(
    faces: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (faces / "\x1b[2Jx\n1 of 1 sound").touch()
    monkeypatch.setattr(sys, "argv", ["check", str(faces)])
    assert main() == 1
    assert capsys.readouterr().out == f"{faces}: [2Jx 1 of 1 sound is no part of the store\n"


def test_no_findings_take_the_place_of_a_folder(
    faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("empty").mkdir()
    monkeypatch.setattr(sys, "argv", ["check", str(faces), "--json", "empty"])
    with pytest.raises(InputError, match="empty: no file can be there"):
        main()


def test_a_round_is_all_of_its_stores(
    faces: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for given in ("pool", "data/pool", "manifests/rounds/pool.parquet"):
        monkeypatch.setattr(sys, "argv", ["check", given])
        assert main() == 0
        said = capsys.readouterr().out
        assert f"{faces}: sound" in said and f"{layout.teacher('pool', 'toy')}: sound" in said


def test_a_script_gets_every_fault(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (faces / "ok/c/0").unlink()
    monkeypatch.setattr(sys, "argv", ["check", str(faces), "--json", "found.json"])
    assert main() == 1
    (fault,) = json.loads(Path("found.json").read_text())[str(faces)]
    assert fault == {"file": "ok/c/0", "text": fault["text"], "remedy": ""}
    with pytest.raises(InputError, match=r"found\.json: is there already"):
        main()
