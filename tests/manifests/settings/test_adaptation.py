"""How a block is taught, and the double switch before photographs of people."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifests.core.errors import InputError
from manifests.settings.adaptation import Adaptation, Origin, load_adaptation, origin_of
from manifests.settings.real_faces import RealFaces

WHOSE = "our own faces, all of us agreed"


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "adapt.yaml"
    path.write_text("epochs: 5\nmargin: 1.5\n")
    assert load_adaptation(path) == Adaptation(epochs=5, margin=1.5)
    assert load_adaptation(None) == Adaptation()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 5", "unknown key 'epoch'"),
        ("margin: 2.5", "margin: 2.5, expected more than 0 and at most 2"),
        ("people: 1", "people: 1, expected"),
        ("epochs: 3\nwarmup_epochs: 3", "warmup_epochs 3, expected less than epochs 3"),
    ],
)
def test_what_no_run_can_have_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "adapt.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_adaptation(path)


PEOPLE = RealFaces("own", True, WHOSE, "ours")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own" / "thermal-pairs").mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path / "own")
    return Path("own")


def test_pictures_are_stated_to_be_synthetic(own: Path) -> None:
    for real in (RealFaces(), PEOPLE):
        assert origin_of(Path("made"), "DCGAN", "CC0", real) == Origin("DCGAN", "CC0")


@pytest.mark.parametrize("pairs", ["own", "own/thermal-pairs", "linked", "own/../own"])
def test_photographs_are_those_of_the_switchs_folder(own: Path, pairs: str) -> None:
    found = origin_of(Path(pairs), None, None, PEOPLE)
    assert found == Origin(WHOSE, "ours", of_people=True)
    with pytest.raises(InputError, match="leave --synthetic-source out"):
        origin_of(Path(pairs), "DCGAN", "CC0", PEOPLE)


def test_what_holds_the_switchs_folder_is_not_synthetic(own: Path) -> None:
    """Above it, or with a link to it in the place of a modality."""
    Path("pairs").mkdir()
    Path("pairs/visible").symlink_to(Path("own").resolve())
    for pairs in ("own/..", "pairs"):
        with pytest.raises(InputError, match=r"photographs of people by params.yaml: real_faces"):
            origin_of(Path(pairs), "DCGAN", "CC0", PEOPLE)


@pytest.mark.parametrize(
    ("pairs", "real"),
    [
        ("own", RealFaces()),  # nothing is said
        ("elsewhere", PEOPLE),  # of another folder
        ("own/..", PEOPLE),
        ("own", RealFaces("own", False, WHOSE, "ours")),  # without the switch
        ("own", RealFaces("own", True, None, "ours")),  # nobody knows whose
    ],
)
def test_nothing_trains_on_pictures_of_which_nothing_is_said(
    own: Path, pairs: str, real: RealFaces
) -> None:
    with pytest.raises(InputError):
        origin_of(Path(pairs), None, "CC0", real)


@pytest.mark.parametrize("licence", ["", "two\nlines", "two\u2028lines", "\udcff", "x" * 201])
def test_a_licence_is_one_line(licence: str) -> None:
    with pytest.raises(InputError, match=r"licence .* expected one line"):
        Origin("DCGAN", licence)
