"""Runs that train a quality head: with the student or on top of it, to the same bits, and read
back for stored faces."""

from __future__ import annotations

import shutil
import sys
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import train.engine.trainer as stage
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.records.marks import LOW_UTILITY
from manifests.records.qualities import QualityTable
from manifests.settings.params import Params, load_params
from manifests.settings.training import Run
from manifests.stores.rounds import open_faces, open_round
from pipeline.arrays.frames import Frame, to_frame
from pipeline.screen import screen_round
from tests.conftest import ROOT
from tests.toys import make_round
from tests.train.toys import asked, interrupted, with_engine
from train import qualities
from train.checkpoint import FILE, LABELLED, LOG, QUALITY, load_quality, load_student
from train.engine.state import STATE
from train.engine.supervised import open_plan
from train.engine.trainer import train_run
from train.losses.margin_heads import HEAD
from train.qualities import rate_faces

COUNT, WIDTH = 80, 12
RUN = Run(faces_seen=96, rate_from=1.0, rate_to=0.1)
JOINT: Any = ["arcface", "cr-fiqa"]
ON_TOP: Any = {"name": "cr-fiqa", "on_top": "runs/alone"}
ALONE, JOINTLY = Path("runs/alone"), Path("runs/joint")


def small(params: Params) -> Params:
    student = replace(params.train.student, input_size=32, width=0.125)
    train = replace(
        params.train, student=student, batch=16, pool_rows=64, warmup_faces=32,
        checkpoint_faces=32, leave_out=(), embedding_width=WIDTH,
        runs=dict.fromkeys(("alone", "joint", "top", "start"), RUN),
    )  # fmt: skip
    return replace(params, teacher="toy", train=train)


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A round of eight people, a run of a margin `alone` and a `joint` one."""
    root = tmp_path_factory.mktemp("trained")
    with chdir(root):
        make_round("people", COUNT, seed=2, origin="boundary", identity_id=np.arange(COUNT) % 8)
        wanted = small(load_params(ROOT / "params.yaml"))
        run(wanted, "arcface", "alone")
        run(wanted, JOINT, "joint")
    return root


@pytest.fixture
def params(
    params: Params, trained_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Params:
    shutil.copytree(trained_once, tmp_path / "checkout")
    monkeypatch.chdir(tmp_path / "checkout")
    return small(params)


def run(params: Params, loss: Any, name: str) -> Path:
    output = layout.run(name)
    train_run(open_plan(name, ["people"], None, asked(params, loss)), output)
    return output


def digests(folder: Path) -> list[str]:
    """Of the student's weights and of the quality head's."""
    rated = load_quality(folder)
    return [rated.student.sha256, rated.sha256]


def test_student_margin_head_and_quality_head_lie_in_the_run(params: Params) -> None:
    assert {path.name for path in ALONE.glob("*.safetensors")} == {FILE, HEAD}
    assert {path.name for path in JOINTLY.glob("*.safetensors")} == {FILE, HEAD, QUALITY}
    rated = load_quality(JOINTLY)
    assert rated.card.ratio == "paper" and rated.card.student_sha256 == rated.student.sha256
    assert rated.layer.weight.shape == (1, WIDTH) and not rated.layer.weight.requires_grad
    assert rated.student.card.training == LABELLED
    crops = torch.rand(3, 3, 32, 32) * 255
    found, embeddings = rated(crops)
    torch.testing.assert_close(embeddings, rated.student.network(crops))
    torch.testing.assert_close(found, rated.layer(embeddings)[:, 0])


@pytest.mark.parametrize(("name", "loss"), [("joint", JOINT), ("top", ON_TOP)])
def test_an_interrupted_run_ends_at_the_same_bits(params: Params, name: str, loss: Any) -> None:
    straight = digests(run(params, loss, name))
    plan = open_plan(name, ["people"], None, asked(params, loss))
    (plan.work / LOG).unlink()
    with interrupted(stage, "train_steps", at=4):
        train_run(plan, layout.run(name))
    assert (plan.work / STATE).exists()
    assert digests(run(params, loss, name)) == straight


def test_joint_training_moves_the_student_and_on_top_does_not(params: Params) -> None:
    top = load_quality(run(params, ON_TOP, "top"))
    assert top.student.sha256 == load_student(ALONE).sha256
    assert not (layout.run("top") / HEAD).exists()
    log = read_json(layout.run("top") / LOG)
    assert log["after"] == "alone" and "runs/alone/head.safetensors" in log["header"]["stores"]
    assert log["student"]["training"] == LABELLED
    start = open_plan("top", ["people"], None, asked(params, ON_TOP)).start_objective()
    untrained = start.state_dict()["quality.layer.weight"]
    assert not torch.equal(top.layer.weight, untrained)
    joint = load_quality(JOINTLY)
    assert joint.student.sha256 != top.student.sha256


def test_a_ratio_is_another_run_and_the_head_says_which(params: Params) -> None:
    released: Any = ["arcface", {"name": "cr-fiqa", "ratio": "released"}]
    paper, other = (
        open_plan("start", ["people"], None, asked(params, loss)) for loss in (JOINT, released)
    )
    assert paper.work != other.work
    assert load_quality(run(params, released, "start")).card.ratio == "released"


class TestBadInput:
    def test_a_run_without_a_quality_head(self, params: Params) -> None:
        with pytest.raises(InputError, match=r"quality\.safetensors: no quality head here; name a"):
            load_quality(ALONE)

    def test_a_head_of_another_student(self, params: Params) -> None:
        tensors = load_file(JOINTLY / FILE)
        name = next(iter(tensors))
        changed = {**tensors, name: tensors[name] + 1}
        with safe_open(JOINTLY / FILE, framework="pt") as opened:
            card = opened.metadata()
        save_file(changed, JOINTLY / FILE, card)
        with pytest.raises(InputError, match=r"quality\.safetensors: trained with student"):
            load_quality(JOINTLY)

    @pytest.mark.parametrize("damage", ["bytes", "shape", "card"])
    def test_a_file_that_is_no_head(self, params: Params, damage: str) -> None:
        path = JOINTLY / QUALITY
        tensors = load_file(path)
        if damage == "bytes":
            path.write_bytes(b"no head")
        elif damage == "shape":
            wide = {"weight": torch.zeros(1, WIDTH + 1), "bias": tensors["bias"]}
            save_file(wide, path, {"card": '{"ratio": "paper", "student_sha256": ""}'})
        else:
            save_file(tensors, path, {"card": '{"ratio": "paper"}'})
        with pytest.raises(InputError, match=r"quality\.safetensors: not a quality head of this"):
            load_quality(path.parent)

    def test_on_top_needs_the_same_people_and_one_start(self, params: Params) -> None:
        make_round("others", COUNT, seed=3, origin="boundary", identity_id=np.arange(COUNT) % 4)
        wanted = asked(params, ON_TOP)
        with pytest.raises(InputError, match=r"runs/alone: its head knows other identities than"):
            open_plan("top", ["others"], None, wanted)
        with pytest.raises(InputError, match=r"run top: after joint, and on top of runs/alone"):
            open_plan("top", ["people"], "joint", wanted)
        wider = replace(wanted, train=replace(wanted.train, embedding_width=WIDTH + 1))
        with pytest.raises(InputError, match=r"alone: embeddings of 12 numbers, .* asks for 13"):
            open_plan("top", ["people"], None, wider)
        odd = replace(wanted.train, student=replace(wanted.train.student, width=0.25))
        with pytest.raises(InputError, match=r"runs/alone: a stillnet-m of width 0\.125"):
            open_plan("top", ["people"], None, replace(wanted, train=odd))

    def test_on_top_of_a_student_without_a_margin(self, params: Params) -> None:
        (ALONE / HEAD).unlink()
        with pytest.raises(InputError, match=r"runs/alone/head\.safetensors: no margin head here"):
            open_plan("top", ["people"], None, asked(params, ON_TOP))

    def test_too_few_identities(self, params: Params) -> None:
        make_round("nobody", COUNT, seed=4)
        for loss in (JOINT, ON_TOP):
            with pytest.raises(InputError, match=r"tells identities apart, the usable faces"):
                open_plan("top", ["nobody"], None, asked(params, loss))

    def test_an_average_has_no_head(self, params: Params) -> None:
        with pytest.raises(InputError, match=r"train\.engine\.ema: 0\.9 beside cr-fiqa"):
            open_plan("start", ["people"], None, asked(with_engine(params, ema=0.9), JOINT))


class TestStoredFaces:
    def test_are_rated_one_by_one_as_together(self, params: Params) -> None:
        rated, (_, faces) = load_quality(JOINTLY), open_faces("people")
        found = rate_faces(rated, faces)
        assert np.array_equal(np.isnan(found), ~faces.ok())
        row = int(np.flatnonzero(faces.ok())[5])
        pixels = torch.from_numpy(faces.images(row, row + 1)).permute(0, 3, 1, 2).float()
        crop = to_frame(pixels, Frame(**faces.frame), rated.student.card.input_frame)
        assert found[row] == pytest.approx(float(rated(crop)[0]), abs=1e-4)

    def test_get_a_table_whose_worst_may_be_left_out(
        self, params: Params, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.copy(ROOT / "params.yaml", ".")
        arguments = [str(JOINTLY), "--rounds", "people", "--out", "tables"]
        monkeypatch.setattr(sys, "argv", ["qualities", *arguments])
        qualities.main()
        opened = open_round("people", "toy")
        path = Path("tables/people.parquet")
        table, _ = QualityTable.read(path, faces_root=opened.faces.root)
        usable = np.flatnonzero(opened.faces.ok())
        marks = screen_round("people", [], params, path, 0.25)
        worst = marks.rows([LOW_UTILITY])
        assert len(worst) == len(usable) // 4 and marks.rule["worst"] == "0.25"
        rest = np.setdiff1d(usable, worst)
        assert table.quality[worst].max() <= table.quality[rest].min()
        choosy = replace(params, train=replace(params.train, leave_out=(LOW_UTILITY,)))
        plan = open_plan("start", ["people"], None, asked(choosy, JOINT))
        assert np.array_equal(plan.sources[0].usable, rest)

    def test_need_a_manifest_and_a_share_that_is_one(
        self, params: Params, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(InputError, match=r"--worst 1: expected a share between 0 and 1"):
            screen_round("people", [], params, Path("tables/people.parquet"), 1.0)
        layout.manifest("people").unlink()
        monkeypatch.setattr(sys, "argv", ["q", str(JOINTLY), "--rounds", "people", "--out", "t"])
        with pytest.raises(InputError, match=r"round people: its manifest"):
            qualities.main()
