"""Names that look alike and are not the same, and those that are the same and do not look so."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest

from manifests.core.errors import InputError
from manifests.photographs.images import ImageFolder
from manifests.photographs.names import Spellings
from tests.protocols import CYAN, RED, opened, save, write_rows

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Renée") for form in ("NFC", "NFD"))
HEADER = ("fold", "left", "right", "same")


def pairs_of(root: Path, person: str, *more: str) -> Path:
    """A list that calls a person so; the files of Renée are in decomposed letters."""
    for name, colour in ((DECOMPOSED, RED), ("Bob", CYAN)):
        for number in (0, 1):
            save(root / f"images/{name}/{number}.png", colour)
    rows = [(fold, f"{person}/0.png", f"{other}/1.png", same) for fold in (0, 1)
            for other, same in ((person, 1), ("Bob", 0))]  # fmt: skip
    write_rows(root / "pairs.csv", HEADER, [*rows, *((0, name, "Bob/0.png", 0) for name in more)])
    return root


def test_a_list_in_composed_letters_finds_the_files_of_a_mac(tmp_path: Path) -> None:
    assert COMPOSED != DECOMPOSED
    found = opened(f"pairs:{pairs_of(tmp_path / 'a', COMPOSED)}")
    assert found.benchmark.left[0] == f"{COMPOSED}/0.png"  # the list's own names are digested
    data = found.images.read(f"{COMPOSED}/0.png")
    assert data == (tmp_path / "a/images" / DECOMPOSED / "0.png").read_bytes()
    own = opened(f"pairs:{pairs_of(tmp_path / 'b', DECOMPOSED)}")
    assert own.benchmark.left[0] == f"{DECOMPOSED}/0.png"


def test_a_list_from_windows_finds_its_files_and_people(tmp_path: Path) -> None:
    table = pairs_of(tmp_path, COMPOSED) / "pairs.csv"
    plain = opened(f"pairs:{tmp_path}")
    table.write_text(table.read_text().replace("/", "\\"))
    found = opened(f"pairs:{tmp_path}")
    assert found.subject_rule == plain.subject_rule == "folder"
    assert found.benchmark.protocol_sha256 == plain.benchmark.protocol_sha256


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bob/1.png", r"written 'bob/1\.png', there is 'Bob/1\.png', which differs in capitals"),
        ("Bob/1.PNG", r"there is 'Bob/1\.png', which differs in capitals"),
        ("Bob/1.png ", r"written 'Bob/1\.png ', there is .* differs in blanks"),
        ("\ufeffBob/1.png", r"written '\\ufeffBob/1\.png', there is .* differs in blanks, marks"),
        ("Bob/1.png\r", r"written 'Bob/1\.png\\r', there is .* differs in blanks"),
        ("Bo\u200bb/1.png", r"written 'Bo\\u200bb/1\.png', there is .* marks that are not seen"),
        ("/Bob/1.png", "lies outside"),
        ("..\\pairs.csv", "missing image"),
        ("Bob/../../pairs.csv", "lies outside"),
        ("C:\\photos\\Bob\\1.png", "missing image"),
        ("x" * 300 + ".png", r"image 'x{60}'… \(304 characters\): File name too long"),
        ("Bob/1\0.png", r"image 'Bob/1\\x00\.png': embedded null byte"),
        ("Bob", "missing image$"),
        ("Bob/2.png", "missing image$"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_what_a_name_lacks_is_said(tmp_path: Path, name: str, message: str) -> None:
    folder = pairs_of(tmp_path, COMPOSED, name)
    with pytest.raises(InputError, match=message) as caught:
        opened(f"pairs:{folder}")
    assert re.search("line [67]: ", str(caught.value)) and "\n" not in str(caught.value)


def test_of_two_files_that_differ_in_accents_none_is_guessed(tmp_path: Path) -> None:
    mixed = f"{COMPOSED}-{DECOMPOSED}.png"
    for name in (f"{COMPOSED}-{COMPOSED}.png", f"{DECOMPOSED}-{DECOMPOSED}.png"):
        save(tmp_path / name, RED)
    source = ImageFolder(tmp_path)
    assert source.find(f"{COMPOSED}-{COMPOSED}.png").name == f"{COMPOSED}-{COMPOSED}.png"
    with pytest.raises(
        InputError, match=r"'Rene\\u0301e-.*' and 'Ren\\xe9e-Ren\\xe9e\.png'.* accents"
    ):
        source.find(mixed)


def test_a_name_that_is_there_is_itself() -> None:
    names = Spellings(["a\\b", "a/b", COMPOSED, DECOMPOSED])
    assert [names.find(name) for name in names.names] == list(names.names)
    assert names.find("A/b") is None and "capitals" in names.hint("A/b")
    assert names.hint("c") == ""
