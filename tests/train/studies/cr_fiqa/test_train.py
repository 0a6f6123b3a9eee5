"""What the study CR-FIQA trains: arms that differ in what they are to differ in, and bad input."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.records.marks import LOW_UTILITY, Mark, Marks
from manifests.records.qualities import QualityTable, table_of
from manifests.settings.objectives import Losses
from manifests.settings.params import Params, load_params
from manifests.settings.study import load_study
from manifests.stores.rounds import open_round
from manifests.studies.cr_fiqa import Study
from tests.conftest import ROOT
from tests.study_students import lay_out_params
from tests.toys import EMBEDDING_WIDTH, make_round
from train.checkpoint import load_quality, load_student
from train.engine.supervised import Supervised
from train.engine.trainer import train_run
from train.studies.cr_fiqa import train as cr_fiqa
from train.studies.cr_fiqa.train import (
    MARKS,
    NETWORKS,
    QUALITIES,
    check_study,
    open_network,
    open_student,
    write_tables,
)

ROUNDS = ("pool", "identities")


def small(study: Study) -> Study:
    student = replace(study.student, input_size=32, width=0.125)
    networks = replace(
        study.networks, embedding_width=EMBEDDING_WIDTH, batch=16, leave_out=("off_identity",),
        joint=replace(study.networks.joint, faces_seen=48, warmup_faces=0),
        on_top=replace(study.networks.on_top, faces_seen=32),
    )  # fmt: skip
    distilled = replace(study.distilled, faces_seen=32, quarantined=0.25)
    return replace(study, student=student, networks=networks, distilled=distilled)


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rounds, marks of one, and the networks backbone and joint with the tables of joint."""
    root = tmp_path_factory.mktemp("study")
    with chdir(root):
        lay_out_params()
        make_round("pool", 60, seed=1)
        make_round("identities", 80, seed=2, origin="boundary", identity_id=np.arange(80) // 8)
        files = open_round("identities", "toy")
        first = int(np.flatnonzero(files.faces.ok())[0])
        marks = (Mark(first, "off_identity", 0.1),)
        path = layout.marks("identities", "toy")
        Marks(marks, files.faces.root, files.teacher.root, {}).write(path)
        params, study = of_this_folder()
        for arm in ("backbone", "joint"):
            train_run(open_network(arm, params, study), layout.study_run("cr-fiqa", arm))
        write_tables(params, study)
    return root


def of_this_folder() -> tuple[Params, Study]:
    params = load_params()
    train = replace(params.train, batch=16, pool_rows=64)
    return replace(params, teacher="toy", train=train), small(load_study("cr-fiqa", Study))


@pytest.fixture
def workshop(trained_once: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Params, Study]:
    """Nothing that is trained is changed here."""
    monkeypatch.chdir(trained_once)
    return of_this_folder()


@pytest.fixture
def own_workshop(
    trained_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Params, Study]:
    shutil.copytree(trained_once, tmp_path / "own")
    monkeypatch.chdir(tmp_path / "own")
    return of_this_folder()


def test_networks_see_the_same_faces_and_begin_alike(workshop: tuple[Params, Study]) -> None:
    plans = {arm: open_network(arm, *workshop) for arm in NETWORKS}
    assert len({plan.work for plan in plans.values()}) == len(NETWORKS)
    usable = {plan.sources[0].usable.tobytes() for plan in plans.values()}
    assert len(usable) == 1
    starts = [plan.start_network().state_dict() for arm, plan in plans.items() if arm != "on-top"]
    assert all(np.array_equal(a, b) for start in starts[1:]
               for a, b in zip(starts[0].values(), start.values(), strict=True))  # fmt: skip
    terms = {arm: [t.name for t in p.params.train.loss.terms] for arm, p in plans.items()}
    assert terms["backbone"] == ["arcface"] and terms["on-top"] == ["cr-fiqa"]
    assert terms["taught"] == ["standardised-mse", "arcface", "cr-fiqa"]
    ratios = {arm: p.params.train.loss.certainty for arm, p in plans.items() if arm != "backbone"}
    assert {arm: own and own.ratio for arm, own in ratios.items()} == {
        "joint": "paper", "joint-released": "released", "joint-ccs": "ccs", "taught": "paper",
        "on-top": "paper",
    }  # fmt: skip


def test_faces_off_their_identity_are_left_out(workshop: tuple[Params, Study]) -> None:
    plan = open_network("joint", *workshop)
    marked = Marks.read(
        layout.marks("identities", "toy"), faces_root=plan.sources[0].faces.root,
        teacher_root=open_round("identities", "toy").teacher.root,
        num_rows=len(plan.sources[0].faces),
    )[0].rows(["off_identity"])  # fmt: skip
    assert not np.isin(marked, plan.sources[0].usable).any()


def test_a_network_on_top_has_the_backbones_weights(own_workshop: tuple[Params, Study]) -> None:
    output = layout.study_run("cr-fiqa", "on-top")
    train_run(open_network("on-top", *own_workshop), output)
    backbone = load_student(layout.study_run("cr-fiqa", "backbone"))
    assert load_quality(output).student.sha256 == backbone.sha256


def students(workshop: tuple[Params, Study]) -> dict[str, Supervised]:
    return {arm: open_student(arm, 0, *workshop) for arm in cr_fiqa.STUDENTS}


def test_students_differ_in_the_faces_alone(workshop: tuple[Params, Study]) -> None:
    plans = students(workshop)
    counts = {arm: sum(len(s.usable) for s in plan.sources) for arm, plan in plans.items()}
    assert counts["plain"] == counts["weighted"] > counts["quarantined"] == counts["random"]
    assert plans["weighted"].face_weights is not None and plans["plain"].face_weights is None
    worst, drawn = (plans[arm].sources for arm in ("quarantined", "random"))
    for at, name in enumerate(ROUNDS):
        assert not np.array_equal(worst[at].usable, drawn[at].usable)
        faces = plans["plain"].sources[at].faces
        table, _ = QualityTable.read(table_of(QUALITIES, name), faces_root=faces.root)
        left_out = np.setdiff1d(plans["plain"].sources[at].usable, worst[at].usable)
        kept = table.quality[worst[at].usable]
        assert len(left_out) == int(0.25 * len(plans["plain"].sources[at].usable))
        assert table.quality[left_out].max() <= kept.min()
    assert len({plan.work for plan in plans.values()}) == 4
    marks = table_of(MARKS / "quarantined", "pool").as_posix()
    assert marks in plans["quarantined"].stores and marks not in plans["plain"].stores


def test_a_seed_is_another_start(workshop: tuple[Params, Study]) -> None:
    plans = [open_student("plain", seed, *workshop) for seed in (0, 1)]
    first, other = (next(iter(plan.start_network().parameters())) for plan in plans)
    assert not np.array_equal(first.detach(), other.detach())
    assert plans[0].name == "studies/cr-fiqa/plain/0"


def test_the_command_trains_every_seed(
    own_workshop: tuple[Params, Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    params, study = own_workshop
    two = replace(study, distilled=replace(study.distilled, seeds=2))
    monkeypatch.setattr(cr_fiqa, "load_study", lambda name, kind: two)
    monkeypatch.setattr(cr_fiqa, "load_params", lambda: params)
    monkeypatch.setattr(sys, "argv", ["cr_fiqa", "quarantined"])
    cr_fiqa.main()
    folder = layout.study_run("cr-fiqa", "quarantined")
    found = {load_student(folder / seed).sha256 for seed in ("0", "1")}
    assert len(found) == 2
    rows = Marks.read(
        table_of(MARKS / "quarantined", "pool"),
        faces_root=open_round("pool", "toy").faces.root,
        teacher_root=open_round("pool", "toy").teacher.root,
        num_rows=len(open_round("pool", "toy").faces),
    )[0].rows([LOW_UTILITY])
    assert len(rows)


Change = Callable[[Study], Study]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: replace(s, networks=replace(s.networks, margin=Losses.parsed("mse", ""))),
            "margin: mse, expected a margin and no more",
        ),
        (
            lambda s: replace(s, distilled=replace(s.distilled, rounds=("pool", "probe"))),
            "rounds pool, probe: name at least one",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_numbers_that_no_run_can_have_are_refused(change: Change, message: str) -> None:
    with chdir(ROOT):
        study = load_study("cr-fiqa", Study)
    check_study(study)
    with pytest.raises(InputError, match=message):
        check_study(change(study))


def test_a_round_of_nobody_has_too_few_identities(own_workshop: tuple[Params, Study]) -> None:
    params, study = own_workshop
    networks = replace(study.networks, round="pool", leave_out=())
    with pytest.raises(InputError, match="tells identities apart, the usable faces have 0"):
        open_network("joint", params, replace(study, networks=networks))


def test_tables_of_other_faces_are_refused(own_workshop: tuple[Params, Study]) -> None:
    make_round("pool", 60, seed=9)
    with pytest.raises(InputError, match=r"qualities/pool\.parquet: qualities of faces"):
        _ = open_student("weighted", 0, *own_workshop).stores
    with pytest.raises(InputError, match=r"marks/quarantined/pool\.parquet: drawn from faces"):
        open_student("quarantined", 0, *own_workshop)
