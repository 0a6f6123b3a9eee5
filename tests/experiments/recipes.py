"""What makes the best student of at most a million parameters? -> docs/results/recipes.json.

    python -m tests.experiments.recipes --pairs DIR [--arms NAME …] [--seeds 1 …]

Beside a finished `make repro`. Every arm changes one thing of `base`: the student, at about the
same seconds of training; the loss; the number of distinct faces; of steps; the rate, the noise,
the arithmetic. The faces are the pool's and those of one more round of the prior, which the
experiment renders; no real one is among them. An arm that has a result is kept.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from manifests.core import layout
from manifests.core.errors import Parser, pick, run_command
from manifests.core.files import read_json, write_json
from manifests.core.layout import POOL
from manifests.settings.objectives import Losses
from manifests.settings.params import Params, PriorRound, load_params
from manifests.settings.training import Run, Student
from pipeline.building.workers import num_cores
from pipeline.sample import sample_prior, save
from tests.experiments.arms import ARM, RESULTS, make, measure_arm, workplace
from tests.experiments.tables import Results, differences, read_results, rows
from train.checkpoint import LOG
from train.engine.supervised import open_plan
from train.engine.trainer import train_run

SCRATCH = layout.WORK / "experiments" / "recipes"
MORE = "more"
PRIOR_SEED = 3000  # no other round's
BASE = "base"
STUDENT = Student("small-resnet", input_size=64, width=0.59)
FACES_SEEN = 120_000
STRONG = {"crop": 0.3, "hue": 0.2, "low_resolution": 0.3, "blur": 1.0}
NO_NOISE = dict.fromkeys(
    ("rotation", "zoom", "shift", "gamma", "contrast", "brightness", "tint", "grey"), 0.0
)


@dataclass(frozen=True)
class Arm:
    """What an arm has in place of the base's: fields of `train`, of its noise, of its engine."""

    faces_seen: int = FACES_SEEN
    rounds: Sequence[str] = (POOL, MORE)
    train: Mapping[str, Any] = field(default_factory=dict)
    noise: Mapping[str, float] = field(default_factory=dict)
    engine: Mapping[str, Any] = field(default_factory=dict)


def student(name: str, width: float, input_size: int = 64) -> dict[str, Student]:
    return {"student": Student(name, input_size, width)}


def loss(*parts: Any) -> dict[str, Losses]:
    return {"loss": Losses.parsed(list(parts), "loss")}


# Students of other names see as many faces as cost the base's seconds (docs/STUDENTS.md).
ARMS: Mapping[str, Arm] = {
    BASE: Arm(),
    "float32": Arm(engine={"precision": "float32"}),
    "edgeface-xxs": Arm(FACES_SEEN, train=student("edgeface-xxs", 0.91)),
    "tinyfar-c": Arm(FACES_SEEN * 4 // 5, train=student("tinyfar-c", 0.84)),
    "iresnet-18": Arm(FACES_SEEN // 2, train=student("iresnet-18", 0.25)),
    "input-96": Arm(FACES_SEEN * 4 // 9, train=student("small-resnet", 0.59, 96)),
    "half": Arm(FACES_SEEN * 3 // 2, train=student("small-resnet", 0.5)),
    "wide": Arm(FACES_SEEN * 2 // 5, train=student("small-resnet", 1.0)),
    "mse": Arm(train=loss("mse")),
    "cosine": Arm(train=loss("cosine")),
    "relational-too": Arm(train=loss("standardised-mse", "relational")),
    "pool-only": Arm(rounds=(POOL,)),
    "steps-third": Arm(FACES_SEEN // 3),
    "steps-3": Arm(FACES_SEEN * 3),
    "steps-3-pool-only": Arm(FACES_SEEN * 3, rounds=(POOL,)),
    "steps-3-strong-noise": Arm(FACES_SEEN * 3, noise=STRONG),
    "steps-3-input-96": Arm(FACES_SEEN * 4 // 3, train=student("small-resnet", 0.59, 96)),
    "steps-3-rate-half": Arm(FACES_SEEN * 3, train={"learning_rate": 1e-3}),
    "rate-half": Arm(train={"learning_rate": 1e-3}),
    "rate-double": Arm(train={"learning_rate": 4e-3}),
    "batch-128": Arm(train={"batch": 128}),
    "no-noise": Arm(noise=NO_NOISE),
    "strong-noise": Arm(noise=STRONG),
    "cosine-schedule": Arm(engine={"schedule": "cosine"}),
    "averaged": Arm(engine={"ema": 0.999}),
}


def params_of(arm: Arm, seed: int, params: Params) -> Params:
    """The shipped recipe for the base's student in bfloat16, to the end of its rate, changed."""
    train = params.train
    wanted = {
        "student": STUDENT,
        "noise": replace(train.noise, **arm.noise),
        "engine": replace(train.engine, **{"precision": "bfloat16", **arm.engine}),
        "runs": {ARM: Run(arm.faces_seen, 1.0, 0.0)},
        "seed": seed,
        **arm.train,
    }
    return replace(params, train=replace(train, **wanted))


def more_faces(latents: int, params: Params) -> None:
    """One more round of the prior with its stores; found where it was made before."""
    save(sample_prior(MORE, PriorRound(latents, PRIOR_SEED), params))
    make(MORE, params)


def measured(name: str, seed: int, params: Params, benchmarks: dict[str, str]) -> None:
    """Trains and measures an arm with a seed, where that has no result yet."""
    key, arm = f"{name}-{seed}", ARMS[name]
    if (RESULTS / f"{key}.npz").exists():
        return
    print(key, flush=True)
    folder, own = layout.run(key), params_of(arm, seed, params)
    train_run(open_plan(ARM, arm.rounds, None, own), folder)
    found, log = measure_arm(folder, own, benchmarks), read_json(folder / LOG)
    facts = {
        "num_new": arm.faces_seen,
        "num_params": log["student"]["num_params"],
        "seconds": log["train_seconds"],
    }
    arrays = {key: np.array(value) for key, value in facts.items()}
    np.savez(RESULTS / f"{key}.npz", **arrays, gap=found.gap, **found.correct)


def tabled(seeds: Sequence[int], latents: int, benchmarks: Mapping[str, str]) -> dict[str, Any]:
    results = read_results(RESULTS)
    measures = {"gap": "probe_gap", **{name: name for name in benchmarks}}
    cost = {
        name: {key: round(float(result[key])) for key in ("num_params", "seconds")}
        for name, result in results.items()
    }
    return {
        "machine": {"cpus": num_cores(), "threads": torch.get_num_threads()},
        "latents_of_more": latents,
        "cost": cost,
        "arms": rows(results, measures, "faces_seen_by"),
        "over_seeds": over_seeds(results, measures),
        "difference_to_base": differences(results, BASE, seeds, measures),
    }


def over_seeds(results: Results, measures: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Mean and standard deviation (n - 1) of the arms that have several seeds."""
    by_arm = defaultdict(list)
    for name, result in results.items():
        by_arm[name.rpartition("-")[0]].append(result)
    return {
        arm: {
            shown: mean_and_std([float(result[key].mean()) for result in found])
            for key, shown in measures.items()
        }
        for arm, found in by_arm.items()
        if len(found) > 1
    }


def mean_and_std(values: Sequence[float]) -> dict[str, Any]:
    return {
        "mean": round(float(np.mean(values)), 5),
        "std": round(float(np.std(values, ddof=1)), 5),
        "seeds": len(values),
    }


def main() -> None:
    parser = Parser(description="Students of at most a million parameters, one change at a time.")
    parser.add_argument("--pairs", required=True, help="a folder of photographs with pairs.csv")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--more", type=int, default=49152, help="latents of the other round")
    parser.add_argument("--out", type=Path, default=Path("docs/results/recipes.json"))
    args = parser.parse_args()
    params, out = load_params(), args.out.absolute()
    for name in args.arms:
        pick("arm", name, ARMS)
    benchmarks = {"orl": "orl", "lfw_dev": f"pairs:{Path(args.pairs).absolute()}"}
    begun = time.perf_counter()
    with workplace(SCRATCH):
        RESULTS.mkdir(exist_ok=True)
        more_faces(args.more, params)
        print(f"{args.more} more latents rendered in {time.perf_counter() - begun:.0f} s")
        for seed in args.seeds:
            for name in args.arms:
                measured(name, seed, params, benchmarks)
        table = tabled(args.seeds, args.more, benchmarks)
    write_json(out, table)


if __name__ == "__main__":
    run_command(main)
