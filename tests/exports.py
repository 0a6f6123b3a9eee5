"""Runs to export, and records of exports that were never made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from manifests.core.digests import sha256_text
from manifests.records.exports import (
    FLOAT,
    INT8,
    WEIGHTS,
    Export,
    FileFacts,
    Int8Cost,
    Parity,
    StoreFacts,
    StudentFacts,
    Training,
)
from manifests.settings.params import Params, load_params
from manifests.settings.training import Run
from tests.conftest import ROOT
from tests.toys import make_round
from train.engine.supervised import open_plan
from train.engine.trainer import train_run

RUN = Path("runs/start")
WEIGHTS_SHA256 = "5a" * 32
RENDERED = StoreFacts(
    "data/pool/faces.zarr", "ab" * 32, "toy-generator", "cd" * 32, 150, 120, 0,
    {"toy-generator": "CC0-1.0"},
)  # fmt: skip
EMBEDDED = StoreFacts(
    "data/pool/teachers/toy.zarr", "ef" * 32, "toy-teacher", "01" * 32, 150, 120, None,
    {"toy-teacher": "research only"},
)  # fmt: skip


def small_params() -> Params:
    """Those of the repository, for twelve steps of a small student on the rounds of tests/toys."""
    params = load_params(ROOT / "params.yaml")
    small = replace(params.train.student, name="small-resnet", width=0.25, input_size=32)
    run = Run(faces_seen=16 * 12, rate_from=1.0, rate_to=0.1)
    train = replace(
        params.train, student=small, batch=16, pool_rows=64, warmup_faces=32, leave_out=(),
        runs={RUN.name: run},
    )  # fmt: skip
    return replace(params, teacher="toy", train=train)


def make_trained_run() -> None:
    """runs/start, trained for real on a pool; and a probe. Below the current folder."""
    make_round("pool", 150, seed=1)
    make_round("probe", 80, seed=2)
    train_run(open_plan(RUN.name, ["pool"], None, small_params()), RUN)


def toy_export(folder: Path, **changes: Any) -> Export:
    """A record with the files that it names, which hold a few letters."""
    files = {}
    for name in (WEIGHTS, FLOAT, INT8):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
        files[name] = FileFacts(sha256_text(name), len(name))
    export = Export(
        run="start",
        pixels="float32",
        opset=20,
        student=StudentFacts(
            "small-resnet", 32, 0.25, 16, "arcface112", "cosine", "plain+flip", "0" * 64,
            "unknown", 4321, WEIGHTS_SHA256, 98_765, 1_234_567,
        ),
        training=Training(("pool",), 120, None, 4.5, "2.13.0", {"loss": "standardised-mse"}),
        stores=(RENDERED, EMBEDDED),
        files=files,
        parity=Parity({"1 x 32 x 32": 1.25e-7, "7 x 112 x 112": 2e-6, "2 x 32 x 32": 0.0}, 1e-4),
        int8=Int8Cost(
            "static", {RENDERED.path: 100}, "data/probe/faces.zarr", "23" * 32, 64, 0.99951,
            0.99802, 0.99705,
        ),
        versions={"onnx": "1.23"},
    )  # fmt: skip
    export = replace(export, **changes)
    export.write(folder)
    return export
