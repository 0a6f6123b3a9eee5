"""A user's own photographs as a round: only with the switch, said everywhere, and never another
set's. The folder is a stand-in: pictures of noise that are claimed to be people."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from manifests.card import main as card
from manifests.check import find_faults
from manifests.core import layout
from manifests.core.digests import folder_hashes
from manifests.core.errors import InputError
from manifests.settings.params import Params, read_yaml
from manifests.settings.presets import merged
from manifests.settings.real_faces import ROUND, RealFaces
from manifests.stores.rounds import open_round
from manifests.takeaway.delivering import pack_round
from pipeline import adopt_photographs as real_faces
from pipeline.adopt import adopt_round
from pipeline.adopt_photographs import make_round
from pipeline.adoption.image_sets import Wanted
from pipeline.building.workers import Workers
from tests.networks import write_network
from tests.pipeline.adoption.toys import ALIGNED, FOUND, PEOPLE, SET, adopted
from train.engine.supervised import open_plan

STATEMENT = "volunteers of the test suite, who agreed"
NAMED = RealFaces(str(SET), True, STATEMENT, "this test alone", "arcface112")
ABSENT = RealFaces(None, False, None, None, None)


@pytest.fixture
def params(params: Params, images: dict[str, np.ndarray]) -> Params:
    train = replace(params.train, leave_out=())
    network = f"onnx:{write_network(Path('toy.onnx'))}"
    return replace(params, teacher="toy", teachers={"toy": network}, train=train)


def test_every_paper_of_the_round_says_that_people_are_on_it(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = make_round(NAMED, params, Workers(1))
    assert said == f"143 usable photographs of real people: {STATEMENT}"
    files = open_round(ROUND, "toy")
    assert (files.real_faces, files.synthetic_source) == (STATEMENT, None)
    assert files.num_imported == 143 and files.manifest is not None
    assert len(set(files.manifest.table["identity_id"].to_pylist())) == PEOPLE
    assert files.faces.passport.licences == {STATEMENT: "this test alone"}
    assert files.teacher.passport.lineage["faces"]["real_faces"] == STATEMENT
    assert layout.marks(ROUND, "toy").exists()
    assert not find_faults(layout.faces(ROUND)) and not find_faults(layout.teacher(ROUND, "toy"))
    monkeypatch.setattr(sys, "argv", ["card", ROUND])
    card()
    text = "".join(path.read_text() for path in layout.card(ROUND).iterdir())
    assert f"they are photographs of real people: {STATEMENT}" in text
    assert "may be photographs" not in text


def test_ordinary_training_refuses_the_round(params: Params) -> None:
    make_round(NAMED, params, Workers(1))
    message = f"round real-faces: photographs of real people \\({STATEMENT}\\); nothing is trained"
    with pytest.raises(InputError, match=message):
        open_plan("start", [ROUND], None, params)


def test_the_same_photographs_are_no_synthetic_set(params: Params) -> None:
    """Whoever calls them synthetic is told where they lie as what they are."""
    make_round(NAMED, params, Workers(1))
    with pytest.raises(InputError, match="143 of its images are photographs of people in round r"):
        adopted(params)
    for path in sorted(SET.rglob("*.png"))[1:]:
        path.unlink()
    with pytest.raises(InputError, match="1 of its images are photographs of people"):
        adopted(params)


def test_the_folder_of_the_switch_is_no_synthetic_set(params: Params) -> None:
    """Also before it is adopted, and behind a link."""
    named = replace(params, real_faces=NAMED)
    Path("linked").mkdir()
    (Path("linked") / "set").symlink_to(SET.resolve())
    for place in (SET, SET / "0", Path(), Path("linked/set"), Path("linked")):
        with pytest.raises(InputError, match=r"photographs of people by params.yaml: real_faces"):
            adopt_round("digi", Wanted(place), ALIGNED, named, Workers(1))


def test_a_take_away_of_photographs_is_no_synthetic_set(params: Params) -> None:
    """Its pictures have other bytes than the photographs."""
    make_round(NAMED, params, Workers(1))
    pack_round(ROUND, Path("out"), "parquet")
    for place in (Path("out"), Path("out/data"), next(Path("out/data").iterdir())):
        with pytest.raises(InputError, match=f"take-away of photographs of people .{STATEMENT}"):
            adopt_round("digi", Wanted(place, "parquet"), FOUND, params, Workers(1))


def test_without_a_folder_there_is_a_round_without_faces(params: Params) -> None:
    assert make_round(ABSENT, params, Workers(1)) == "no faces; no folder is named"
    files = open_round(ROUND, "toy")
    assert len(files.faces) == 0 and files.manifest is not None and len(files.manifest) == 0
    before = folder_hashes(layout.faces(ROUND).parent)
    make_round(ABSENT, params, Workers(1))
    assert folder_hashes(layout.faces(ROUND).parent) == before


def test_a_folder_in_which_nobody_is_told_apart_is_refused(params: Params) -> None:
    for path in sorted(SET.rglob("*.png")):
        path.rename(SET / f"{path.parent.name}-{path.name}")
    with pytest.raises(InputError, match="folder digiface has no folder a person: nobody's phot"):
        make_round(NAMED, params, Workers(1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folder": "digiface"}, "folder digiface without allow: true"),
        ({"allow": True}, "allow: true without a folder"),
        ({"folder": "digiface", "allow": True}, "say in statement whose faces"),
        (
            {"folder": "nowhere", "allow": True, "statement": "us", "licence": "own"},
            "nowhere: no such folder",
        ),
        (
            {"folder": "digiface", "allow": True, "statement": "two\nlines", "licence": "own"},
            "--real-faces 'two.nlines': expected one line",
        ),
    ],
)
def test_bad_input_is_said_before_anything_is_made(
    params: Params,
    changes: dict[str, object],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = Path("params.yaml")
    path.write_text(yaml.safe_dump(merged(read_yaml(path), {"real_faces": changes})))
    monkeypatch.setattr(sys, "argv", ["real_faces"])
    with pytest.raises(InputError, match=message):
        real_faces.main()
    assert not layout.faces(ROUND).exists() and not layout.manifest(ROUND).exists()
