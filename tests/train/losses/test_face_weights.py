"""Faces that weigh what a table says, in the losses that pull each to its own target."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from manifests.core.errors import InputError
from manifests.core.layout import manifest
from manifests.records.qualities import QualityTable
from manifests.settings.objectives import Losses
from manifests.settings.params import Params
from manifests.settings.training import Run
from manifests.stores.latents import LatentManifest
from manifests.stores.rounds import open_faces
from tests.references import losses as slow
from tests.toys import make_round
from tests.train.toys import with_train
from train.engine.preflight import check_round_weights
from train.engine.supervised import Supervised, open_plan
from train.losses.face_weights import FaceWeights
from train.losses.objectives import Supervision, make_objective
from train.losses.regression import cosine, mse, unit_squared_distance
from train.losses.terms import Target

TWINS = {mse: slow.mse, cosine: slow.cosine, unit_squared_distance: slow.unit_squared_distance}
FILE = "tables/pool.parquet"


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("loss", TWINS, ids=lambda loss: loss.__name__)
def test_a_weighted_loss_is_the_sum_of_its_rows(loss) -> None:
    outputs, targets, weights = drawn(1, 5, 3), drawn(2, 5, 3), drawn(3, 5).abs()
    rows = [TWINS[loss](outputs[[i]].numpy(), targets[[i]].numpy()) for i in range(5)]
    wanted = sum(float(w) * row for w, row in zip(weights, rows, strict=True)) / 5
    assert float(loss(outputs, targets, weights)) == pytest.approx(wanted)
    alike = loss(outputs, targets, torch.ones(5, dtype=torch.float64))
    assert float(alike) == pytest.approx(float(loss(outputs, targets)))


def test_a_face_is_found_by_its_id_and_strangers_weigh_one() -> None:
    weights = FaceWeights(np.array([50, 7, 30]), np.array([5.0, 0.7, 3.0]))
    assert weights(torch.tensor([30, 8, 7, 99, 50])).tolist() == pytest.approx([3, 1, 0.7, 1, 5])
    assert not weights.state_dict()


def test_an_objective_weighs_what_pulls_and_leaves_pairs(params: Params) -> None:
    ids = torch.tensor([1, 2, 3, 4])
    weights = FaceWeights(ids.numpy(), np.array([0.0, 0.0, 0.0, 4.0]))
    raw = {params.teacher: drawn(2, 4, 6).float()}
    supervision = Supervision(raw, torch.full((4,), -1), 0, ids)
    outputs = drawn(1, 4, 6).float()
    targets = {params.teacher: Target(torch.zeros(6), 1.0)}

    def value(loss: str, weights: FaceWeights | None) -> float:
        wanted = with_train(params, loss=Losses.parsed(loss, "loss"))
        made = make_objective(wanted, targets, num_identities=0, face_weights=weights)
        return float(made(outputs, supervision))

    (target,) = raw.values()
    last = slow.mse(outputs[3:].numpy(), target[3:].numpy())
    assert value("standardised-mse", weights) == pytest.approx(last, rel=1e-5)
    assert value("relational", weights) == value("relational", None)


class TestOfARun:
    @pytest.fixture
    def wanted(self, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
        monkeypatch.chdir(tmp_path)
        make_round("pool", 60, seed=1)
        make_round("mined-1", 30, seed=2)
        small = replace(params.train.student, input_size=32, width=0.125)
        runs = {"start": Run(64, 1.0, 0.0)}
        wanted = with_train(
            params, student=small, batch=16, leave_out=(), runs=runs, face_weights={"pool": FILE}
        )
        self.write_table()
        return replace(wanted, teacher="toy")

    def write_table(self, step: float = 1.0, **changes: object) -> None:
        recipe, faces = open_faces("pool")
        assert recipe is not None
        quality = np.where(faces.ok(), np.arange(60) * step, np.nan).astype(np.float32)
        made = QualityTable(recipe.face_id, quality, "r", "a", "b", "paper", faces.root)
        replace(made, **changes).write(Path(FILE))  # type: ignore[arg-type]

    def plan(self, wanted: Params) -> Supervised:
        return open_plan("start", ["pool", "mined-1"], None, wanted)

    def test_only_the_named_rounds_faces_are_weighed(self, wanted: Params) -> None:
        plan = self.plan(wanted)
        weights = plan.face_weights
        assert weights is not None
        usable = plan.sources[0].usable
        found = weights(torch.from_numpy(plan.sources[0].face_ids[usable]))
        expected = (usable - usable.min()) / (usable - usable.min()).mean()
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        mined = torch.from_numpy(LatentManifest.read(manifest("mined-1")).face_id.copy())
        assert (weights(mined) == 1).all()

    def test_the_run_depends_on_the_table(self, wanted: Params) -> None:
        before = self.plan(wanted)
        assert FILE in before.stores
        self.write_table(step=2.0)
        assert self.plan(wanted).work != before.work
        assert FILE not in self.plan(with_train(wanted, face_weights={})).stores

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"faces_root": "12" * 32}, r"qualities of faces 121212121212, at hand are"),
            ({"face_id": np.arange(60)}, r"pool\.parquet: names other faces than data/pool"),
            ({"quality": np.full(60, np.nan, np.float32)}, r"row \d+ is a usable face without"),
        ],
    )
    def test_a_table_of_others_is_refused(
        self, wanted: Params, changes: dict[str, object], message: str
    ) -> None:
        self.write_table(**changes)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=message):
            _ = self.plan(wanted).stores

    def test_there_must_be_something_to_weigh(self, wanted: Params) -> None:
        pairs = with_train(wanted, loss=Losses.parsed("relational", "loss"))
        with pytest.raises(InputError, match=r"face_weights: train\.loss has no term that pulls"):
            self.plan(pairs)

    def test_an_unknown_round_is_named(self, wanted: Params) -> None:
        odd = with_train(wanted, face_weights={"people": FILE})
        with pytest.raises(InputError, match=r"unknown round in train\.face_weights 'people'"):
            check_round_weights(odd, ["pool"])
