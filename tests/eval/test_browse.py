"""The command: whose faces it shows where, and what it leaves alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from eval.browse import main
from manifests.core.digests import folder_hashes
from manifests.core.errors import InputError
from tests.toys import make_round


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["browse", *arguments, "--teacher", "toy"])
    main()


def test_a_page_is_the_same_bytes_every_time_and_says_how_it_opens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_round("pool", 40)
    run(monkeypatch, "pool")
    out = Path("reports/browse/pool")
    assert f"next: open it in a browser: {(out / 'index.html').resolve().as_uri()}" in (
        capsys.readouterr().out
    )
    first = folder_hashes(out)
    run(monkeypatch, "pool")
    assert folder_hashes(out) == first
    assert str(Path.cwd()) not in (out / "index.html").read_text() + (out / "data.js").read_text()


def test_photographs_of_people_are_written_only_where_the_user_says_and_named(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    make_round("real", 12, origin="imported", real_faces="<b>volunteers</b>")
    with pytest.raises(InputError, match=r"photographs of real people: .*name a folder with --out"):
        run(monkeypatch, "real")
    assert not (folder / "reports").exists()
    run(monkeypatch, "real", "--out", "here")
    page = Path("here/index.html").read_text()
    assert "These are photographs of real people: &lt;b&gt;volunteers" in page
    assert "no photograph is shown" not in page and not list(Path(".work").rglob("*.webp"))


def test_imported_faces_are_taken_for_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    make_round("theirs", 12, origin="imported")
    with pytest.raises(InputError, match="may be photographs of real people"):
        run(monkeypatch, "theirs")


def test_a_folder_of_other_things_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    make_round("pool", 12)
    Path("mine").mkdir()
    Path("mine/data.js").write_text("const OTHER = 1;")
    with pytest.raises(InputError, match="is there already"):
        run(monkeypatch, "pool", "--out", "mine")
    assert [path.name for path in Path("mine").iterdir()] == ["data.js"]


def test_sheets_of_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    make_round("pool", 12)
    Path("mine/sheets").mkdir(parents=True)
    for name in ("holiday.webp", "large-9.webp"):
        (Path("mine/sheets") / name).write_text("a picture")
    run(monkeypatch, "pool", "--out", "mine", "--force")
    names = {path.name for path in Path("mine/sheets").iterdir()}
    assert names == {"holiday.webp", "small-0.webp", "large-0.webp"}


def test_more_faces_than_a_page_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    make_round("pool", 12, failed=0)
    monkeypatch.setattr("eval.browse.MOST", 5)
    with pytest.raises(InputError, match=r"12 faces, a page holds 5; take some by --rows ::3"):
        run(monkeypatch, "pool")
    run(monkeypatch, "pool", "--rows", "::3")


def test_rows_are_chosen_as_pack_chooses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    make_round("pool", 12, failed=0)
    with pytest.raises(InputError, match="its step is 0"):
        run(monkeypatch, "pool", "--rows", "::0")
    with pytest.raises(InputError, match="no such file, and not all, ok or a slice"):
        run(monkeypatch, "pool", "--rows", "a:b")
    run(monkeypatch, "pool", "--rows", "5:-1")
    run(monkeypatch, "pool", "--rows", "ok")
