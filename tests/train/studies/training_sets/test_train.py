"""Students of the study training-sets: equal faces and steps, taught or by a margin."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.settings.objectives import Losses
from manifests.settings.params import Params, load_params
from manifests.settings.study import load_study
from manifests.studies.training_sets import NAME, Study, TrainingSet, check_study, run_of
from tests.study_students import lay_out_params
from tests.toys import EMBEDDING_WIDTH, make_round
from train.checkpoint import DISTILLED, LABELLED, LOG, load_student
from train.studies.training_sets.train import open_run, train_set

SETS = {
    "drawn": TrainingSet(("pool",)),
    "people": TrainingSet(("identities", "more"), before="drawn"),
}


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        lay_out_params()
        make_round("pool", 60, seed=1)
        for seed, name in enumerate(("identities", "more"), 2):
            make_round(name, 60, seed=seed, failed=0.0, identity_id=np.arange(60) // 10)
        make_round("people", 40, seed=9, real_faces="volunteers")
    return root


@pytest.fixture
def params(rounds: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(rounds)
    found = load_params()
    return replace(found, teacher="toy", train=replace(found.train, pool_rows=64))


@pytest.fixture
def study(params: Params) -> Study:
    found = load_study(NAME, Study)
    recipe = replace(
        found.recipe, faces_seen=16 * 4, batch=16, warmup_faces=32,
        embedding_width=EMBEDDING_WIDTH, leave_out=(),
    )  # fmt: skip
    small = replace(found.student, input_size=16, width=0.125)
    return replace(found, sets=SETS, faces=40, student=small, recipe=recipe, seeds=(1, 2))


def losses(text: str) -> Losses:
    return Losses.parsed(text, "loss")


def test_every_set_gives_equally_many_faces_to_every_seed(params: Params, study: Study) -> None:
    plans = {(name, seed): open_run(name, seed, params, study) for name in SETS for seed in (1, 2)}
    for (name, _), plan in plans.items():
        counts = [len(source.usable) for source in plan.sources]
        assert sum(counts) == 40 and plan.num_steps == 4
        same = plans[name, 1].settings["chosen"]["rows_sha256"]
        assert plan.settings["chosen"]["rows_sha256"] == same
    centres = {plan.targets["toy"].centre.numpy().tobytes() for plan in plans.values()}
    assert len(centres) == 1  # the pool's, whatever the set


def test_a_student_says_what_it_was_trained_on(params: Params, study: Study) -> None:
    train_set("people", params, study)
    for seed in study.seeds:
        folder = layout.study_run(NAME, run_of("people", seed))
        card, log = load_student(folder).card, json.loads((folder / LOG).read_text())
        assert (card.training, card.faces_seen) == (DISTILLED, 64)
        assert {*json.loads(card.stores)} >= {"data/more/faces.zarr", "data/identities/faces.zarr"}
        counts = log["params"]["chosen"]["rounds"]
        assert sum(own["faces"] for own in counts.values()) == log["num_faces"] == 40


def test_by_a_margin_every_set_has_as_many_identities(params: Params, study: Study) -> None:
    margin = replace(study, loss=losses("elastic-arcface"), faces=40, identities=8)
    check_study(margin)
    plan = open_run("people", 1, params, margin)
    chosen = plan.settings["chosen"]["rounds"].values()
    assert sum(own["identities"] for own in chosen) == 8
    assert plan.how_trained == LABELLED and plan.embedding_width == EMBEDDING_WIDTH
    with pytest.raises(InputError, match=r"drawn \(pool\): 0 identities of at least 5 .* 8 are"):
        open_run("drawn", 1, params, margin)


def test_photographs_of_people_are_no_training_set(params: Params, study: Study) -> None:
    people = replace(study, sets={**SETS, "real": TrainingSet(("people",))}, faces=20)
    with pytest.raises(InputError, match="round people: photographs of real people"):
        open_run("real", 1, params, people)


def test_another_study_of_these_parameters_has_runs_of_its_own(
    params: Params, study: Study
) -> None:
    assert open_run("drawn", 1, params, study, "exfacegan").name == "studies/exfacegan/drawn/1"
    with pytest.raises(InputError, match=r"studies/exfacegan\.yaml: sets: drawn \(pool\): "):
        open_run("drawn", 1, params, replace(study, faces=99), "exfacegan")
