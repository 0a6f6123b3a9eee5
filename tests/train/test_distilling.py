"""Multi-step distillation, MST-KD's adaptor and a margin beside a teacher, from end to end on the
embedded parts: real faces of the generator, the real teacher, networks that are trained here."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manifests.core import layout
from manifests.core.files import read_json
from manifests.core.layout import IDENTITIES, POOL
from manifests.settings.params import Params, PriorRound, load_params
from manifests.settings.training import Student
from manifests.stores.latents import Recipe, build
from manifests.stores.reading import TeacherStore
from pipeline.building.workers import Workers
from pipeline.embed import embed_round
from pipeline.generators import load_generator
from pipeline.render import render_round
from pipeline.sample import sample_prior, save
from tests.conftest import lay_out
from tests.experiments import objectives
from tests.experiments.objectives import Settings
from train.checkpoint import LOG, load_student

PEOPLE, EACH, OTHERS = 8, 7, 24
SETTINGS = Settings(
    epochs=2,
    parts=2,
    faces_seen=128,
    teacher=Student("iresnet-18", input_size=32, width=0.25),
    student=Student("small-resnet", input_size=32, width=0.25),
    embedding_width=24,
    learning_rate=2e-3,
)


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


def check_trained(folders: dict[str, Path], but: str) -> None:
    """All arms ended with a student of their own, whose loss is finite."""
    students = {name: load_student(folder).sha256 for name, folder in folders.items()}
    assert len(set(students.values())) == len(students)
    for name, folder in folders.items():
        losses = [line["loss"] for line in read_json(folder / LOG)["history"]]
        assert losses and np.isfinite(losses).all(), name
        assert name.startswith(but) or load_student(folder).card.name == "small-resnet"


def test_each_epoch_is_taught_by_the_snapshot_of_its_own(params: Params) -> None:
    folders = objectives.multi_step(params, SETTINGS)
    check_trained(folders, but="teacher")
    stores = [
        TeacherStore.open(layout.teacher(IDENTITIES, f"tutor-{epoch:03d}")) for epoch in range(2)
    ]
    assert not np.array_equal(stores[0].embeddings(), stores[1].embeddings(), equal_nan=True)
    assert stores[0].width == load_student(folders["multi-step"]).card.embedding_width == 24
    card = load_student(folders["multi-step"]).card
    assert all(store.root in card.stores for store in stores)


def test_specialists_are_fused_by_an_adaptor(params: Params) -> None:
    folders = objectives.mst_kd(params, replace(SETTINGS, epochs=1))
    check_trained(folders, but="specialist")
    fused = read_json(layout.run("adaptor") / LOG)
    assert fused["num_identities"] == PEOPLE
    assert fused["teachers"] == ["specialist-0-000", "specialist-1-000"]
    assert "runs/adaptor/adaptor.safetensors" in load_student(folders["fused"]).card.stores


def test_a_margin_stands_beside_a_teacher(params: Params) -> None:
    check_trained(objectives.margin(params, SETTINGS), but="-")
