"""Pictures of two modalities: a folder a person in each, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from manifests.core.errors import InputError, SeveralFaults
from pipeline.arrays.frames import ARCFACE112, DLIB150
from train.adapting.pictures import Pairs, read_pairs

SEEN = ARCFACE112.at(24)


def save(path: Path, colour: int, size: tuple[int, int] = (24, 24)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (colour, 0, 255 - colour)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, person in enumerate(("ann", "bob", "eve")):
        save(tmp_path / f"visible/{person}/a.png", 10 * number)
        save(tmp_path / f"visible/{person}/b.png", 10 * number + 1)
        save(tmp_path / f"thermal/{person}/a.png", 100 + 10 * number, (48, 48))
    return tmp_path


def read(folder: Path, modality: str = "thermal") -> Pairs:
    return read_pairs(folder, modality, ARCFACE112, SEEN)


def test_people_have_one_number_in_both_and_pictures_the_network_s_frame(folder: Path) -> None:
    found = read(folder)
    assert found.people == ("ann", "bob", "eve")
    assert found.source.person.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.target.person.tolist() == [0, 1, 2]
    assert found.source.pictures.shape == (6, 3, 24, 24)  # the very pixels
    assert found.source.pictures[3, :, 0, 0].tolist() == [11, 0, 244]
    assert found.target.pictures[2, :, 5, 5].tolist() == [120, 0, 135]  # of 48 pixels
    other = read_pairs(folder, "thermal", ARCFACE112, DLIB150.at(32))
    assert other.source.pictures.shape == (6, 3, 32, 32)


def test_the_digest_covers_names_bytes_and_modality(folder: Path) -> None:
    before = read(folder).sha256
    assert read(folder).sha256 == before
    (folder / "thermal").rename(folder / "sketch")
    assert read(folder, "sketch").sha256 != before
    (folder / "sketch").rename(folder / "thermal")
    save(folder / "thermal/eve/a.png", 121)
    assert read(folder).sha256 != before


def test_who_is_in_one_modality_alone_is_left_out_and_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(folder / "visible/zoe/a.png", 0)
    save(folder / "thermal/bob/b.png", 0)
    (folder / "thermal/ann/a.png").unlink()
    found = read(folder)
    assert found.people == ("bob", "eve") and found.target.person.tolist() == [0, 0, 1]
    told = capsys.readouterr().err
    assert "3 of 7 files left out, their people are in one modality alone" in told


def test_faults_are_told_together(folder: Path) -> None:
    save(folder / "thermal/ann/wide.png", 0, (30, 24))
    (folder / "thermal/bob/a.png").write_bytes(b"no picture")
    with pytest.raises(SeveralFaults, match="2 faults") as caught:
        read(folder)
    assert "wide.png: 30x24 pixels; an aligned crop is square" in str(caught.value)


@pytest.mark.parametrize(
    ("modality", "message"),
    [
        ("visible", "name the folder in .* beside visible"),
        ("../thermal", "name the folder"),
        ("..", "name the folder"),
        ("sketch", "no such folder"),
    ],
)
def test_a_modality_is_a_folder_beside_visible(folder: Path, modality: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(folder, modality)


def test_a_picture_belongs_to_a_person(folder: Path) -> None:
    save(folder / "thermal/stray.png", 0)
    with pytest.raises(InputError, match=r"stray\.png: lies in no folder of a person"):
        read(folder)


def test_one_person_teaches_no_difference(folder: Path) -> None:
    for person in ("bob", "eve"):
        (folder / f"thermal/{person}/a.png").unlink()
    with pytest.raises(InputError, match="1 people are in visible and in thermal"):
        read(folder)
