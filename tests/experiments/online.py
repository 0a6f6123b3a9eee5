"""Is a face worth more where it is made for one step, as SynthDistill has it, than where it is
stored? -> docs/results/online.json.

    python -m tests.experiments.online      beside a finished `make repro`

Every arm begins with random weights and sees as many faces, by the recipe of params.yaml. `stored`
sees the pool, and `stored-quarter` so few of its faces that each is shown four times; `static` and
`dynamic` are `facestill online`, whose faces are its own and are forgotten. Seconds are processor
time of the training alone: of stored faces, the making is told apart. An arm that has a result is
kept.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from manifests.core import layout
from manifests.core.errors import Parser, run_command
from manifests.core.files import read_json, write_json
from manifests.core.layout import POOL
from manifests.settings.params import Params, load_params
from manifests.settings.training import Run
from pipeline.building.workers import num_cores
from tests.experiments.arms import RESULTS, measure_arm, workplace
from tests.experiments.tables import differences, over_seeds, read_results, rows
from train.batching.sources import Source, open_sources
from train.checkpoint import LOG
from train.engine.supervised import Supervised
from train.engine.trainer import train_run
from train.losses.objectives import teachers_of
from train.sampling.faces import FreshFaces, open_studio
from train.sampling.plan import open_online

STORED, QUARTER, STATIC, DYNAMIC = ARMS = ("stored", "stored-quarter", "static", "dynamic")
RUN, SCRATCH = "arm", layout.WORK / "experiments" / "online"
SHARED = (
    "data/weights", "data/pool", "data/probe", "manifests/rounds/pool.parquet",
    "manifests/rounds/probe.parquet", "params.yaml",
)  # fmt: skip
MEASURES = {"gap": "probe_gap", "seconds": "cpu_seconds"}
WARMUP = 8  # of the faces seen, the part in which the rate rises
TIMED = 512  # faces that the price of one is measured on


@dataclass(frozen=True)
class Settings:
    faces_seen: int
    seeds: tuple[int, ...]
    arms: tuple[str, ...]

    @property
    def results(self) -> Path:
        return RESULTS / f"{self.faces_seen}-seen"


def arm_params(params: Params, arm: str, seed: int, settings: Settings) -> Params:
    runs = {**params.train.runs, RUN: Run(settings.faces_seen, 1.0, 0.0)}
    warmup = settings.faces_seen // WARMUP
    train = replace(params.train, seed=seed, runs=runs, leave_out=(), warmup_faces=warmup)
    online = replace(params.online, dynamic=arm == DYNAMIC, mirrored=True, centre_faces=TIMED)
    return replace(params, train=train, online=online)


def stored(params: Params, count: int) -> Supervised:
    """On the first `count` usable faces of the pool: draws of the prior, in no order."""
    own = params.of_run(RUN)
    (pool,), marks = open_sources([POOL], teachers_of(own), own, {})
    some: Source = replace(pool, usable=pool.usable[:count])
    return Supervised(RUN, own, [some], 1, None, marks, chosen={"first_faces": count})


def train_arm(arm: str, seed: int, params: Params, settings: Settings) -> Path:
    output = layout.run(f"{arm}-{seed}")
    if arm in (STORED, QUARTER):
        share = 1 if arm == STORED else 4
        train_run(stored(params, settings.faces_seen // share), output)
    else:
        train_run(open_online(RUN, params), output)
    return output


def run_arms(params: Params, settings: Settings) -> None:
    settings.results.mkdir(parents=True, exist_ok=True)
    for seed in settings.seeds:
        for arm in settings.arms:
            done = settings.results / f"{arm}-{seed}.npz"
            if done.exists():
                continue
            print(f"{arm}, seed {seed}", flush=True)
            start = time.process_time()
            folder = train_arm(arm, seed, arm_params(params, arm, seed, settings), settings)
            seconds = np.array([time.process_time() - start])
            count = np.array(read_json(folder / LOG)["num_faces"])
            gap = measure_arm(folder, params, {}).gap
            np.savez(done, gap=gap, num_new=count, seconds=seconds)


def making_seconds(params: Params) -> float:
    """Processor time of one usable face, with both views of its embedding."""
    fresh = FreshFaces(open_studio(params, mirrored=True), (0, 0))
    fresh.take(TIMED // 8)
    start = time.process_time()
    fresh.take(TIMED)
    return (time.process_time() - start) / TIMED


def main() -> None:
    parser = Parser(description="The online loop against stored faces, at equal faces seen.")
    parser.add_argument("--faces-seen", type=int, default=6144)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--arms", nargs="+", default=list(ARMS))
    parser.add_argument("--out", type=Path, default=Path("docs/results/online.json"))
    args = parser.parse_args()
    settings = Settings(args.faces_seen, tuple(args.seeds), tuple(args.arms))
    params, out = load_params(), args.out.absolute()
    with workplace(SCRATCH, SHARED):
        run_arms(params, settings)
        results = read_results(settings.results)
        making = making_seconds(params)
    write_json(
        out,
        {
            "machine": {"cpus": num_cores(), "threads": torch.get_num_threads()},
            "settings": asdict(settings),
            "making_seconds_per_face": round(making, 5),
            "arms": rows(results, MEASURES, "arm"),
            "over_seeds": over_seeds(results, MEASURES),
            "difference_to_stored": differences(results, STORED, settings.seeds, MEASURES),
        },
    )


if __name__ == "__main__":
    run_command(main)
