"""Photographs of people in training: by the double switch alone, and then said everywhere.

They are stand-ins: rounds of noise whose passports claim that there are people on them.
"""

from __future__ import annotations

import ast
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import train.engine.trainer as stage
from eval.photos.models import load_model
from eval.suite import of_people
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.settings.objectives import Tuition
from manifests.settings.params import Params
from manifests.settings.real_faces import RealFaces
from manifests.settings.study import load_study
from manifests.studies.usynthface import Study
from manifests.takeaway.packing import export_round
from manifests.takeaway.unpacking import import_round
from pipeline.teachers import load_teacher
from tests.conftest import ROOT
from tests.networks import DECLARED, write_network
from tests.toys import make_round
from tests.train.toys import add_teacher, asked, interrupted, small_params, with_train
from train.checkpoint import DISTILLED, load_student
from train.engine.state import STATE
from train.engine.supervised import open_plan
from train.engine.trainer import train_run
from train.exporting.graph import declaration
from train.fuse import fuse
from train.losses.adaptors import load_adaptor
from train.studies.usynthface.train import open_contrastive

PEOPLE = "twelve volunteers, who agreed"
ALLOWED = RealFaces("photographs", True, PEOPLE, "own")
SAID = f"trained on real faces: {{}} photographs of {PEOPLE}"
REFUSED = rf"round people: photographs of real people \({PEOPLE}\); nothing is trained on such"


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """Rounds of a generator, with and without identities, and one of photographs."""
    monkeypatch.chdir(tmp_path)
    found = small_params()
    owners = np.arange(80) // 8
    make_round("identities", 80, seed=2, origin="boundary", identity_id=owners)
    make_round("people", 80, seed=3, origin="imported", real_faces=PEOPLE, identity_id=owners)
    for name in ("pool", "identities", "people"):
        add_teacher(name, "wide", 24)
    run = found.train.runs["start"]
    runs = dict.fromkeys(("start", "second"), replace(run, faces_seen=96))
    return with_train(found, runs=runs)


def allowed(params: Params, **changes: object) -> Params:
    return replace(params, real_faces=replace(ALLOWED, **changes))


def trained(params: Params, name: str, rounds: list[str], after: str | None = None) -> Path:
    train_run(open_plan(name, rounds, after, params), layout.run(name))
    return layout.run(name)


@pytest.mark.parametrize("rounds", [["people"], ["pool", "people"], ["people", "identities"]])
def test_without_the_switch_nothing_is_trained_on_them(params: Params, rounds: list[str]) -> None:
    with pytest.raises(InputError, match=REFUSED):
        open_plan("start", rounds, None, params)
    with pytest.raises(InputError, match=REFUSED):
        fuse("fused", ["toy", "wide"], rounds, params, Path("runs/fused"))
    assert not Path("runs/fused").exists()


def test_nor_without_a_teacher(params: Params) -> None:
    shutil.copytree(ROOT / "params", "params")
    study = replace(load_study("usynthface", Study), rounds=("people",))
    for arm in ("untrained", "augmentation", "identities"):
        with pytest.raises(InputError, match=REFUSED):
            open_contrastive(arm, params, study)


def test_both_sides_must_say_the_same(params: Params) -> None:
    with pytest.raises(InputError, match=f"people: photographs of {PEOPLE}; real_faces .* of us:"):
        open_plan("start", ["people"], None, allowed(params, statement="us"))
    assert open_plan("start", ["people"], None, allowed(params)).real_faces


def test_every_paper_of_the_student_says_so(params: Params) -> None:
    run = trained(allowed(params), "start", ["pool", "people"])
    student, log = load_student(run), read_json(run / "log.json")
    plan = open_plan("start", ["pool", "people"], None, allowed(params))
    count = len(plan.sources[1].usable)
    assert student.card.training == f"{DISTILLED}; {SAID.format(count)}"
    assert student.card.people == [PEOPLE]
    assert log["student"]["training"] == student.card.training
    assert log["student"]["real_faces"] == PEOPLE
    declared = declaration(student.card, name="student", licence="own")
    file = write_network(
        Path("file.onnx"), declared=DECLARED | {"real_faces": declared["real_faces"]}
    )
    assert load_teacher(f"onnx:{file}", Path()).identity()["real_faces"] == PEOPLE
    models = [load_model(text, Path()) for text in ("start", f"onnx:{file}")]
    assert [line.rpartition(": ")[2] for line in of_people(models)] == [f"{PEOPLE}."] * 2


def test_a_student_of_rendered_faces_says_nothing_of_people(params: Params) -> None:
    card = load_student(trained(allowed(params), "start", ["pool"])).card
    assert (card.training, card.people) == (DISTILLED, [])
    assert "real_faces" not in declaration(card, name="student", licence="own")


def test_a_run_goes_on_only_while_it_is_allowed(params: Params) -> None:
    plan = open_plan("start", ["people"], None, allowed(params))
    with interrupted(stage, "train_steps", at=4):
        train_run(plan, layout.run("start"))
    assert (plan.work / STATE).exists()
    with pytest.raises(InputError, match=REFUSED):
        open_plan("start", ["people"], None, params)
    trained(allowed(params), "start", ["people"])
    with pytest.raises(InputError, match=REFUSED):  # nor is a finished one taken again
        open_plan("start", ["people"], None, params)


def test_whoever_continues_asks_again_and_says_it_of_all_that_follow(params: Params) -> None:
    trained(allowed(params), "start", ["pool", "people"])
    with pytest.raises(InputError, match=REFUSED):
        open_plan("second", ["identities"], "start", params)
    card = load_student(trained(allowed(params), "second", ["identities"], "start")).card
    assert card.people == [PEOPLE] and "trained on real faces: " in card.training


def test_what_a_student_was_before_is_said_where_no_photograph_is_left(params: Params) -> None:
    trained(allowed(params), "start", ["pool", "people"])
    plan = open_plan("second", ["identities"], "start", allowed(params))
    nobody = replace(plan.sources[1], usable=plan.sources[1].usable[:0])
    without = replace(plan, sources=[plan.sources[0], nobody, plan.sources[2]])
    train_run(without, layout.run("second"))
    card = load_student(layout.run("second")).card
    assert card.training == f"{DISTILLED}; after others on real faces: {PEOPLE}"
    assert card.people == [PEOPLE]


def test_an_adaptor_fitted_on_them_says_so_and_so_do_its_students(params: Params) -> None:
    narrow = replace(params, fuse=replace(params.fuse, epochs=2, learning_rate=0.01))
    log = fuse("fused", ["toy", "wide"], ["people"], allowed(narrow), Path("runs/fused"))
    assert [*log["real_faces"]] == [PEOPLE]
    assert load_adaptor(Path("runs/fused")).real_faces == (PEOPLE,)
    both = {"toy": Tuition(), "wide": Tuition()}
    taught = asked(narrow, "cosine", teachers=both, adaptor="fused")
    card = load_student(trained(taught, "start", ["pool"])).card
    assert card.training == f"{DISTILLED}; after others on real faces: {PEOPLE}"
    fuse("plain", ["toy", "wide"], ["identities"], narrow, Path("runs/plain"))
    assert load_adaptor(Path("runs/plain")).real_faces == ()


def test_another_statement_is_another_run(params: Params) -> None:
    """The same bytes of faces, under other words: no finished card is taken for the new one."""
    first = open_plan("start", ["people"], None, allowed(params))
    owners = np.arange(80) // 8
    make_round("people", 80, seed=3, origin="imported", real_faces="others", identity_id=owners)
    second = open_plan("start", ["people"], None, allowed(params, statement="others"))
    assert first.stores["data/people/faces.zarr"] == second.stores["data/people/faces.zarr"]
    assert first.digest != second.digest


def test_a_copied_or_packed_store_is_still_of_people(params: Params) -> None:
    shutil.copytree("data/people", "data/copy")  # without its manifest
    export_round("people", Path("people.h5"), selection="all", teachers=["toy"])
    import_round(Path("people.h5"), "team/people")
    for name in ("copy", "team/people"):
        with pytest.raises(InputError, match=f"round {name}: photographs of real people"):
            open_plan("start", [name], None, params)
        assert open_plan("start", [name], None, allowed(params)).people == [PEOPLE]


def test_a_folder_of_which_nothing_is_stated_needs_no_manifest_to_be_refused(
    params: Params,
) -> None:
    """An adopted store whose manifest was left behind, and whose statement was taken out."""
    store, _ = make_round("found", 30, seed=5)
    passport = store.passport
    identity = {**passport.fingerprint.identity, "name": "folder"}
    made_by = replace(passport.fingerprint, identity=identity)
    replace(passport, fingerprint=made_by).write(store.path)
    layout.manifest("found").unlink()
    with pytest.raises(InputError, match="round found: 30 imported faces that may be photographs"):
        open_plan("start", ["found"], None, allowed(params))


def test_there_is_one_door_to_faces_that_are_trained_on() -> None:
    """Only open_source, which asks, makes a Source."""
    makers = {
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "train").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Source"
    }
    assert makers == {"train/batching/sources.py"}
