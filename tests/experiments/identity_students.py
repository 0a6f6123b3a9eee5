"""Do identities teach a student more than other faces? -> docs/results/identity-students.json.

    python -m tests.experiments.identity_students --pairs DIR     beside a finished `make repro`

Two arms, from nothing, with the steps of `train.runs.start` and a rate that falls to zero: the
pool with the identities round, and the pool with as many more latents of the prior. (A student
taken at half the rate is a noisy one: two seeds then differ by more than the arms.) An arm that
has a result is kept, so that the experiment can be interrupted.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from manifests.core import layout
from manifests.core.errors import Parser, run_command
from manifests.core.files import write_json
from manifests.core.layout import IDENTITIES, POOL
from manifests.settings.params import Params, PriorRound, load_params
from manifests.stores.reading import FaceStore
from pipeline.building.workers import num_cores
from pipeline.mining.mining_laws import PRIOR
from pipeline.sample import sample_prior, save
from tests.experiments.arms import ARM, RESULTS, START, make, measure_arm, workplace
from tests.experiments.tables import differences, read_results, rows
from train.engine.supervised import open_plan
from train.engine.trainer import train_run

PRIOR_SEEDS = 2000  # no other round's
SCRATCH = layout.WORK / "experiments" / "identity-students"
MEASURES = {"gap": "probe_gap"}


def train_arm(arm: str, seed: int, params: Params) -> tuple[Path, int]:
    """The folder of the arm's student, and its number of usable faces beside the pool's."""
    name, output = IDENTITIES, layout.run(f"{arm}-{seed}")
    if arm == PRIOR:
        name = f"{PRIOR}-{seed}"
        latents = len(FaceStore.open(layout.faces(IDENTITIES)))
        save(sample_prior(name, PriorRound(latents, PRIOR_SEEDS + seed), params))
        make(name, params)
    train_run(open_plan(ARM, [POOL, name], None, params), output)
    return output, FaceStore.open(layout.faces(name)).passport.num_ok


def seeded(params: Params, seed: int, faces_seen: int) -> Params:
    """The steps of `start` to the end, as a run whose name both arms share."""
    run = replace(params.train.runs[START], faces_seen=faces_seen, rate_to=0.0)
    runs = {**params.train.runs, ARM: run}
    return replace(params, train=replace(params.train, seed=seed, runs=runs))


def main() -> None:
    parser = Parser(description="A student with identities against one with more of the prior.")
    parser.add_argument("--pairs", help="a folder of photographs with pairs.csv")
    parser.add_argument("--faces-seen", type=int, help="by default those of train.runs.start")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    out = Path("docs/results/identity-students.json")
    parser.add_argument("--out", type=Path, default=out)
    args = parser.parse_args()
    params, out = load_params(), args.out.absolute()
    faces_seen = args.faces_seen or params.train.runs[START].faces_seen
    benchmarks = {"orl": "orl"}
    if args.pairs:
        benchmarks["lfw_dev"] = f"pairs:{Path(args.pairs).absolute()}"
    with workplace(SCRATCH):
        RESULTS.mkdir(exist_ok=True)
        for seed in args.seeds:
            for arm in (PRIOR, IDENTITIES):
                done = RESULTS / f"{arm}-{seed}.npz"
                if done.exists():
                    continue
                print(f"{arm}, seed {seed}", flush=True)
                folder, num_new = train_arm(arm, seed, seeded(params, seed, faces_seen))
                found = measure_arm(folder, params, benchmarks)
                np.savez(done, **{"gap": found.gap, "num_new": np.array(num_new), **found.correct})
        results = read_results(RESULTS)
    measures = {**MEASURES, **{name: name for name in benchmarks}}
    table = {
        "machine": {"cpus": num_cores(), "threads": torch.get_num_threads()},
        "faces_seen": faces_seen,
        "arms": rows(results, measures, "faces_of"),
        "difference_to_prior": differences(results, PRIOR, args.seeds, measures),
    }
    write_json(out, table)


if __name__ == "__main__":
    run_command(main)
