"""Every family trains from stores; a projection leads to the teacher's width."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.settings.objectives import Losses
from manifests.settings.params import Params, load_params
from manifests.settings.training import MinedRun, Run, Student
from pipeline.arrays.frames import DLIB112
from tests.conftest import ROOT
from tests.students import pictures, rewritten
from tests.toys import make_round
from train.checkpoint import FILE, LOG, load_student
from train.engine.supervised import open_plan
from train.engine.trainer import train_run

OUT = Path("runs/start")
POCKETNET = Student("pocketnet-s128", 64, 0.5, projected_from=128)


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    params = load_params(ROOT / "params.yaml")
    monkeypatch.chdir(tmp_path)
    make_round("pool", 60, seed=1)
    run = Run(faces_seen=8, rate_from=1.0, rate_to=0.1)
    train = replace(params.train, batch=4, pool_rows=64, leave_out=(), runs={"start": run})
    mined = {"mined-1": MinedRun("start", 8, 1.0, 0.1)}
    return replace(params, teacher="toy", train=train, mined=mined, report="mined-1")


def taught(params: Params, student: Student) -> Params:
    return replace(params, train=replace(params.train, student=student))


@pytest.mark.parametrize(
    "student",
    [
        Student("tinyfar-c", 64, 0.5),
        Student("edgeface-xxs", 80, 0.5),
        Student("iresnet-18", 64, 0.25),
        POCKETNET,
    ],
)
def test_a_run_of_every_family(params: Params, student: Student) -> None:
    plan = open_plan("start", ["pool"], None, taught(params, student))
    train_run(plan, OUT)
    trained = load_student(OUT)
    assert trained.card.name == student.name
    embeddings = trained.network(pictures(2, student.input_size))
    assert embeddings.shape == (2, plan.embedding_width)


def test_a_student_of_another_width_needs_a_projection(params: Params) -> None:
    wanted = taught(params, replace(POCKETNET, projected_from=None))
    with pytest.raises(InputError, match=r"pocketnet-s128: its embeddings have 128 numbers"):
        train_run(open_plan("start", ["pool"], None, wanted), OUT)
    assert not OUT.exists()


def test_continuing_with_another_projection_is_refused(params: Params) -> None:
    train_run(open_plan("start", ["pool"], None, taught(params, POCKETNET)), OUT)
    make_round("mined-1", 40, seed=9)
    same = open_plan("mined-1", ["mined-1"], "start", taught(params, POCKETNET))
    train_run(same, Path("runs/mined-1"))
    assert load_student(Path("runs/mined-1")).card.projected_from == 128
    other = taught(params, replace(POCKETNET, projected_from=None))
    with pytest.raises(InputError, match=r"runs/start: projected from 128, .* None; say the"):
        open_plan("mined-1", ["mined-1"], "start", other)


def with_own(params: Params, run: str, own: dict[str, Any]) -> Params:
    runs = {**params.train.runs, run: replace(params.train.runs["start"], own=own)}
    return replace(params, train=replace(params.train, runs=runs))


def test_a_run_of_its_own_student_and_loss_says_so(params: Params) -> None:
    own = {
        "student": {"name": "tinyfar-c", "width": 0.25},
        "loss": Losses.parsed("cosine", "loss"),
    }
    shared = open_plan("start", ["pool"], None, params).digest
    both = with_own(params, "arc", own)
    train_run(open_plan("arc", ["pool"], None, both), Path("runs/arc"))
    card, log = load_student(Path("runs/arc")).card, read_json(Path("runs/arc") / LOG)
    assert (card.name, card.width) == ("tinyfar-c", 0.25)
    assert log["params"]["loss"]["terms"][0]["name"] == "cosine"
    assert log["params"]["student"]["name"] == "tinyfar-c"
    assert "own" not in log["params"]["runs"]["arc"]
    assert open_plan("start", ["pool"], None, both).digest == shared


def test_what_a_run_has_of_its_own_is_what_all_have_said_once_more(params: Params) -> None:
    """So that a run which was trained before is not trained again."""
    said = with_own(params, "start", {"student": {"width": params.train.student.width}})
    one, other = (open_plan("start", ["pool"], None, each) for each in (params, said))
    assert one.digest == other.digest


def test_a_run_does_not_continue_another_student(params: Params) -> None:
    train_run(open_plan("start", ["pool"], None, params), OUT)
    make_round("mined-1", 40, seed=9)
    own = with_own(params, "arc", {"student": {"name": "tinyfar-c"}})
    with pytest.raises(InputError, match=r"runs/start: a stillnet-m .* asks for tinyfar-c.*same"):
        open_plan("arc", ["mined-1"], "start", own)


@pytest.mark.parametrize(
    ("pool", "mined", "named"),
    [
        (None, None, ["", ""]),
        ({"detector": "dlib frontal HOG"}, None, ["dlib", "dlib"]),
        ({"aligner": "yunet-onet"}, {"aligner": "yunet-onet"}, ["yunet-onet", "yunet-onet"]),
        ({"aligner": "yunet-onet"}, {"detector": "of before"}, ["yunet-onet", "dlib, yunet-onet"]),
    ],
)
def test_a_student_names_who_found_the_faces(
    params: Params, pool: dict[str, str] | None, mined: dict[str, str] | None, named: list[str]
) -> None:
    make_round("pool", 150, seed=1, alignment=pool)
    make_round("mined-1", 60, seed=2, alignment=mined)
    train_run(open_plan("start", ["pool"], None, params), OUT)
    train_run(open_plan("mined-1", ["mined-1"], "start", params), Path("runs/mined-1"))
    found = [load_student(Path("runs") / name).card for name in ("start", "mined-1")]
    assert [card.aligner for card in found] == named
    assert {card.frame for card in found} == {"arcface112"}


def test_a_student_of_before_keeps_its_crop(params: Params) -> None:
    """A run that goes on with it trains on what it knows."""
    make_round("mined-1", 60, seed=2)
    train_run(open_plan("start", ["pool"], None, params), OUT)
    rewritten(OUT / FILE, aligner=None)
    plan = open_plan("mined-1", ["mined-1"], "start", params)
    assert plan.frame == DLIB112.at(64)
    train_run(plan, Path("runs/mined-1"))
    card = load_student(Path("runs/mined-1")).card
    assert (card.frame, card.aligner) == ("dlib112", "dlib")
