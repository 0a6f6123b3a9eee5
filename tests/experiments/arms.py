"""What the arms of an experiment share: a workplace beside the default run, stores, students."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.benchmarks import open_benchmark
from eval.gap import measure
from eval.photos.models import load_model
from eval.photos.verification import verify_models
from eval.scoring.folds import insightface_accuracy
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.layout import IDENTITIES, POOL, PROBE
from manifests.settings.params import Params
from pipeline.building.workers import Workers
from pipeline.embed import embed_round
from pipeline.mining.regions import HARDNESS
from pipeline.render import render_round
from pipeline.screen import screen_round
from train.batching.sources import Source, open_sources
from train.checkpoint import load_student
from train.engine.supervised import Supervised
from train.engine.trainer import train_run
from train.losses.objectives import teachers_of

START = "start"  # the run that every arm goes on from
ARM = "arm"  # the run of every arm: a run's name seeds its order and noise, which arms share
SHARED = (
    "data/weights", "data/pool", "data/probe", "data/identities", "data/gaps/start", "runs/start",
    "manifests/rounds/pool.parquet", "manifests/rounds/probe.parquet",
    "manifests/rounds/identities.parquet", "manifests/benchmarks", "params.yaml",
)  # fmt: skip
RESULTS = Path("results")


@contextmanager
def workplace(folder: Path, shared: Sequence[str] = SHARED) -> Iterator[None]:
    """A folder of its own that sees the default run's stores, and leaves them as they are."""
    root = Path.cwd()
    for name in shared:
        if not (root / name).exists():
            raise InputError(f"{name}: missing; run `make repro` first")
        link = folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(root / name)
    with chdir(folder):
        yield


def make(name: str, params: Params) -> None:
    """The stores and marks of a round whose manifest is there."""
    render_round(name, params, workers=Workers(1))
    embed_round(name, params.teacher, params, workers=Workers(1))
    screen_round(name, [], params)


def train_on(output: Path, params: Params, more: Sequence[Source] = ()) -> None:
    """Goes on from the start on its own stores, the identities, and more."""
    after = load_student(layout.run(START))
    sources, marks = open_sources(
        [POOL, IDENTITIES], teachers_of(params), params, json.loads(after.card.stores)
    )
    both = [*sources, *more]
    train_run(Supervised(ARM, params, both, len(more) or len(both), after, marks), output)


@dataclass(frozen=True)
class Outcome:
    """What one arm's student does, by face of the probe and by pair of each benchmark."""

    gap: np.ndarray
    correct: dict[str, np.ndarray]


def measure_arm(folder: Path, params: Params, benchmarks: dict[str, str]) -> Outcome:
    """`benchmarks`: {name: what open_benchmark takes}."""
    _, tables = measure(folder.name, [PROBE], params)
    model = load_model(folder.as_posix(), layout.WEIGHTS)
    correct = {}
    for name, text in benchmarks.items():
        (done,) = verify_models([model], open_benchmark(text))
        pairs = done.pairs
        found = insightface_accuracy(pairs.score, pairs.same, pairs.fold, model.metric)
        correct[name] = found.correct
    return Outcome(HARDNESS["gap"](tables[PROBE]), correct)
