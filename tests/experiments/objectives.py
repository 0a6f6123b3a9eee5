"""A margin beside a teacher, for real -> docs/results/objectives.json.

    python -m tests.experiments.objectives [--pairs DIR]    beside a finished `make repro`

What is trained already is kept. Multi-step distillation and MST-KD are studies (docs/STUDIES.md).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from eval.benchmarks import open_benchmark
from eval.photos.models import load_model
from eval.photos.verification import verify_models
from manifests.core import layout
from manifests.core.errors import Parser, run_command
from manifests.core.files import read_json, write_json
from manifests.core.layout import IDENTITIES, POOL
from manifests.settings.objectives import Losses
from manifests.settings.params import Params, load_params
from manifests.settings.training import Run, Student
from manifests.stores.reading import TeacherStore
from pipeline.building.workers import num_cores
from tests.experiments.arms import workplace
from train.checkpoint import LOG
from train.engine.supervised import open_plan
from train.engine.trainer import train_run

SCRATCH = layout.WORK / "experiments" / "objectives"
SHARED = (
    "data/weights", "data/pool", "data/identities/faces.zarr", "data/identities/marks",
    "data/identities/teachers/dlib-resnet.zarr", "manifests/rounds/pool.parquet",
    "manifests/rounds/identities.parquet", "manifests/benchmarks", "params.yaml",
)  # fmt: skip
ELASTIC = {"name": "elastic-arcface"}
LIGHT_EKD = {"name": "ekd", "positive_weight": 6e-4, "negative_weight": 3e-4}  # 3 % of EKD's own
STUDENT = Student("small-resnet", input_size=64, width=0.5)


@dataclass(frozen=True)
class Settings:
    faces_seen: int
    student: Student
    learning_rate: float  # the default's is twice as high, and not every seed of ArcFace bears it


def asked(
    params: Params, settings: Settings, loss: Any, run: Run, name: str = "count", **train: Any
) -> Params:
    """The shipped parameters with this loss, and one run."""
    losses = Losses.parsed(loss, "loss")
    wanted = {
        "student": settings.student,
        "loss": losses,
        "runs": {name: run},
        "learning_rate": settings.learning_rate,
        **train,
    }
    return replace(params, train=replace(params.train, **wanted))


def trained(name: str, rounds: Sequence[str], params: Params) -> Path:
    """The folder of a run, which is trained or found finished."""
    train_run(open_plan(name, rounds, None, params), layout.run(name))
    return layout.run(name)


def margin(params: Params, settings: Settings) -> dict[str, Path]:
    """The default teacher alone, a margin alone, and both, on faces with and without identity."""
    run = Run(settings.faces_seen, 1.0, 0.0)
    width = TeacherStore.open(layout.teacher(POOL, params.teacher)).width
    arms: Mapping[str, Any] = {
        "teacher": {"loss": "standardised-mse"},
        "margin": {"loss": ELASTIC, "embedding_width": width},
        "teacher-and-margin": {"loss": ["standardised-mse", {**ELASTIC, "weight": 0.01}]},
        "teacher-and-ekd": {"loss": ["standardised-mse", "ekd"]},
        "teacher-and-light-ekd": {"loss": ["standardised-mse", LIGHT_EKD]},
    }
    return {
        name: trained(name, [POOL, IDENTITIES], asked(params, settings, run=run, name=name, **arm))
        for name, arm in arms.items()
    }


def measured(folder: Path, benchmarks: Mapping[str, str]) -> dict[str, Any]:
    """A student's log in short, and its accuracy on photographs."""
    log = read_json(folder / LOG)
    found: dict[str, Any] = {
        "faces_seen": log["student"]["faces_seen"],
        "train_seconds": log["train_seconds"],
        "num_params": log["student"]["num_params"],
        "first_loss": log["history"][0]["loss"],
        "last_loss": log["history"][-1]["loss"],
    }
    model = load_model(folder.as_posix(), layout.WEIGHTS)
    for name, text in benchmarks.items():
        (done,) = verify_models([model], open_benchmark(text))
        found[name] = {key: done.metrics[key] for key in ("accuracy", "accuracy_ci95", "eer")}
    return found


def main() -> None:
    parser = Parser(description="Margins beside a teacher, for real.")
    parser.add_argument("--pairs", help="a folder of photographs with pairs.csv")
    parser.add_argument("--faces-seen", type=int, default=48000)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--out", type=Path, default=Path("docs/results/objectives.json"))
    args = parser.parse_args()
    params, out = load_params(), args.out.absolute()
    settings = Settings(args.faces_seen, STUDENT, args.learning_rate)
    benchmarks = {"orl": "orl"}
    if args.pairs:
        benchmarks["pairs"] = f"pairs:{Path(args.pairs).absolute()}"
    begun = time.perf_counter()
    with workplace(SCRATCH, SHARED):
        folders = margin(params, settings)
        arms = {name: measured(folder, benchmarks) for name, folder in folders.items()}
    machine = {"cpus": num_cores(), "threads": torch.get_num_threads()}
    table = {"machine": machine, "settings": asdict(settings), "arms": arms}
    table["seconds"] = round(time.perf_counter() - begun)
    write_json(out, (read_json(out) if out.exists() else {}) | {"margin": table})


if __name__ == "__main__":
    run_command(main)
