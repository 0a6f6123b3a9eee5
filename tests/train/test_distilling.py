"""The studies multi-step and mst-kd, and a margin beside a teacher, from end to end on the
embedded parts: real faces of the generator, the real teacher, networks that are trained here."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manifests.core import layout
from manifests.core.files import read_json
from manifests.core.layout import IDENTITIES, POOL
from manifests.settings.params import Params, PriorRound, load_params
from manifests.settings.study import load_study
from manifests.settings.training import Student
from manifests.stores.latents import Recipe, build
from manifests.stores.reading import TeacherStore
from manifests.studies import mst_kd, multi_step
from pipeline.building.workers import Workers
from pipeline.embed import embed_round, teachers_in
from pipeline.generators import load_generator
from pipeline.render import render_round
from pipeline.sample import sample_prior, save
from tests.conftest import lay_out
from tests.experiments import objectives
from tests.experiments.objectives import Settings
from train.checkpoint import LOG, load_student
from train.studies.mst_kd import train as train_mst_kd
from train.studies.multi_step import train as train_multi_step
from train.studies.multi_step.lessons import train_lessons

PEOPLE, EACH, OTHERS = 8, 7, 24
SETTINGS = Settings(
    faces_seen=128, student=Student("small-resnet", input_size=32, width=0.25), learning_rate=2e-3
)


def small(study: Any, epochs: int, **changes: Any) -> Any:
    """On these few faces, for one seed."""
    recipe = replace(study.recipe, epochs=epochs, batch=16, embedding_width=24, leave_out=())
    networks = {"teacher": SETTINGS.student, "student": SETTINGS.student}
    return replace(study, recipe=recipe, seeds=(1,), **networks, **changes)


def sample_people(params: Params) -> None:
    """Latents around some of the prior's: people for whom no boundary had to be found."""
    generator = load_generator(params.generator, layout.WEIGHTS)
    recipe = Recipe(IDENTITIES, params.generator, generator.weights_sha256, generator.latent_width)
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((PEOPLE, 1, recipe.latent_width))
    latents = centres + 0.3 * rng.standard_normal((PEOPLE, EACH, recipe.latent_width))
    rows = latents.reshape(-1, recipe.latent_width).astype(np.float32)
    people = np.repeat(np.arange(PEOPLE), EACH)
    save(build(recipe, rows, origin="boundary", key="people", identity_id=people))


@pytest.fixture(scope="module")
def rounds_once(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    root = lay_out(tmp_path_factory.mktemp("people"), weights)
    with contextlib.chdir(root):
        params = load_params()
        save(sample_prior(POOL, PriorRound(OTHERS, 1), params))
        sample_people(params)
        for name in (POOL, IDENTITIES):
            render_round(name, params, workers=Workers(1))
            embed_round(name, params.teacher, params, workers=Workers(1))
    return root


@pytest.fixture
def params(rounds_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """A checkout with both rounds; it is the current folder."""
    copy = tmp_path / "checkout"
    shutil.copytree(rounds_once, copy, symlinks=True)
    monkeypatch.chdir(copy)
    params = load_params()
    train = replace(params.train, batch=16, pool_rows=64, warmup_faces=16, leave_out=())
    return replace(params, train=train, fuse=replace(params.fuse, epochs=3, learning_rate=0.02))


def check_trained(folders: dict[str, Path]) -> None:
    """All arms ended with a student of their own, whose loss is finite."""
    students = {name: load_student(folder).sha256 for name, folder in folders.items()}
    assert len(set(students.values())) == len(students)
    for name, folder in folders.items():
        losses = [line["loss"] for line in read_json(folder / LOG)["history"]]
        assert losses and np.isfinite(losses).all(), name


def embed_all(name: str, params: Params) -> None:
    """As the stage between a study's teachers and its students."""
    files = layout.trained_teachers(f"studies/{name}") / "1"
    for text in teachers_in(f"onnx:{files}"):
        embed_round(
            IDENTITIES, text, params, workers=Workers(1), into=layout.study_data(name) / "1"
        )


def test_each_epoch_is_taught_by_the_snapshot_of_its_own(params: Params) -> None:
    study = small(load_study("multi-step", multi_step.Study), 2)
    train_multi_step.teach(1, params, study)
    embed_all("multi-step", params)
    lessons = train_multi_step.lessons_of(study)
    train_lessons("multi-step", lessons, 1, params, study)
    check_trained({own.arm: own.folder("multi-step", 1) for own in lessons})
    folder = layout.study_data("multi-step") / "1" / IDENTITIES
    stores = [TeacherStore.open(folder / f"teacher-{epoch:03d}.zarr") for epoch in range(2)]
    assert not np.array_equal(stores[0].embeddings(), stores[1].embeddings(), equal_nan=True)
    card = load_student(layout.study_run("multi-step", "students/1/multi-step")).card
    assert all(store.root in card.stores for store in stores)
    single = load_student(layout.study_run("multi-step", "students/1/single-step")).card
    assert stores[1].root in single.stores and stores[0].root not in single.stores


def test_specialists_and_their_control_are_fused(params: Params) -> None:
    study = small(load_study("mst-kd", mst_kd.Study), 1, groups=mst_kd.Groups("region", 2))
    train_mst_kd.teach(1, params, study)
    embed_all("mst-kd", params)
    adaptors = train_mst_kd.fuse_all(1, params, study)
    lessons = train_mst_kd.lessons_of(study, adaptors)
    train_lessons("mst-kd", lessons, 1, params, study)
    check_trained({own.arm: own.folder("mst-kd", 1) for own in lessons})
    for kind in ("balanced", "specialised"):
        fused = read_json(adaptors[kind] / LOG)
        assert fused["num_identities"] == PEOPLE
        assert fused["teachers"] == [f"{kind}-0", f"{kind}-1"]
        logs = [
            read_json(layout.study_run("mst-kd", f"teachers/1/{kind}-{part}") / LOG)
            for part in range(2)
        ]
        rounds = [log["params"]["chosen"]["rounds"][IDENTITIES] for log in logs]
        assert [own["identities"] for own in rounds] == [PEOPLE / 2, PEOPLE / 2]
        assert logs[0]["params"]["chosen"] != logs[1]["params"]["chosen"]
    card = load_student(layout.study_run("mst-kd", "students/1/specialised-kd")).card
    assert f"{adaptors['specialised'].as_posix()}/adaptor.safetensors" in card.stores


def test_a_margin_stands_beside_a_teacher(params: Params) -> None:
    check_trained(objectives.margin(params, SETTINGS))
