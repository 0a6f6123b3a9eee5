"""Does mining earn its keep? Every law against as many faces of the prior
-> docs/results/mining.json. (The online loop is held against stored faces by
tests.experiments.online.)

    python -m tests.experiments.mining --pairs DIR      beside a finished `make repro`

All arms go on from the run `start` with the same steps, batches of the same seed and the same
number of new latents. `none` sees no new face; `oracle` has the hardest of more prior faces than
it is allowed, once they are rendered, embedded and measured: no law can know more. An arm that
has a result is kept, so that the experiment can be interrupted.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from eval.gap import measure
from manifests.core import layout
from manifests.core.errors import Parser, run_command
from manifests.core.files import write_json
from manifests.core.layout import IDENTITIES, POOL, PROBE
from manifests.settings.params import Params, PriorRound, load_params
from manifests.settings.training import Run
from manifests.stores.reading import FaceStore
from manifests.stores.rounds import open_round
from pipeline.building.workers import num_cores
from pipeline.mine import load_round, mine, mine_round
from pipeline.mining.mining_laws import LAWS, PRIOR
from pipeline.mining.regions import HARDNESS
from pipeline.sample import sample_prior, save
from tests.experiments.arms import ARM, RESULTS, START, make, measure_arm, train_on, workplace
from tests.experiments.tables import differences, read_results, rows
from train.batching.sources import open_source
from train.engine.supervised import open_plan
from train.engine.trainer import train_run

NONE, ORACLE = "none", "oracle"
ORACLE_SEEDS = 1000  # its prior is no other arm's
CANDIDATES = 2.5  # of the oracle, in the latents of an arm
SCRATCH = layout.WORK / "experiments" / "mining"
MEASURES = {"gap": "probe_gap", "hard_gap": "probe_gap_hard", "rest_gap": "probe_gap_rest"}


@dataclass(frozen=True)
class Settings:
    latents: int  # new ones, of each arm
    faces_seen: int
    seeds: tuple[int, ...]
    arms: tuple[str, ...]

    @property
    def results(self) -> Path:
        """Of exactly this budget: an arm of another one is no result."""
        return RESULTS / f"{self.latents}-latents-{self.faces_seen}-seen"


def hard_faces(params: Params) -> np.ndarray:
    """Which of the probe's faces lie in regions that are hard for the student of `start`."""
    centre = open_round(POOL, params.teacher).teacher.centre()
    pool, probe = (load_round(name, START, params, centre) for name in (POOL, PROBE))
    found = mine(pool, probe, params)
    hard = [region.region for region in found.regions if region.hard]
    return np.isin(found.probe_home, hard)


def arm_params(params: Params, arm: str, seed: int, settings: Settings) -> Params:
    """The shipped parameters but for law, seeds, count and no prior faces among the mined."""
    mine = replace(
        params.mine, law=arm if arm in LAWS else PRIOR, count=settings.latents, seed=seed,
        prior_share=0.0, region_cap=1.0,
    )  # fmt: skip
    run = Run(settings.faces_seen, 0.5, 0.0)
    train = replace(params.train, seed=seed, runs={**params.train.runs, ARM: run})
    return replace(params, mine=mine, train=train)


def train_arm(arm: str, seed: int, params: Params, settings: Settings) -> tuple[Path, int]:
    """The folder of the arm's student, and its number of new usable faces."""
    output, name = layout.run(f"{arm}-{seed}"), f"{arm}-{seed}"
    if arm == NONE:
        train_on(output, params)
        return output, 0
    if arm == ORACLE:
        return output, train_oracle(output, name, seed, params, settings)
    if arm == PRIOR:
        save(sample_prior(name, PriorRound(settings.latents, seed), params))
    else:
        mine_round(name, START, params)
    make(name, params)
    train_run(open_plan(ARM, [IDENTITIES, name], START, params), output)
    return output, FaceStore.open(layout.faces(name)).passport.num_ok


def train_oracle(output: Path, name: str, seed: int, params: Params, settings: Settings) -> int:
    """As many of the hardest faces of a larger prior round as an arm has; returns their number."""
    rows = PriorRound(round(settings.latents * CANDIDATES), seed + ORACLE_SEEDS)
    save(sample_prior(name, rows, params))
    make(name, params)
    files = open_round(name, params.teacher)
    _, tables = measure(START, [name], params)
    usable = np.flatnonzero(files.faces.ok())
    order = np.argsort(-HARDNESS["gap"](tables[name]), kind="stable")
    wanted = round(len(usable) / CANDIDATES)
    source = open_source(
        files.faces, {params.teacher: files.teacher}, usable[order[wanted:]], files.manifest
    )
    train_on(output, params, [source])
    return wanted


def run_arms(params: Params, settings: Settings, benchmarks: dict[str, str]) -> None:
    """Trains and measures every arm that has no result yet, one seed after the other."""
    settings.results.mkdir(parents=True, exist_ok=True)
    for seed in settings.seeds:
        for arm in settings.arms:
            done = settings.results / f"{arm}-{seed}.npz"
            if done.exists():
                continue
            print(f"{arm}, seed {seed}", flush=True)
            own = arm_params(params, arm, seed, settings)
            folder, num_new = train_arm(arm, seed, own, settings)
            found = measure_arm(folder, params, benchmarks)
            np.savez(done, **{"gap": found.gap, "num_new": np.array(num_new), **found.correct})


def main() -> None:
    parser = Parser(description="Laws of mining against the prior.")
    parser.add_argument("--pairs", help="a folder of photographs with pairs.csv")
    parser.add_argument("--latents", type=int, default=8192)
    parser.add_argument("--faces-seen", type=int, default=24000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--arms", nargs="+", default=[PRIOR, *LAWS, NONE, ORACLE])
    parser.add_argument("--out", type=Path, default=Path("docs/results/mining.json"))
    args = parser.parse_args()
    settings = Settings(args.latents, args.faces_seen, tuple(args.seeds), tuple(args.arms))
    params, out = load_params(), args.out.absolute()
    benchmarks = {"orl": "orl"}
    if args.pairs:
        benchmarks["lfw_dev"] = f"pairs:{Path(args.pairs).absolute()}"
    with workplace(SCRATCH):
        run_arms(params, settings, benchmarks)
        hard = hard_faces(params)
        results = read_results(settings.results)
    for result in results.values():
        result["hard_gap"], result["rest_gap"] = result["gap"][hard], result["gap"][~hard]
    measures = {**MEASURES, **{name: name for name in benchmarks}}
    table = {
        "machine": {"cpus": num_cores(), "threads": torch.get_num_threads()},
        "settings": asdict(settings),
        "arms": rows(results, measures, "law", steps=settings.faces_seen // params.train.batch),
        "difference_to_prior": differences(results, PRIOR, settings.seeds, measures),
    }
    write_json(out, table)


if __name__ == "__main__":
    run_command(main)
