"""What does who finds the faces do to the student? -> docs/results/aligners-students.json.

    python -m tests.experiments.aligners --pairs DIR [--arms NAME …] [--seeds 1 …]

Beside a finished `make repro`. Every arm renders the same latents of pool and probe, and finds the
faces by an aligner of its own; a student sees as many faces of the pool by each, and photographs
are aligned for it, and for the teacher, by the same aligner. An arm that has a result is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eval.alignment import alignment_by
from eval.benchmarks import open_benchmark
from eval.photos.models import load_model
from eval.photos.verification import verify_models
from eval.scoring.folds import insightface_accuracy
from manifests.core import layout
from manifests.core.errors import Parser, pick, run_command
from manifests.core.files import write_json
from manifests.core.layout import POOL, PROBE
from manifests.settings.params import Params, load_params
from manifests.settings.training import Run
from manifests.stores.passport import Passport
from pipeline.building.workers import num_cores
from tests.experiments.arms import ARM, RESULTS, make, workplace
from tests.experiments.tables import differences, over_seeds, read_results, rows
from train.engine.supervised import open_plan
from train.engine.trainer import train_run

SCRATCH = layout.WORK / "experiments" / "aligners"
SHARED = (
    "data/weights", "manifests/rounds/pool.parquet", "manifests/rounds/probe.parquet",
    "manifests/benchmarks", "params.yaml",
)  # fmt: skip
CONTROL = "dlib"  # as the default run was before it could be chosen
ARMS: Mapping[str, Mapping[str, Any]] = {
    CONTROL: {"detect_size": 112, "detect_threshold": -0.4, "retries": ()},
    "yunet": {},
    "yunet-onet": {},
}
FACES_SEEN = 120_000


def params_of(aligner: str, seed: int, params: Params) -> Params:
    """The shipped recipe on the pool alone, to the end of its rate."""
    runs = {ARM: Run(FACES_SEEN, 1.0, 0.0)}
    return replace(
        params,
        aligner=aligner,
        render=replace(params.render, **ARMS[aligner]),
        train=replace(params.train, runs=runs, seed=seed),
    )


def trained(aligner: str, seed: int, params: Params) -> None:
    """The student of an arm and seed, where it is not there yet."""
    folder, own = layout.run(f"{ARM}-{seed}"), params_of(aligner, seed, params)
    if not folder.exists():
        print(f"{aligner}, seed {seed}", flush=True)
        train_run(open_plan(ARM, [POOL], None, own), folder)


def measured(model: str, aligner: str, benchmarks: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Which pairs a model calls rightly, by benchmark; each fold by a threshold of the others."""
    found, alignment = {}, alignment_by(aligner)
    for name, text in benchmarks.items():
        protocol = open_benchmark(text, alignment)
        (done,) = verify_models([load_model(model, layout.WEIGHTS)], protocol)
        pairs = done.pairs
        figures = insightface_accuracy(pairs.score, pairs.same, pairs.fold, done.metrics["metric"])
        found[name] = figures.correct
    return found


def run_arm(aligner: str, seeds: list[int], params: Params, benchmarks: Mapping[str, str]) -> None:
    """Stores, students and results of one aligner, in a workplace of its own."""
    with workplace(SCRATCH / aligner, SHARED):
        RESULTS.mkdir(exist_ok=True)
        own = params_of(aligner, 0, params)
        for name in (POOL, PROBE):
            make(name, own)
        usable = Passport.read(layout.faces(POOL)).num_ok
        models = {f"student-{seed}": layout.run(f"{ARM}-{seed}").as_posix() for seed in seeds}
        models["teacher-0"] = f"teacher:{params.teacher_text(params.teacher)}"
        for seed in seeds:
            trained(aligner, seed, params)
        for key, model in models.items():
            path = RESULTS / f"{key}.npz"
            if not path.exists():
                np.savez(path, num_new=np.array(usable), **measured(model, aligner, benchmarks))


def tabled(arms: list[str], seeds: list[int], benchmarks: Mapping[str, str]) -> dict[str, Any]:
    """Students and teacher by arm, and every arm less the control."""
    table: dict[str, Any] = {"machine": {"cpus": num_cores(), "threads": torch.get_num_threads()}}
    measures = {name: name for name in benchmarks}
    for role, own in (("student", seeds), ("teacher", [0])):
        results = {
            f"{arm}-{key.rpartition('-')[2]}": result
            for arm in arms
            for key, result in read_results(SCRATCH / arm / RESULTS).items()
            if key.startswith(role)
        }
        table[role] = {
            "by_aligner": rows(results, measures, "aligner", faces_seen=FACES_SEEN),
            "over_seeds": over_seeds(results, measures),
            f"difference_to_{CONTROL}": differences(results, CONTROL, own, measures),
        }
    return table


def main() -> None:
    parser = Parser(description="Students of the same latents, whose faces others found.")
    parser.add_argument("--pairs", required=True, help="a folder of photographs with pairs.csv")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=Path("docs/results/aligners-students.json"))
    args = parser.parse_args()
    for name in args.arms:
        pick("arm", name, ARMS)
    params = load_params()
    benchmarks = {"orl": "orl", "lfw_dev": f"pairs:{Path(args.pairs).absolute()}"}
    for aligner in args.arms:
        run_arm(aligner, args.seeds, params, benchmarks)
    write_json(args.out, tabled(args.arms, args.seeds, benchmarks))


if __name__ == "__main__":
    run_command(main)
