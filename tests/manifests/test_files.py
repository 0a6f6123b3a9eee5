from __future__ import annotations

from pathlib import Path

import pytest

from manifests.errors import InputError
from manifests.files import deliver, forget_others, read_json, replacing, write_json


def test_a_finished_block_replaces_the_file(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    with replacing(target) as scratch:
        scratch.write_text("whole")
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("before", [None, "old"])
def test_nothing_is_half_written_when_the_block_raises(tmp_path: Path, before: str | None) -> None:
    target = tmp_path / "a.txt"
    if before:
        target.write_text(before)
    with pytest.raises(RuntimeError), replacing(target) as scratch:
        scratch.write_text("half")
        raise RuntimeError
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == (
        {"a.txt": before} if before else {}
    )


def test_json_comes_back_as_it_was(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None], "a": {"deep": "ü"}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value


def test_json_without_a_number_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"gap": 0.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"gap": float("nan")})
    assert read_json(path) == {"gap": 0.5}


@pytest.mark.parametrize("text", [None, "{", "\x00"])
def test_unreadable_json_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "a.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=r"a\.json"):
        read_json(path)


def test_a_delivered_folder_takes_the_place_of_the_former_one(tmp_path: Path) -> None:
    for name in ("hash/store", "out/faces"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / name.rpartition("/")[2]).write_text(name)
    deliver(tmp_path / "hash/store", tmp_path / "out/faces")
    files = [
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")
    ]
    assert sorted(files) == ["faces", "faces/store"]


def test_delivering_costs_no_second_copy(tmp_path: Path) -> None:
    (tmp_path / "hash").mkdir()
    (tmp_path / "hash/a").write_text("a")
    deliver(tmp_path / "hash", tmp_path / "out")
    assert (tmp_path / "out/a").samefile(tmp_path / "hash/a")


def test_forgetting_spares_the_build_at_hand(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name / "store").mkdir(parents=True)
    forget_others(tmp_path / "new")
    assert list(tmp_path.iterdir()) == [tmp_path / "new"]
