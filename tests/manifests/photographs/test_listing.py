"""Which files are images: what people, Macs and other systems put into a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from eval.photos.photo_sets import open_photographs
from manifests.core.errors import InputError
from manifests.photographs.images import ENDINGS, FORMATS
from manifests.photographs.listing import list_images
from pipeline.adoption.image_sets import Wanted, read_image_set
from tests.protocols import make_folder, opened

DEBRIS = (
    "._0.png", "ada/._0.png", "__MACOSX/._0.png", "__MACOSX/ada/._0.png", ".DS_Store",
    "ada/.DS_Store", ".hidden/0.png", "ada/@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg", "ada/Thumbs.db",
    "desktop.ini", "Icon\r", "$RECYCLE.BIN/0.png",
)  # fmt: skip


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder a person, as a Mac packs it and others unpack it."""
    root = make_folder(tmp_path / "album", {"ada": 2, "bob": 2, "cyd": 2, "dan": 2})
    for number, path in enumerate(sorted(root.glob("*/*.png"))):
        Image.new("RGB", (32, 32), (number, 99, 99)).save(path)  # no two are the same
    for name in DEBRIS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\0\5\x16\7")
    return root


def test_every_command_takes_the_same_photographs(
    album: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = tuple(f"{name}/{number}.png" for name in ("ada", "bob", "cyd", "dan") for number in
                     (0, 1))  # fmt: skip
    assert list_images(album) == expected
    assert open_photographs(f"folder:{album}").images == expected
    assert tuple(opened(f"folder:{album}").benchmark.images) == expected
    assert tuple(sorted(read_image_set(Wanted(album), aligned=True).names)) == expected
    assert capsys.readouterr().err == ""


def test_all_endings_of_the_formats_are_taken_in_capitals_or_not(tmp_path: Path) -> None:
    names = {f"a{ending}" for ending in ENDINGS} | {f"B{ending.upper()}" for ending in ENDINGS}
    for name in names:
        (tmp_path / name).touch()
    assert set(list_images(tmp_path)) == names
    Image.init()
    known = {end for end, kind in Image.registered_extensions().items() if kind in FORMATS}
    assert known - ENDINGS == {".pbm", ".pfm"}  # masks and depths


def test_what_is_left_out_is_counted_and_named(
    album: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.CR2", "ada/b.cr2", "ada/notes.txt", "README"):
        (album / name).touch()
    list_images(album)
    line = f"{album}: 4 of 12 files left out, their endings are no image's: 2 .cr2 ('a.CR2'), "
    assert capsys.readouterr().err.startswith(line)
    for kind in range(9):
        (album / f"x.{kind}").touch()
    list_images(album)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(", …") and line.count("('") == 6


def test_photographs_in_nobodys_folder_are_said(
    album: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (album / "ada/more").mkdir()
    for name in ("x.png", "ada/more/y.png"):
        Image.new("RGB", (32, 32)).save(album / name)
    assert len(opened(f"folder:{album}").benchmark.images) == 8
    assert (
        "2 of 10 files left out, they lie in no folder PERSON of it: 2 .png ('ada/more/y.png')"
        in (capsys.readouterr().err)
    )


def test_links_and_names_are_refused_all_at_once(album: Path) -> None:
    (album / "linked").symlink_to(album / "ada")
    (album / ".linked").symlink_to(album / "ada")
    for name in ("a\nb.png", "c\x85.png", b"caf\xe9.png".decode("utf-8", "surrogateescape")):
        (album / name).touch()
    with pytest.raises(InputError) as caught:
        list_images(album)
    first, *lines = str(caught.value).splitlines()
    assert first == f"{album}: 4 faults" and len(lines) == 4
    for part in ("linked: a link to a folder", r"rename 'a\nb.png'", r"rename 'c\x85.png'",
                 r"rename 'caf\udce9.png'"):  # fmt: skip
        assert part in str(caught.value)


def test_a_narrow_blank_of_macos_is_no_fault(tmp_path: Path) -> None:
    name = "Screenshot at 3.00.00\u202fPM.png"
    (tmp_path / name).touch()
    assert list_images(tmp_path) == (name,)
