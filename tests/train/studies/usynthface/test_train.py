"""Runs of the study USynthFace: exact resuming, honest cards, and bad input in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from manifests.core import layout
from manifests.core.costs import seconds_by_stage
from manifests.core.errors import InputError
from manifests.settings.params import Params, load_params
from manifests.settings.study import load_study
from manifests.studies.usynthface import Study
from pipeline.arrays.frames import ARCFACE112, Frame
from tests.study_students import lay_out_params
from tests.toys import EMBEDDING_WIDTH, make_round
from tests.train.toys import interrupted
from train.checkpoint import DISTILLED, FILE, LOG, load_student, weights_sha256
from train.engine import trainer
from train.engine.state import STATE
from train.engine.steps import step_generator
from train.engine.trainer import train_run
from train.studies.usynthface.contrastive import (
    TRAINED,
    UNTRAINED,
    Contrastive,
    folded,
    with_final_norm,
)
from train.studies.usynthface.margin_nce import MomentumContrast, margin_nce
from train.studies.usynthface.pairs import Partners, views
from train.studies.usynthface.train import check_study, open_contrastive, open_distilled

OUT = Path("runs/studies/usynthface/augmentation")


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """150 faces, of which 100 are of ten identities, some without a face."""
    monkeypatch.chdir(tmp_path)
    lay_out_params()
    make_round("pool", 50, seed=1)
    owners = np.arange(100) // 10
    make_round("identities", 100, seed=2, origin="boundary", identity_id=owners)
    found = load_study("usynthface", Study)
    return replace(
        found,
        faces_seen=6 * 16,
        embedding_width=EMBEDDING_WIDTH,
        contrast=replace(found.contrast, queue=64, sub_batches=2),
        descent=replace(found.descent, batch=16, warmup_faces=32),
    )


@pytest.fixture
def params(study: Study) -> Params:
    found = load_params()
    student = replace(found.train.student, input_size=32, width=0.125)
    train = replace(found.train, student=student, batch=16, pool_rows=64, checkpoint_faces=32)
    return replace(found, teacher="toy", train=train)


def weights(folder: Path) -> str:
    return load_student(folder).sha256


def test_an_interrupted_run_ends_at_the_same_bits(params: Params, study: Study) -> None:
    train_run(open_contrastive("identities", params, study), OUT)
    straight = weights(OUT)
    run = open_contrastive("identities", params, study)
    (run.work / LOG).unlink()

    with interrupted(trainer, "train_steps", at=3):
        train_run(run, OUT)
    assert (run.work / STATE).exists()
    train_run(open_contrastive("identities", params, study), OUT)
    assert weights(OUT) == straight


def test_no_teacher_is_opened_and_the_card_says_so(params: Params, study: Study) -> None:
    for name in study.rounds:
        shutil.rmtree(layout.teacher(name, "toy"))
    train_run(open_contrastive("identities", params, study), OUT)
    student = load_student(OUT)
    assert student.card.training == TRAINED and "without teacher" in TRAINED
    assert student.card.faces_seen == 96
    stores = json.loads(student.card.stores)
    assert list(stores) == ["data/pool/faces.zarr", "data/identities/faces.zarr"]
    log = json.loads((OUT / LOG).read_text())
    assert log["rounds"] == ["pool", "identities"] and log["after"] is None
    assert 0 < log["num_with_identity"] < log["num_faces"] < 150
    assert [line["faces_seen"] for line in log["history"]] == list(range(16, 97, 16))


def test_the_untrained_network_keeps_its_weights(
    params: Params, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the last layer, into which the normalisation is folded, and running statistics."""
    monkeypatch.setattr("train.studies.usynthface.train.SETTLING_STEPS", 3)
    run = open_contrastive("untrained", params, study)
    train_run(run, OUT)
    student = load_student(OUT)
    assert student.card.training == UNTRAINED and student.card.faces_seen == 0
    before = run.new_network()
    found = dict(student.network.named_parameters())
    for name, tensor in list(before.named_parameters())[:-2]:
        assert torch.equal(tensor, found[name]), name


def test_arms_begin_alike_and_are_runs_of_their_own(params: Params, study: Study) -> None:
    runs = [
        open_contrastive(arm, params, study) for arm in ("untrained", "augmentation", "identities")
    ]
    starts = [weights_sha256(run.new_network()) for run in runs]
    assert len({*starts}) == 1
    assert len({run.work for run in runs}) == 3


def test_the_distilled_student_is_of_their_size_and_sees_as_many_faces(
    params: Params, study: Study
) -> None:
    plan = open_distilled(params, study)
    output = layout.study_run("usynthface", "distilled")
    train_run(plan, output)
    train_run(open_contrastive("augmentation", params, study), OUT)
    taught, alone = load_student(output), load_student(OUT)
    assert taught.card.training == DISTILLED
    assert taught.card.faces_seen == alone.card.faces_seen == 96
    sizes = ({n: t.shape for n, t in own.network.state_dict().items()} for own in (taught, alone))
    assert next(sizes) == next(sizes)
    counts = [json.loads((folder / LOG).read_text())["num_faces"] for folder in (output, OUT)]
    assert counts[0] == counts[1]
    # Neither counts in the costs of the flow.
    assert len(list(layout.COSTS.glob("train@studies.usynthface.*.jsonl"))) == 2
    assert seconds_by_stage() == {}


Change = Callable[[Study], Study]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: replace(s, rounds=("pool", "probe")), "rounds pool, probe: name at least one"),
        (lambda s: replace(s, rounds=()), "rounds none: name at least one"),
        (lambda s: replace(s, faces_seen=15), "faces_seen 15 is less than one batch of 16"),
        (lambda s: replace(s, contrast=replace(s.contrast, sub_batches=3)), "does not part into"),
        (lambda s: replace(s, contrast=replace(s.contrast, sub_batches=16)), "at least 2 faces"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_numbers_that_no_run_can_have_are_refused(
    study: Study, change: Change, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        check_study(change(study))


def test_a_queue_larger_than_the_data_is_refused(params: Params, study: Study) -> None:
    greedy = replace(study, contrast=replace(study.contrast, queue=120))
    with pytest.raises(InputError, match=r"queue of 120 keys is larger than the data, \d+ usable"):
        open_contrastive("augmentation", params, greedy)


def test_pairs_of_an_identity_need_identities(params: Params, study: Study) -> None:
    alone = replace(study, rounds=("pool",), contrast=replace(study.contrast, queue=8))
    with pytest.raises(InputError, match="rounds pool name no identities, of which this arm"):
        open_contrastive("identities", params, alone)


def test_a_student_of_another_size_is_no_comparison(params: Params, study: Study) -> None:
    with pytest.raises(InputError, match="embedding_width 99, the student of toy has 16"):
        open_distilled(params, replace(study, embedding_width=99))


def test_a_diverged_loss_stops_the_run(params: Params, study: Study) -> None:
    wild = replace(study, descent=replace(study.descent, optimizer="sgd", learning_rate=1e30))
    with pytest.raises(InputError, match="lower descent: learning_rate"):
        train_run(open_contrastive("augmentation", params, wild), OUT)


def test_a_student_of_before_cards_said_so_was_distilled(params: Params, study: Study) -> None:
    train_run(open_contrastive("augmentation", params, study), OUT)
    student = load_student(OUT)
    facts = {key: str(value) for key, value in asdict(student.card).items() if key != "training"}
    tensors = {name: t.contiguous() for name, t in student.network.state_dict().items()}
    save_file(tensors, OUT / FILE, facts)
    assert load_student(OUT).card == replace(student.card, training=DISTILLED)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_run_of_the_engine_is_the_obvious_loop(
    params: Params, study: Study, optimizer: str
) -> None:
    own = replace(study, descent=replace(study.descent, optimizer=optimizer))
    run = open_contrastive("identities", params, own)
    train_run(run, OUT)
    twin = student_of_the_obvious_loop(run, own)
    found = load_student(OUT).network.state_dict()
    for name, tensor in twin.state_dict().items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6)


def student_of_the_obvious_loop(run: Contrastive, study: Study) -> nn.Module:
    """Trained without the engine. Adam divides gradients that are rounding alone by themselves,
    so that no other order of summation than the fused one's would end near."""
    descent, query = study.descent, with_final_norm(run.new_network()).train()
    keys = torch.Generator().manual_seed(run.seed)
    contrast = MomentumContrast(query, study.contrast, EMBEDDING_WIDTH, keys)
    learnt = [p for p in query.parameters() if p.requires_grad]
    plain = [p for p in learnt if p.ndim <= 1 and descent.optimizer == "adamw"]
    groups = [
        {"params": [p for p in learnt if all(p is not q for q in plain)]},
        {"params": plain, "weight_decay": 0.0},
    ]
    decay = descent.weight_decay
    optimizer: torch.optim.Optimizer
    if descent.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups, momentum=descent.momentum, weight_decay=decay)
    else:
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=decay, fused=True)
    partners, stored = Partners(run.sources), Frame(**run.sources[0].faces.frame)
    for step, batch in zip(range(run.num_steps), run.stream().batches(), strict=False):
        generator = step_generator(run.seed, step)
        others = partners.images(batch, generator)
        pairs = [
            views(images, stored, ARCFACE112.at(32), study.augmentation, generator)
            for images in (batch.images, others)
        ]
        order = torch.randperm(len(others), generator=generator)
        warm = min(1.0, (step + 1) * descent.batch / descent.warmup_faces)
        for group in optimizer.param_groups:
            group["lr"] = descent.learning_rate * warm * (1 - step / run.num_steps)
        optimizer.zero_grad()
        margin_nce(contrast(query, *pairs, order)).backward()
        optimizer.step()
    return folded(query)
