"""An online run goes on where it stopped, says what it was made with, and serves as any other."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from eval.suites.trained_on import faces_of_run
from manifests.cards.model import ModelCard
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.core.layout import POOL, PROBE
from manifests.model_card import MARKDOWN
from manifests.records.exports import Export
from manifests.settings.objectives import Losses, Tuition
from manifests.settings.params import Params, PriorRound, load_params
from manifests.settings.presets import merged
from manifests.settings.training import Run
from pipeline.building.workers import Workers
from pipeline.embed import embed_round
from pipeline.render import render_round
from pipeline.sample import sample_prior, save
from tests.flow import run_stage
from tests.stylegans import LICENCE
from tests.train.sampling.toys import BATCH, OUT, RUN, STEPS, online_params, plan_of
from tests.train.toys import interrupted
from train.checkpoint import LOG, load_student
from train.engine import trainer
from train.engine.supervised import open_plan
from train.engine.trainer import train_run
from train.exporting.request import open_request
from train.sampling.faces import FreshFaces
from train.sampling.plan import CENTRE_FILE, check_asked, open_online


def trained(params: Params, out: Path = OUT) -> str:
    train_run(plan_of(params), out)
    return load_student(out).sha256


def params_in_z() -> Params:
    """Of the default generator, some of whose moved latents show no face."""
    params = online_params()
    train = replace(params.train, runs={RUN: Run(4 * BATCH, 1.0, 1.0)})
    return replace(params, generator="dcgan-digiface", latent_space="z", train=train)


@pytest.mark.parametrize("stopped", [3, 4])
def test_stopped_between_any_two_steps_it_goes_on_to_the_same_bits(
    workspace: Path, stopped: int
) -> None:
    params = online_params(mirrored=stopped == 4)
    with interrupted(trainer, "train_steps", stopped):
        trained(params)
    assert not OUT.exists()
    stopped_once, history = trained(params), read_json(OUT / LOG)["history"]
    shutil.rmtree(layout.WORK)
    assert trained(params, Path("runs/whole")) == stopped_once
    assert read_json(Path("runs/whole") / LOG)["history"] == history
    assert len(history) == STEPS


def test_in_z_it_goes_on_too(workspace: Path) -> None:
    params = params_in_z()
    with interrupted(trainer, "train_steps", 1):
        trained(params)
    stopped_once = trained(params)
    shutil.rmtree(layout.WORK)
    assert trained(params, Path("runs/whole")) == stopped_once


def test_the_teachers_mean_is_that_of_faces_of_their_own(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = online_params()
    plan = plan_of(params)
    target = plan.target
    latents = np.concatenate([plan.studio.draw((plan.seed, 2, chunk)) for chunk in range(2)])[:100]
    wanted = plan.studio.make(latents).targets[:, 0].astype(np.float64)
    np.testing.assert_allclose(target.centre, wanted.mean(axis=0), atol=1e-6)
    assert target.spread == pytest.approx((wanted - wanted.mean(axis=0)).std())
    monkeypatch.setattr(FreshFaces, "take", None)  # found once
    assert plan_of(params).target.spread == target.spread


def test_other_draws_are_another_run(workspace: Path) -> None:
    params = online_params()
    one = plan_of(params)
    for changes in (
        {"psi": 0.7}, {"online": replace(params.online, coefficient=0.5)},
        {"latent_space": "w+"}, {"render": replace(params.render, frame_size=48)},
        {"train": replace(params.train, seed=1)},
    ):  # fmt: skip
        assert plan_of(replace(params, **changes)).digest != one.digest, changes
    idle = replace(params.train, pool_rows=1, leave_out=(), readers=5)
    assert plan_of(replace(params, train=idle)).digest == one.digest


@pytest.mark.parametrize(
    ("train", "run", "what"),
    [
        ({"loss": Losses.parsed(["mse", "arcface"], "")}, {}, "a loss of identities"),
        ({"teachers": {"a": Tuition()}}, {}, "train.teachers"),
        ({"snapshots": ("a",)}, {}, "train.snapshots"),
        ({"adaptor": "a"}, {}, "train.adaptor"),
        ({"face_weights": {"pool": "a"}}, {}, "train.face_weights"),
        ({}, {"faces_seen": BATCH - 1}, "faces_seen 11 is less than one batch of 12"),
    ],
)
def test_what_forgotten_faces_cannot_give_is_refused(
    workspace: Path, train: Mapping[str, Any], run: Mapping[str, Any], what: str
) -> None:
    params = online_params()
    own = replace(params.train, **train)
    own = replace(own, runs={RUN: replace(own.runs[RUN], **run)})
    with pytest.raises(InputError, match=f"run loop: {what}"):
        check_asked(RUN, replace(params, train=own))


def test_a_width_of_its_own_is_refused(workspace: Path) -> None:
    params = online_params()
    with pytest.raises(InputError, match=r"embedding_width: 64, but dlib-resnet.*has 128"):
        open_online(RUN, replace(params, train=replace(params.train, embedding_width=64)))


def write_params() -> None:
    """What `online_params` says, as a user with StyleGAN's weights would write it."""
    online_params()
    preset = yaml.safe_load(Path("params/synthdistill.yaml").read_text(encoding="utf-8"))
    values = merged(yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8")), preset)
    own = {
        "generator": "stylegan2:small.pkl",
        "render": {"frame_size": 32},
        "sample": {"probe": {"count": 64}},
        "online": {"centre_faces": 64},
        "train": {
            "student": {"input_size": 32, "width": 0.25},
            "batch": BATCH,
            "runs": {RUN: {"faces_seen": 4 * BATCH}},
        },
    }
    Path("params.yaml").write_text(yaml.safe_dump(merged(values, own)), encoding="utf-8")


def test_the_preset_s_loop_in_w_is_exported_measured_and_told(
    workspace: Path, pairs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a user with FFHQ's weights types, on a StyleGAN of random ones."""
    write_params()
    run_stage("train.online", [RUN])
    said = capsys.readouterr().out
    assert "runs/loop: tinyfar-c" in said and "48 faces seen of 48 (made meanwhile)" in said
    assert {path.name for path in OUT.iterdir()} == {"student.safetensors", LOG, CENTRE_FILE}
    assert not list(Path("data").glob("*/faces.zarr"))
    card, log = load_student(OUT).card, read_json(OUT / LOG)
    assert (card.stores, card.faces_seen, card.aligner) == ("{}", 48, "")
    assert card.training.endswith("never stored (SynthDistill's loop)")
    made_with = json.loads(card.made_with)
    assert log["made_with"] == made_with and log["rounds"] == []
    assert [(own["role"], own["name"]) for own in made_with] == [
        ("generator", "small"), ("teacher", "dlib-resnet"),
    ]  # fmt: skip
    assert log["params"]["online"]["dynamic"] and log["params"]["loss"]["terms"][0]["name"] == "mse"

    counted = faces_of_run(OUT)
    assert (counted.synthetic_used, counted.photographs, counted.identities) == (48, 0, None)

    run_stage("train.export", [RUN, "--int8", "none"])
    export = Export.read(layout.export(RUN))
    told = ModelCard(export, None, ())
    assert told.only_rendered and dict(told.licences)["small"] == LICENCE
    assert [line.split()[0] for line in (*told.generators, *told.teachers)] == [
        "small", "dlib-resnet",
    ]  # fmt: skip
    text = (layout.export(RUN) / MARKDOWN).read_text(encoding="utf-8")
    assert "every face that it was trained on was rendered" in text.lower()
    assert "none: no face was stored" in text

    params = load_params()
    for name in (POOL, PROBE):  # a gap is to the teacher's embeddings less their mean on the pool
        save(sample_prior(name, PriorRound(8, 2), params))
        render_round(name, params, workers=Workers(1))
        embed_round(name, params.teacher, params, workers=Workers(1))
    run_stage("eval.gap", [RUN, "--rounds", "probe"])
    assert 0 < read_json(layout.gap_report(RUN))["probe"]["mean"] < 2
    run_stage("eval.verify", ["--model", RUN, "--benchmark", pairs, "--out", "verified"])
    assert 0 <= read_json(Path("verified/metrics.json"))["accuracy"] <= 1


def test_8_bits_have_nothing_to_be_calibrated_on_and_nobody_goes_on(workspace: Path) -> None:
    params = online_params()
    trained(params)
    with pytest.raises(InputError, match=r"were never stored.*--int8 dynamic or none"):
        open_request(OUT, "float32", "static")
    runs = {**params.train.runs, "more": Run(64, 1.0, 0.0)}
    more = replace(params, train=replace(params.train, runs=runs))
    with pytest.raises(InputError, match="trained on faces that were never stored"):
        open_plan("more", ["pool"], RUN, more)


def test_the_command_refuses_what_it_does_not_know(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["online", "absent"])
    with pytest.raises(InputError, match="absent"):
        run_stage("train.online", ["absent"])
