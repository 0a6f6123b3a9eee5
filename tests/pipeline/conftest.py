"""Real photographs, real backends, and rounds that are rendered and embedded once."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch
from PIL import Image

from manifests.building.ledger import LedgerLine
from manifests.building.writing import Task
from manifests.core import layout
from manifests.core.files import write_json
from manifests.records.gaps import GapTable
from manifests.settings.params import Params, PriorRound, load_params
from pipeline.aligners import load_aligner
from pipeline.aligners.base import Aligner
from pipeline.arrays.numerics import in_fixed_batches
from pipeline.building.shards import ShardJob
from pipeline.building.workers import Workers
from pipeline.embed import EmbedJob, embed_round
from pipeline.generators import load_generator
from pipeline.generators.base import Generator
from pipeline.render import RenderJob, render_round
from pipeline.sample import sample_prior, save
from pipeline.teachers import load_teacher
from pipeline.teachers.base import Teacher
from tests.conftest import ROOT, lay_out
from tests.pipeline.mining.toys import SMALL, STUDENT, hard_gaps
from tests.stylegans import RADIAL, SMALL2, SMALL3, network_of, write_pickle

POOL_ROWS, PROBE_ROWS = 72, 40
LONG_ROWS, LONG_SHARD = 200, 128  # two shards of two chunks
SHARD_ROWS, SHARDED_ROWS = 64, 150  # three shards


class Interrupted(Exception):
    """What a test stops a build with."""


@pytest.fixture
def faiss_threads() -> Iterator[None]:
    """Gives the number of threads back that a test changes."""
    before = faiss.omp_get_max_threads()
    yield
    faiss.omp_set_num_threads(before)


@pytest.fixture
def torch_threads() -> Iterator[None]:
    """The same of torch's."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def aligner(weights: Path) -> Aligner:
    """The one of params.yaml."""
    return load_aligner(load_params(ROOT / "params.yaml").aligner, weights)


@pytest.fixture(scope="session")
def dcgan(weights: Path) -> Generator:
    return load_generator("dcgan-digiface", weights)


@pytest.fixture(scope="session")
def dlib_resnet(weights: Path) -> Teacher:
    return load_teacher("dlib-resnet", weights)


@pytest.fixture(scope="session")
def photographs(weights: Path) -> list[np.ndarray]:
    """Twelve people of ORL at three times their 92x112 pixels, RGB."""
    paths = [weights / f"orl/s{person}/1.pgm" for person in range(1, 13)]
    pictures = [Image.open(path).convert("RGB").resize((276, 336)) for path in paths]
    return [np.array(picture) for picture in pictures]


@pytest.fixture(scope="session")
def generated(dcgan: Generator) -> torch.Tensor:
    """Forty pictures by the default generator."""
    z = np.random.default_rng(0).standard_normal((40, dcgan.prior_width), np.float32)
    latents = in_fixed_batches(dcgan.map, torch.from_numpy(z))
    return in_fixed_batches(dcgan.render, latents)


def exact(root: Path) -> Path:
    """The same folder, in which teachers embed in float32 on every machine."""
    params = root / "params.yaml"
    text = params.read_text(encoding="utf-8")
    assert "embed:\n  precision: auto" in text
    params.write_text(text.replace("embed:\n  precision: auto", "embed:\n  precision: float32"))
    return root


@pytest.fixture(scope="session")
def rounds_once(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    """Rounds pool and probe, rendered and embedded by the real parts; not to be changed."""
    root = exact(lay_out(tmp_path_factory.mktemp("rounds"), weights))
    with contextlib.chdir(root):
        params = load_params()
        for name, prior in (
            ("pool", PriorRound(POOL_ROWS, 1)),
            ("probe", PriorRound(PROBE_ROWS, 2)),
        ):
            save(sample_prior(name, prior, params))
            render_round(name, params, workers=Workers(1))
            embed_round(name, params.teacher, params, workers=Workers(1))
    return root


@pytest.fixture
def rounds(rounds_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of both rounds, scratch folders included; it is the current folder."""
    copy = tmp_path / "rounds"
    shutil.copytree(rounds_once, copy, symlinks=True)
    monkeypatch.chdir(copy)
    return copy


@contextlib.contextmanager
def shards_done(job: type, *, dies_at: int | None = None) -> Iterator[list[int]]:
    """Inside, the shards that jobs of this process finish are listed; one may be fatal."""
    done: list[int] = []
    call = ShardJob.__call__

    def recorded(self: ShardJob, task: Task) -> LedgerLine:
        if not isinstance(self.job, job):
            return call(self, task)
        if task.shard == dies_at:
            raise Interrupted
        line = call(self, task)
        done.append(task.shard)
        return line

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ShardJob, "__call__", recorded)
        yield done


@dataclass(frozen=True)
class LongRound:
    """One round built twice: with an interruption between its shards, and at one go. (What worker
    processes write, test_workers compares.) `resumed`: shards done after the interruption, by
    stage."""

    interrupted: Path
    at_once: Path
    resumed: dict[str, list[int]]


@pytest.fixture(scope="session")
def long_round(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> LongRound:
    folders = [tmp_path_factory.mktemp(name) for name in ("interrupted", "at_once")]
    roots = [exact(lay_out(folder, weights)) for folder in folders]
    params = small_shards(load_params(roots[0] / "params.yaml"), LONG_SHARD)
    resumed = {}
    for root in roots:
        with contextlib.chdir(root):
            save(sample_prior("pool", PriorRound(LONG_ROWS, 3), params))
    with contextlib.chdir(roots[0]):
        for stage, job in (("render", RenderJob), ("embed", EmbedJob)):
            with shards_done(job, dies_at=1), pytest.raises(Interrupted):
                build(stage, params, workers=Workers(1))
            with shards_done(job) as resumed[stage]:
                build(stage, params, workers=Workers(1))
    with contextlib.chdir(roots[1]):
        build("render", params, workers=Workers(1))
        build("embed", params, workers=Workers(1))
    return LongRound(*roots, resumed)


def few_found(params: Params) -> Params:
    """Small crops, and so strict an aligner that few faces are left to embed."""
    strict = replace(params.render, frame_size=64, detect_threshold=0.958, retries=())
    return replace(params, render=strict)


def build(stage: str, params: Params, *, workers: Workers) -> None:
    if stage == "render":
        render_round("pool", params, workers=workers)
    else:
        embed_round("pool", params.teacher, params, workers=workers)


def small_shards(params: Params, rows: int = SHARD_ROWS) -> Params:
    """Few faces found, and shards of one chunk or so."""
    params = few_found(params)
    return replace(params, render=replace(params.render, shard_rows=rows))


@pytest.fixture(scope="session")
def sharded_once(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    """Round pool of three small shards, rendered and embedded; not to be changed."""
    root = exact(lay_out(tmp_path_factory.mktemp("sharded"), weights))
    with contextlib.chdir(root):
        params = small_shards(load_params())
        save(sample_prior("pool", PriorRound(SHARDED_ROWS, 5), params))
        build("render", params, workers=Workers(1))
        build("embed", params, workers=Workers(1))
    return root


@pytest.fixture
def sharded(sharded_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """A copy of that round without scratch folders, as the current folder; its parameters."""
    copy = tmp_path / "sharded"
    shutil.copytree(sharded_once, copy, symlinks=True, ignore=shutil.ignore_patterns(".work"))
    monkeypatch.chdir(copy)
    return small_shards(load_params())


@pytest.fixture
def mining(rounds: Path) -> Params:
    """Parameters for mining rounds of so few faces."""
    return replace(load_params(), mine=SMALL)


@pytest.fixture
def gaps(mining: Params) -> dict[str, GapTable]:
    """Gap tables of a run `start`, and the log that names its student."""
    tables = {name: hard_gaps(name, mining) for name in ("pool", "probe")}
    for name, table in tables.items():
        table.write(layout.gap_table("start", name))
    write_json(layout.run("start") / "log.json", {"student": {"sha256": STUDENT}})
    return tables


@pytest.fixture(scope="session")
def style2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An official StyleGAN2 file with random weights."""
    path = tmp_path_factory.mktemp("style2") / "small-2.pkl"
    return write_pickle(path, network_of(2, SMALL2), SMALL2)


@pytest.fixture(scope="session")
def style3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An official StyleGAN3-R file with random weights."""
    path = tmp_path_factory.mktemp("style3") / "small-3.pkl"
    given = SMALL3 | RADIAL | {"img_resolution": 16, "channel_max": 4}
    return write_pickle(path, network_of(3, given), given)
