"""Does mining earn its keep? Every law against as many faces of the prior, and against the
online loop -> docs/results/mining.json.

    python -m tests.experiments.mining --pairs DIR      beside a finished `make repro`

All arms go on from the run `start` with the same steps, batches of the same seed and the same
number of new latents; `none` sees no new face. An arm that is already in the result is kept, so
that the experiment can be interrupted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from eval.benchmarks import open_benchmark
from eval.benchmarks.base import Protocol
from eval.gap import measure
from eval.metrics import insightface_accuracy
from eval.models import load_model
from eval.verify import DETECT_THRESHOLD, crop_all, find_all
from manifests import layout
from manifests.errors import InputError, Parser, run_command
from manifests.files import write_json
from manifests.layout import IDENTITIES, POOL, PROBE
from manifests.params import Params, PriorRound, Run, load_params
from manifests.rounds import open_round
from manifests.stores import FaceStore
from pipeline.align import Aligner, load_aligner
from pipeline.crews import Crew
from pipeline.embed import embed_round
from pipeline.faces import Detector
from pipeline.frames import ARCFACE112, WIDE
from pipeline.generators import load_generator
from pipeline.mine import load_round, mine, mine_round
from pipeline.mining.laws import LAWS, PRIOR
from pipeline.render import render_round
from pipeline.sample import sample_prior, save
from pipeline.screen import screen_round
from pipeline.teachers import load_teacher
from tests.experiments.online import Loop
from train.checkpoint import FILE, LOG, load_student, save_student, weights_sha256
from train.plan import Plan, open_plan, open_sources
from train.steps import Target, make_optimizer, train_steps
from train.train import train_run

START, NONE, ONLINE = "start", "none", "online"
SCRATCH = layout.WORK / "experiments" / "mining"
SCRATCH_RESULTS = Path("results")
SHARED = (
    "data/weights", "data/pool", "data/probe", "data/identities", "data/gaps/start", "runs/start",
    "manifests/rounds/pool.parquet", "manifests/rounds/probe.parquet",
    "manifests/rounds/identities.parquet", "manifests/benchmarks", "params.yaml",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    latents: int  # new ones, of each arm
    faces_seen: int
    seeds: tuple[int, ...]
    arms: tuple[str, ...]


@dataclass(frozen=True)
class Photographs:
    """A protocol's faces, cut once for all students."""

    protocol: Protocol
    crops: torch.Tensor


@contextmanager
def workplace() -> Iterator[None]:
    """A folder of its own that sees the default run's stores, and leaves them as they are."""
    root = Path.cwd()
    for name in SHARED:
        if not (root / name).exists():
            raise InputError(f"{name}: missing; run `make repro` first")
        link = SCRATCH / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(root / name)
    (SCRATCH / SCRATCH_RESULTS).mkdir(exist_ok=True)
    with chdir(SCRATCH):
        yield


def hard_faces(params: Params) -> np.ndarray:
    """Which of the probe's faces lie in regions that are hard for the student of `start`."""
    centre = open_round(POOL, params.teacher).teacher.centre()
    pool, probe = (load_round(name, START, params, centre) for name in (POOL, PROBE))
    found = mine(pool, probe, params)
    hard = [region.region for region in found.regions if region.hard]
    return np.isin(found.probe_home, hard)


def photographs(text: str, frame: Any) -> Photographs:
    protocol = open_benchmark(text)
    faces = find_all(protocol, Aligner(layout.WEIGHTS, threshold=DETECT_THRESHOLD))
    return Photographs(protocol, crop_all(protocol, faces, frame))


def arm_params(params: Params, arm: str, seed: int, settings: Settings) -> Params:
    """The shipped parameters but for law, seeds, count and no prior faces among the mined."""
    mine = replace(
        params.mine, law=arm if arm in LAWS else PRIOR, count=settings.latents, seed=seed,
        prior_share=0.0, region_cap=1.0,
    )  # fmt: skip
    run = Run(settings.faces_seen, 0.5, 0.0)  # one run name for all arms: its name is a seed, too
    train = replace(params.train, seed=seed, runs={**params.train.runs, "arm": run})
    return replace(params, mine=mine, train=train)


def train_arm(arm: str, seed: int, params: Params, settings: Settings) -> tuple[Path, int]:
    """The folder of the arm's student, and its number of new usable faces."""
    output, name = layout.run(f"{arm}-{seed}"), f"{arm}-{seed}"
    if arm == ONLINE:
        return train_online(output, seed, params), settings.faces_seen
    if arm == PRIOR:
        rows = PriorRound(settings.latents, seed)
        save(sample_prior(name, rows, params))
    elif arm != NONE:
        mine_round(name, START, params)
    if arm == NONE:
        after = load_student(layout.run(START))
        known = json.loads(after.card.stores)
        sources, marks = open_sources([POOL, IDENTITIES], params, known)
        train_run(Plan("arm", params, sources, len(sources), after, marks), output)
        return output, 0
    render_round(name, params, crew=Crew(1))
    embed_round(name, params.teacher, params, crew=Crew(1))
    screen_round(name, [], params)
    train_run(open_plan("arm", [name], START, params), output)
    return output, FaceStore.open(layout.faces(name)).passport.num_ok


def train_online(output: Path, seed: int, params: Params) -> Path:
    """Every face fresh: rendered, embedded and seen once."""
    student = load_student(layout.run(START))
    network = student.network.requires_grad_(True)
    pool = open_round(POOL, params.teacher).teacher
    aligner = load_aligner(layout.WEIGHTS, params.render.detect_threshold)
    frame = WIDE.at(params.render.frame_size)
    loop = Loop(
        load_generator(params.generator, layout.WEIGHTS),
        [Detector(aligner, params.render.detect_size)],
        load_teacher(params.teacher, layout.WEIGHTS),
        frame, pool.centre(), params.mine.coefficient, params.train.batch,
    )  # fmt: skip
    size, run = params.train.student.input_size, params.train.runs["arm"]
    steps = range(run.faces_seen // params.train.batch)
    lines = train_steps(
        network, make_optimizer(network, params.train), loop.batches(network, size, seed),
        Target(torch.from_numpy(pool.centre()), pool.spread()),
        stored=frame, seen=ARCFACE112.at(size), train=params.train, run=run, seed=seed, steps=steps,
    )  # fmt: skip
    for _ in tqdm(lines, total=len(steps), desc="online", unit="step"):
        pass
    save_student(output / FILE, network, student.card)
    write_json(output / LOG, {"student": {"sha256": weights_sha256(network)}})
    return output


@dataclass(frozen=True)
class Outcome:
    """What one arm's student does, by face of the probe and by pair of each benchmark."""

    gap: np.ndarray
    correct: dict[str, np.ndarray]


def measure_arm(folder: Path, params: Params, photos: dict[str, Photographs]) -> Outcome:
    _, tables = measure(folder.name, [PROBE], params)
    gap = (tables[PROBE].gap.astype(np.float64) + tables[PROBE].flip_gap) / 2
    model = load_model(folder.as_posix(), layout.WEIGHTS)
    correct = {}
    for name, photo in photos.items():
        bench = photo.protocol.benchmark
        rows = {image: row for row, image in enumerate(bench.images)}
        found = model.embed(photo.crops)
        left, right = (found[[rows[image] for image in side]] for side in (bench.left, bench.right))
        scores = model.similarity(left, right)
        correct[name] = insightface_accuracy(scores, bench.same, bench.fold, model.metric).correct
    return Outcome(gap, correct)


def run_arms(params: Params, settings: Settings, photos: dict[str, Photographs]) -> None:
    """Trains and measures every arm that has no result yet, one seed after the other."""
    for seed in settings.seeds:
        for arm in settings.arms:
            done = SCRATCH_RESULTS / f"{arm}-{seed}.npz"
            if done.exists():
                continue
            print(f"{arm}, seed {seed}", flush=True)
            folder, num_new = train_arm(
                arm, seed, arm_params(params, arm, seed, settings), settings
            )
            found = measure_arm(folder, params, photos)
            np.savez(done, gap=found.gap, num_new=num_new, **found.correct)


def interval(values: np.ndarray, seed: int = 0) -> list[float]:
    """95 % bootstrap interval of the mean over faces or pairs."""
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(2000)]
    return [round(float(bound), 5) for bound in np.quantile(means, [0.025, 0.975])]


def figure(values: np.ndarray) -> dict[str, Any]:
    return {"value": round(float(values.mean()), 5), "ci95": interval(values)}


def table(settings: Settings, hard: np.ndarray) -> dict[str, Any]:
    """Every arm's figures, and each law's differences to the prior, seed by seed paired."""
    found = {path.stem: dict(np.load(path)) for path in sorted(SCRATCH_RESULTS.glob("*.npz"))}
    for result in found.values():
        result["hard_gap"] = result["gap"][hard]
    measures = ["gap", "hard_gap", *(name for name in ("orl", "lfw_dev") if name in result)]
    rows = [
        {
            "law": name.rpartition("-")[0], "seed": int(name.rpartition("-")[2]),
            "faces": int(result["num_new"]), "faces_seen": settings.faces_seen,
            **{f"probe_{m}" if "gap" in m else m: figure(result[m]) for m in measures},
        }
        for name, result in found.items()
    ]  # fmt: skip
    versus = {
        arm: {m: _difference(found, arm, m, settings) for m in measures}
        for arm in settings.arms
        if arm != PRIOR
    }
    return {"arms": rows, "difference_to_prior": versus}


def _difference(
    found: dict[str, dict[str, np.ndarray]], arm: str, measure: str, settings: Settings
) -> dict[str, Any]:
    """arm - prior, the mean over the seeds that both have; the interval is over faces or pairs."""
    seeds = [s for s in settings.seeds if f"{arm}-{s}" in found and f"{PRIOR}-{s}" in found]
    if not seeds:
        return {}
    each = np.stack(
        [found[f"{arm}-{s}"][measure].astype(float) - found[f"{PRIOR}-{s}"][measure] for s in seeds]
    )
    by_seed = [round(float(row.mean()), 5) for row in each]
    return {**figure(each.mean(axis=0)), "by_seed": by_seed}


def main() -> None:
    parser = Parser(description="Laws of mining against the prior and the online loop.")
    parser.add_argument("--pairs", help="a folder of photographs with pairs.csv")
    parser.add_argument("--latents", type=int, default=6144)
    parser.add_argument("--faces-seen", type=int, default=24000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--arms", nargs="+", default=[PRIOR, *LAWS, NONE, ONLINE])
    parser.add_argument("--out", type=Path, default=Path("docs/results/mining.json"))
    args = parser.parse_args()
    settings = Settings(args.latents, args.faces_seen, tuple(args.seeds), tuple(args.arms))
    params, out = load_params(), args.out.absolute()
    names = {"orl": "orl"} | (
        {"lfw_dev": f"pairs:{Path(args.pairs).absolute()}"} if args.pairs else {}
    )
    with workplace():
        frame = load_student(layout.run(START)).card.input_frame
        photos = {name: photographs(text, frame) for name, text in names.items()}
        run_arms(params, settings, photos)
        hard = hard_faces(params)
        found = table(settings, hard)
    machine = {"cpus": len(os.sched_getaffinity(0)), "threads": torch.get_num_threads()}
    write_json(out, {"machine": machine, "settings": asdict(settings), **found})


if __name__ == "__main__":
    run_command(main)
