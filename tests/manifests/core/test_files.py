from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from manifests.core.digests import folder_hashes
from manifests.core.errors import InputError
from manifests.core.files import (
    deliver,
    forget_others,
    parse_json,
    read_json,
    replacing,
    require_file_place,
    require_new,
    require_writable,
    write_json,
)


def test_a_mark_that_an_editor_puts_before_json_is_passed_over(tmp_path: Path) -> None:
    marked = b'\xef\xbb\xbf{"a": 1}'
    (tmp_path / "a.json").write_bytes(marked)
    assert parse_json(marked) == read_json(tmp_path / "a.json") == {"a": 1}


def test_nothing_is_replaced_that_nobody_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "empty").mkdir()
    for name in ("file", "link", ""):
        with pytest.raises(InputError, match=r"is there already; name another .*--force"):
            require_new(tmp_path / name, force=False)
        require_new(tmp_path / name, force=True)
    for name in ("empty", "none", "none/none"):
        require_new(tmp_path / name, force=False)


def test_a_file_takes_the_place_of_a_file_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "pipe")  # as /dev/null is: neither a file nor a folder
    for name in ("file", "none", "none/none"):
        require_file_place(tmp_path / name)
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "file/none", Path()):
        with pytest.raises(InputError, match="no file can be there"):
            require_file_place(path)


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


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A finished folder `new` beside it is to take its place."""
    for name in ("new/images", "out/faces/images"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "0").write_text(name)
    return tmp_path / "out/faces"


def test_files_of_a_worker_that_is_still_at_it_are_not_delivered(output: Path) -> None:
    new = output.parent.parent / "new"
    (new / "images/.0.77-ab.tmp").write_text("half")
    deliver(new, output)
    assert folder_hashes(output).keys() == {"images/0"}
    assert list(output.parent.iterdir()) == [output]


def test_the_former_folder_is_there_until_the_new_one_is_whole(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("manifests.core.files.link_or_copy", full)
    with pytest.raises(OSError, match="No space left"):
        deliver(output.parent.parent / "new", output)
    assert (output / "images/0").read_text() == "out/faces/images"


def test_a_link_gives_way_without_what_it_leads_to(output: Path) -> None:
    elsewhere = output.rename(output.parent.parent / "elsewhere")
    output.symlink_to(elsewhere)
    deliver(output.parent.parent / "new", output)
    assert (output / "images/0").read_text() == "new/images"
    assert (elsewhere / "images/0").read_text() == "out/faces/images"
    assert list(output.parent.iterdir()) == [output]


@pytest.mark.parametrize("stray", ["new", "former", "1234"])  # earlier code named the process
def test_what_a_killed_delivery_left_goes_with_the_next(output: Path, stray: str) -> None:
    (output.parent / f".faces.{stray}.tmp/images").mkdir(parents=True)
    deliver(output.parent.parent / "new", output)
    assert list(output.parent.iterdir()) == [output]


def test_what_may_not_be_written_is_refused_before_the_work(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_writable(output.parent / "not/yet/there")
    for place in (output, output.parent):  # whatever the rights of who runs this
        monkeypatch.setattr(os, "access", lambda path, _, place=place: path != place)
        with pytest.raises(InputError, match=rf"{place.name}: may not be written"):
            require_writable(output)
        with pytest.raises(InputError, match="may not be written"):
            deliver(output.parent.parent / "new", output)
    assert (output / "images/0").read_text() == "out/faces/images"


def test_a_disk_without_room_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space left on device: '.*/a\.txt'"):
        with replacing(tmp_path / "a.txt"):
            raise OSError(errno.ENOSPC, "No space left on device")


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
