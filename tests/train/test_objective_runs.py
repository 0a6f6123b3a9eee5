"""Runs with objectives of every kind on rounds of noise: heads are kept, interruption costs no bit,
and nothing of an objective is exported."""

from __future__ import annotations

import shutil
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import train.engine.trainer as stage
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.settings.objectives import IdentityPart, Losses, Tuition
from manifests.settings.params import Params
from manifests.settings.training import Run
from tests.toys import EMBEDDING_WIDTH, make_round
from tests.train.toys import add_teacher, asked, interrupted, with_engine
from train.batching.sources import open_sources
from train.checkpoint import LOG, load_student
from train.engine.state import STATE
from train.engine.supervised import open_plan
from train.engine.trainer import train_run
from train.fuse import embeddings_of, fuse
from train.losses.adaptors import load_adaptor
from train.losses.margin_heads import load_head

COUNT = 100
RUN = Run(faces_seen=192, rate_from=1.0, rate_to=0.1)
MARGIN = {"name": "elastic-arcface", "weight": 0.1}


@pytest.fixture(scope="module")
def rounds_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rounds")
    with chdir(root):
        make_round("pool", COUNT, seed=1)
        make_round("people", COUNT, seed=2, origin="boundary", identity_id=np.arange(COUNT) % 10)
        for round in ("pool", "people"):
            add_teacher(round, "wide", 24)
            add_teacher(round, "twin", EMBEDDING_WIDTH)
    return root


@pytest.fixture
def params(
    params: Params, rounds_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Params:
    """A round of ten people with three teachers, and one of nobody known."""
    shutil.copytree(rounds_once, tmp_path / "checkout")
    monkeypatch.chdir(tmp_path / "checkout")
    small = replace(params.train.student, name="small-resnet", input_size=32, width=0.25)
    train = replace(
        params.train, student=small, batch=16, pool_rows=64, warmup_faces=32, checkpoint_faces=48,
        leave_out=(), runs={"start": RUN, "tutor": RUN},
    )  # fmt: skip
    return replace(
        params, teacher="toy", train=train, fuse=replace(params.fuse, epochs=3, learning_rate=0.01)
    )


def run(params: Params, name: str = "start", *rounds: str) -> str:
    """Trains; the digest of the student's weights."""
    output = layout.run(name)
    plan = open_plan(name, rounds or ("pool", "people"), None, params)
    train_run(plan, output, force=True)
    return load_student(output).sha256


KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "ranks, a margin and two teachers": (
        ["cosine", "ekd", {"name": "adaface", "weight": 0.1}],
        {"teachers": {"toy": Tuition(), "wide": Tuition(0.5, True)}},
    ),
    "an elastic margin and snapshots": (["cosine", MARGIN], {"snapshots": ("toy", "twin")}),
    "sampled identities and faces remembered": (
        [
            {"name": "relational", "memory": 2}, {"name": "ekd", "memory": 3},
            {"name": "cosface", "sample_rate": 0.3, "weight": 0.1},
        ],
        {},
    ),
    "the teacher's centres": ({"name": "arcface", "centres": "adadistill"}, {}),
}  # fmt: skip
TOGETHER = "sampled identities and faces remembered"  # its batches have four faces an identity


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_run_ends_at_the_same_bits(params: Params, kind: str) -> None:
    loss, train = KINDS[kind]
    wanted = asked(params, loss, **train)
    wanted = with_engine(wanted, faces_an_identity=4 if kind == TOGETHER else 1)
    straight = run(wanted)
    plan = open_plan("start", ["pool", "people"], None, wanted)
    assert (plan.work / LOG).exists()
    (plan.work / LOG).unlink()
    with interrupted(stage, "train_steps", at=7):
        train_run(plan, layout.run("start"))
    assert (plan.work / STATE).exists()
    assert run(wanted) == straight


def test_two_kinds_of_objective_are_two_runs(params: Params) -> None:
    plans = [
        open_plan("start", ["pool", "people"], None, asked(params, loss, **train))
        for loss, train in KINDS.values()
    ]
    assert len({plan.work for plan in plans}) == len(KINDS)


def test_nothing_of_an_objective_is_exported(params: Params) -> None:
    run(asked(params, "cosine"))
    plain = load_student(layout.run("start")).network.state_dict()
    run(asked(params, ["cosine", MARGIN], teachers={"twin": Tuition(1.0, True)}))
    other = load_student(layout.run("start")).network.state_dict()
    shapes = [{name: t.shape for name, t in own.items()} for own in (plain, other)]
    assert shapes[0] == shapes[1]
    assert not all(torch.equal(tensor, other[name]) for name, tensor in plain.items())


def test_a_margin_run_keeps_its_head_for_others(params: Params) -> None:
    run(asked(params, "cosface", embedding_width=12), "tutor", "people")
    head, _ = load_head(layout.run("tutor"))
    assert head.prototypes.shape == (10, 12)
    assert head.margin.name == "cosface" and not head.training


def test_centres_of_the_teacher_are_kept_too(params: Params) -> None:
    centred = {"name": "cosface", "centres": "adadistill"}
    run(asked(params, centred), "tutor", "people")
    head, _ = load_head(layout.run("tutor"))
    assert head.prototypes.shape == (10, EMBEDDING_WIDTH)
    assert head.prototypes.norm(dim=1).min() > 0.3  # they began near nothing


def test_logits_are_taught_on_the_same_identities_only(params: Params) -> None:
    run(asked(params, "cosface", embedding_width=EMBEDDING_WIDTH), "tutor", "people")
    grouped = {"name": "gkd", "head": "runs/tutor", "group_step": 1, "ramp_epochs": 1}
    wanted = asked(params, ["cosface", grouped])
    margin_alone = asked(params, "cosface", embedding_width=EMBEDDING_WIDTH)
    assert run(wanted, "start", "people") != run(margin_alone, "start", "people")
    runs = {"start": replace(RUN, identities=IdentityPart(0, 2))}
    with pytest.raises(InputError, match=r"runs/tutor: its head knows other identities"):
        run(replace(wanted, train=replace(wanted.train, runs=runs)), "start", "people")
    wider = replace(wanted, train=replace(wanted.train, teachers={"wide": Tuition()}))
    with pytest.raises(InputError, match=r"takes 16 coordinates, the teacher's stores have 24"):
        open_plan("start", ["people"], None, wider)


class TestFusing:
    def test_does_not_take_a_students_place(self, params: Params) -> None:
        layout.run("both").mkdir(parents=True)
        (layout.run("both") / "student.safetensors").touch()
        with pytest.raises(InputError, match=r"runs/both: a student is here; give the adaptor"):
            fuse("both", ["toy", "wide"], ["people"], params, layout.run("both"))

    def test_is_learnt_and_the_same_twice(self, params: Params) -> None:
        digests = []
        for _ in range(2):
            fuse("both", ["toy", "wide"], ["people"], params, layout.run("both"))
            digests.append((layout.run("both") / "adaptor.safetensors").read_bytes())
        assert digests[0] == digests[1]
        log = read_json(layout.run("both") / LOG)
        losses = [line["loss"] for line in log["history"]]
        assert losses[log["kept_epoch"]] == min(losses) < losses[0]
        assert log["num_identities"] == 10 and log["teachers"] == ["toy", "wide"]

    def test_may_look_at_a_sample_of_the_identities(self, params: Params) -> None:
        sampled = Losses.parsed({"name": "elastic-arcface", "sample_rate": 0.5}, "loss")
        one = replace(params, fuse=replace(params.fuse, loss=sampled))
        log = fuse("both", ["toy", "wide"], ["people"], one, layout.run("both"))
        losses = [line["loss"] for line in log["history"]]
        assert losses[-1] < losses[0]

    def test_a_student_is_taught_what_the_adaptor_says(self, params: Params) -> None:
        fuse("both", ["toy", "wide"], ["people"], params, layout.run("both"))
        both = {"toy": Tuition(), "wide": Tuition()}
        digest = run(asked(params, "unit-mse", teachers=both, adaptor="both"))
        card = load_student(layout.run("start")).card
        assert card.embedding_width == params.fuse.embedding_width
        assert "runs/both/adaptor.safetensors" in card.stores
        assert digest != run(asked(params, ["unit-mse", MARGIN], teachers=both, adaptor="both"))

    @pytest.mark.parametrize("kind", ["double-linear", "double-linear-dropout"])
    def test_may_have_two_layers(self, params: Params, kind: str) -> None:
        deeper = replace(params, fuse=replace(params.fuse, kind=kind))
        fuse("both", ["toy", "wide"], ["people"], deeper, layout.run("both"))
        adaptor = load_adaptor(layout.run("both"))
        source = open_sources(["people"], ["toy", "wide"], params, {})[0][0]
        fused = adaptor.fused(embeddings_of([source], [source.usable]))
        torch.testing.assert_close(fused.norm(dim=1), torch.ones(len(fused)))
        torch.testing.assert_close(fused.mean(dim=0), adaptor.target.centre)
        spread = float((fused - fused.mean(dim=0)).square().mean().sqrt())
        assert spread == pytest.approx(adaptor.target.spread, rel=1e-4)
