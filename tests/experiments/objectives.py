"""Objectives with several parts, for real: multi-step distillation, MST-KD's adaptor, a margin
beside a teacher -> docs/results/objectives.json.

    python -m tests.experiments.objectives multi-step    beside a finished `make repro`
    python -m tests.experiments.objectives mst-kd
    python -m tests.experiments.objectives margin [--pairs DIR]

The teachers of the first two are small IResNets that are trained here, on the round identities
alone: a run of E epochs gives E snapshots, disjoint parts of the identities give specialists. They
prove mechanics, not accuracy. What is trained or embedded already is kept.
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
from manifests.settings.objectives import IdentityPart, Losses, Tuition
from manifests.settings.params import Params, load_params
from manifests.settings.training import Run, Student
from manifests.stores.reading import TeacherStore
from pipeline.building.workers import Workers, num_cores
from pipeline.embed import embed_round
from tests.experiments.arms import workplace
from train.batching.sources import num_usable
from train.checkpoint import LOG
from train.engine.supervised import open_plan
from train.engine.trainer import train_run
from train.fuse import fuse
from train.snapshots import export_snapshots

SCRATCH = layout.WORK / "experiments" / "objectives"
SHARED = (
    "data/weights", "data/pool", "data/identities/faces.zarr", "data/identities/marks",
    "data/identities/teachers/dlib-resnet.zarr", "manifests/rounds/pool.parquet",
    "manifests/rounds/identities.parquet", "manifests/benchmarks", "params.yaml",
)  # fmt: skip
ARCFACE, ELASTIC = {"name": "arcface"}, {"name": "elastic-arcface"}
LIGHT_EKD = {"name": "ekd", "positive_weight": 6e-4, "negative_weight": 3e-4}  # 3 % of EKD's own
POCKETNET = {"name": "unit-mse", "convention": "pocketnet", "centred": False}
MST_KD = {"name": "unit-mse", "convention": "kd-fairness", "centred": False}
TEACHER = Student("iresnet-18", input_size=64, width=0.25)
STUDENT = Student("small-resnet", input_size=64, width=0.5)
EMBEDDING_WIDTH = 128
ADAPTOR = "adaptor"


@dataclass(frozen=True)
class Settings:
    epochs: int  # of teachers, and of students on the round identities
    parts: int  # disjoint groups of identities: one specialist each
    faces_seen: int  # of students on the pool and the identities
    teacher: Student
    student: Student
    embedding_width: int  # of the teachers that are trained here
    learning_rate: float  # the default's is twice as high, and not every seed of ArcFace bears it


def whole_epochs(params: Params, settings: Settings, part: IdentityPart | None = None) -> Run:
    """A run over the round identities, or a part of them: its epochs, and the rest of a batch."""
    batch = params.train.batch
    one = asked(params, settings, "cosine", Run(batch, 1.0, 0.0, part))
    faces = num_usable(open_plan("count", [IDENTITIES], None, one).sources) * settings.epochs
    return Run(-(-faces // batch) * batch, 1.0, 0.0, part)


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


def teach(
    name: str, params: Params, settings: Settings, part: IdentityPart | None = None
) -> tuple[str, ...]:
    """Trains a teacher on identities, and embeds them with every snapshot, or with the last one
    where it is a specialist; the stores' names."""
    run = whole_epochs(params, settings, part)
    own = asked(
        params, settings, ARCFACE, run, name,
        student=settings.teacher, embedding_width=settings.embedding_width,
        engine=replace(params.train.engine, keep_epochs=True),
        warmup_faces=min(params.train.warmup_faces, run.faces_seen // 4),
    )  # fmt: skip
    folder, last = trained(name, [IDENTITIES], own), part is not None
    files = export_snapshots(folder, layout.trained_teachers(name), last=last)
    for path in files:
        embed_round(IDENTITIES, f"onnx:{path}", params, workers=Workers(1))
    return tuple(path.stem for path in files)


def multi_step(params: Params, settings: Settings) -> dict[str, Path]:
    """PocketNet: a margin alone, beside the last snapshot, beside each epoch's own."""
    snapshots = teach("tutor", params, settings)
    run = whole_epochs(params, settings)
    both, width = [ARCFACE, POCKETNET], settings.embedding_width
    arms: Mapping[str, Any] = {
        "margin-alone": {"loss": ARCFACE, "embedding_width": width},
        "last-snapshot": {"loss": both, "teachers": {snapshots[-1]: Tuition()}},
        "multi-step": {"loss": both, "snapshots": snapshots},
    }
    folders = {"teacher": layout.run("tutor")}
    for name, arm in arms.items():
        own = asked(params, settings, run=run, name=name, **arm)
        folders[name] = trained(name, [IDENTITIES], own)
    return folders


def mst_kd(params: Params, settings: Settings) -> dict[str, Path]:
    """MST-KD: specialists of disjoint identities; one of them, all by projections, all fused."""
    names = [f"specialist-{part}" for part in range(settings.parts)]
    teachers = {
        snapshot: Tuition()
        for part, name in enumerate(names)
        for snapshot in teach(name, params, settings, IdentityPart(part, settings.parts))
    }
    own = replace(params, fuse=replace(params.fuse, embedding_width=settings.embedding_width))
    fuse(ADAPTOR, list(teachers), [IDENTITIES], own, layout.run(ADAPTOR))
    run = whole_epochs(params, settings)
    share = {name: Tuition(1 / settings.parts, projection=True) for name in teachers}
    arms: Mapping[str, Any] = {
        "one-specialist": {"loss": MST_KD, "teachers": dict(list(teachers.items())[:1])},
        "projections": {"loss": MST_KD, "teachers": share},
        "fused": {"loss": MST_KD, "teachers": teachers, "adaptor": ADAPTOR},
        "fused-and-margin": {
            "loss": [ELASTIC, MST_KD], "teachers": teachers, "adaptor": ADAPTOR,
        },
    }  # fmt: skip
    folders = {name: layout.run(name) for name in names}
    for name, arm in arms.items():
        folders[name] = trained(name, [IDENTITIES], asked(own, settings, run=run, name=name, **arm))
    return folders


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


PARTS = {"multi-step": multi_step, "mst-kd": mst_kd, "margin": margin}


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
    parser = Parser(description="Multi-step distillation, MST-KD and margins, for real.")
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--pairs", help="a folder of photographs with pairs.csv")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--parts", type=int, default=4)
    parser.add_argument("--faces-seen", type=int, default=48000)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--out", type=Path, default=Path("docs/results/objectives.json"))
    args = parser.parse_args()
    params, out = load_params(), args.out.absolute()
    settings = Settings(
        args.epochs, args.parts, args.faces_seen, TEACHER, STUDENT, EMBEDDING_WIDTH,
        args.learning_rate,
    )  # fmt: skip
    benchmarks = {"orl": "orl"}
    if args.pairs:
        benchmarks["pairs"] = f"pairs:{Path(args.pairs).absolute()}"
    begun = time.perf_counter()
    with workplace(SCRATCH, SHARED):
        folders = PARTS[args.part](params, settings)
        arms = {name: measured(folder, benchmarks) for name, folder in folders.items()}
    machine = {"cpus": num_cores(), "threads": torch.get_num_threads()}
    table = {"machine": machine, "settings": asdict(settings), "arms": arms}
    table["seconds"] = round(time.perf_counter() - begun)
    write_json(out, (read_json(out) if out.exists() else {}) | {args.part: table})


if __name__ == "__main__":
    run_command(main)
