"""A small run: a round of toy faces below the current folder, and parameters of seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from subprocess import PIPE
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import pytest
import yaml

from manifests.core import layout
from manifests.settings.objectives import Losses
from manifests.settings.params import Params, load_params
from manifests.settings.presets import merged
from manifests.settings.training import MinedRun, Run
from manifests.stores.passport import Fingerprint
from manifests.stores.reading import FaceStore
from tests.conftest import ROOT
from tests.toys import PASSPORT, make_round, toy_teacher

OUT = Path("runs/start")
STEPS, LONGER = 10, 40


def small_params() -> Params:
    """Of ten steps on round `pool`, which is made here."""
    params = load_params(ROOT / "params.yaml")
    make_round("pool", 150, seed=1)
    small = replace(params.train.student, name="small-resnet", width=0.25, input_size=32)
    run = Run(faces_seen=16 * STEPS, rate_from=1.0, rate_to=0.1)
    engine = replace(params.train.engine, precision="float32")  # on any machine
    train = replace(
        params.train, student=small, engine=engine, batch=16, pool_rows=64, warmup_faces=32,
        checkpoint_faces=32, runs={"start": run}, leave_out=(),
    )  # fmt: skip
    mined = {"mined-1": MinedRun("start", 16 * STEPS, 1.0, 0.1)}
    return replace(params, teacher="toy", train=train, mined=mined, report="mined-1")


@contextmanager
def interrupted(module: ModuleType, steps: str, at: int) -> Iterator[None]:
    """The user stops a run in here: `module.steps` yields `at` lines, and then Ctrl-C."""
    whole = getattr(module, steps)

    def stops(*args: Any, **kwargs: Any) -> Iterator[Any]:
        yield from islice(whole(*args, **kwargs), at)
        raise KeyboardInterrupt

    with mock.patch.object(module, steps, stops), pytest.raises(KeyboardInterrupt):
        yield


def with_train(params: Params, **changes: Any) -> Params:
    return replace(params, train=replace(params.train, **changes))


def with_engine(params: Params, **changes: Any) -> Params:
    return with_train(params, engine=replace(params.train.engine, **changes))


def asked(params: Params, loss: Any = "cosine", **train: Any) -> Params:
    """With another loss, as params.yaml would say it."""
    return with_train(params, loss=Losses.parsed(loss, "loss"), **train)


def add_teacher(round: str, name: str, width: int, *, views: int = 2, version: str = "1") -> None:
    """Embeddings of another width beside those of `toy`."""
    faces = FaceStore.open(layout.faces(round))
    rng = np.random.default_rng(len(name) + width)
    rows = rng.standard_normal((len(faces), views, width)).astype(np.float32)
    rows[~faces.ok()] = np.nan
    made_by = Fingerprint({"name": name, "version": version}, {"batch": 64})
    passport = replace(PASSPORT, round=round, fingerprint=made_by)
    toy_teacher(layout.teacher(round, name), rows, faces_root=faces.root, passport=passport)


def write_params(own: Mapping[str, Any] | None = None, **engine: Any) -> None:
    """params.yaml of a run `start` of so many steps, for commands of their own; `own`: of `train`,
    beside."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    train = {
        "student": {"name": "small-resnet", "width": 0.25, "input_size": 32},
        "engine": {"precision": "float32", **engine},
        "batch": 16, "pool_rows": 64, "warmup_faces": 32, "checkpoint_faces": 64,
        "runs": {"start": {"faces_seen": 16 * LONGER}}, "leave_out": [],
        **(own or {}),
    }  # fmt: skip
    text = yaml.safe_dump(merged(values, {"teacher": "toy", "device": "cpu", "train": train}))
    Path("params.yaml").write_text(text, encoding="utf-8")


def reseeded() -> Params:
    """Those of params.yaml with another seed."""
    params = load_params()
    return with_train(params, seed=params.train.seed + 1)


def start(*launcher: str, threads: str = "1") -> subprocess.Popen[str]:
    """The command that trains `start`, in the current folder, so many threads a process."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": threads}
    command = [sys.executable, "-m", *launcher, "train.train", "start", "--rounds", "pool"]
    return subprocess.Popen(command, env=env, text=True, stdout=PIPE, stderr=PIPE)
