"""Stage train: cached stores -> runs/RUN/ (student.safetensors, log.json).

    python -m train.train start --rounds pool identities
    python -m train.train mined-1 --rounds mined-1 --after start

`--after` continues from that run's student on its stores and the new rounds. A run that was
interrupted goes on where it stopped, to the same bits.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from manifests import layout
from manifests.costs import timed
from manifests.digests import canonical_json, sha256_text
from manifests.errors import InputError, pick, run_command
from manifests.files import write_json
from manifests.params import Params, Run, Train, load_params
from manifests.stores import FaceStore, TeacherStore
from pipeline.frames import ARCFACE112, Frame
from train.batches import Batch, BatchStream, Source, num_usable, open_source, stored_frame
from train.checkpoint import (
    FILE,
    LOG,
    StudentCard,
    load_state,
    load_student,
    save_state,
    save_student,
)
from train.losses import LOSSES
from train.noise import student_views
from train.students import build_student
from train.students.base import num_params

VERSION = 1  # raise it when the same inputs would give another student
METRIC, VIEWS = "cosine", "plain+flip"  # chosen on trial students, see docs/LOG.md
LOG_POINTS = 100


@dataclass(frozen=True)
class Target:
    """How raw teacher embeddings become what the student must match."""

    centre: Tensor  # the teacher's mean over the pool
    spread: float

    def __call__(self, raw: Tensor) -> Tensor:
        return (raw - self.centre.to(raw)) / self.spread


@dataclass(frozen=True)
class Progress:
    """A line of the log."""

    faces_seen: int
    loss: float
    learning_rate: float


def learning_rate(step: int, num_steps: int, run: Run, train: Train) -> float:
    """A straight line from rate_from to rate_to of the peak, after a warm-up from zero."""
    share = run.rate_from + (run.rate_to - run.rate_from) * step / max(1, num_steps)
    warmup = min(1.0, (step + 1) * train.batch / max(1, train.warmup_faces))
    return train.learning_rate * share * warmup


def make_optimizer(network: nn.Module, train: Train) -> torch.optim.Optimizer:
    """AdamW; no decay on biases and normalisation."""
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": train.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.99), fused=True)


def step_generator(seed: int, step: int) -> torch.Generator:
    """Random draws that depend on seed and step alone."""
    mixed = int(sha256_text(f"{seed}:{step}")[:15], 16)
    return torch.Generator().manual_seed(mixed)


def train_steps(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[Batch],
    target: Target,
    frames: tuple[Frame, Frame],
    train: Train,
    run: Run,
    steps: range,
) -> Iterator[Progress]:
    """Trains in place, one step an item; `frames` are the stored and the student's."""
    loss_of = pick("loss", train.loss, LOSSES)
    device = next(network.parameters()).device
    network.train()
    for step, batch in zip(steps, batches, strict=False):
        generator = step_generator(train.seed, step)
        flips = torch.rand(len(batch.images), generator=generator) < 0.5
        raw = batch.targets[torch.arange(len(flips)), flips.long()].to(device)
        views = student_views(
            batch.images.to(device), flips, *frames, noise=train.noise, generator=generator
        )
        rate = learning_rate(step, steps.stop, run, train)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = loss_of(network(views.contiguous(memory_format=torch.channels_last)), target(raw))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield Progress((step + 1) * train.batch, float(loss.detach()), rate)


@dataclass(frozen=True)
class Plan:
    """A training run with everything it depends on."""

    name: str
    params: Params
    sources: Sequence[Source]
    num_new: int  # of the sources, the last ones, that no earlier run trained on
    after: str | None

    @property
    def run(self) -> Run:
        return pick("run", self.name, self.params.train.runs)

    @property
    def stores(self) -> dict[str, str]:
        return {
            store.path.as_posix(): store.root
            for source in self.sources
            for store in (source.faces, source.teacher)
        }

    @property
    def num_steps(self) -> int:
        """None if the new rounds are empty: the last student is passed on."""
        if not num_usable(self.sources[-self.num_new :]):
            return 0
        return self.run.faces_seen // self.params.train.batch


def rounds_of(run: str) -> list[str]:
    log: dict[str, Any] = json.loads((layout.run(run) / LOG).read_text(encoding="utf-8"))
    return [str(name) for name in log["rounds"]]


def open_sources(rounds: Sequence[str], teacher: str) -> list[Source]:
    """The rounds' stores; the chain faces -> teacher store is checked."""
    sources = []
    for name in rounds:
        faces = FaceStore.open(layout.faces(name))
        path = layout.teacher(name, teacher)
        sources.append(open_source(faces, TeacherStore.open(path, expect={"faces": faces.root})))
    return sources


def target_of(sources: Sequence[Source]) -> Target:
    """Centred by the first round (the pool), so that every run shares one target space."""
    pool = sources[0].teacher
    return Target(torch.from_numpy(pool.centre()), pool.spread())


def fresh_student(plan: Plan) -> nn.Module:
    """Random weights from the run's seed, or the last run's student."""
    if plan.after is not None:
        return load_student(layout.run(plan.after)).network.requires_grad_(True)
    student = plan.params.train.student
    torch.manual_seed(plan.params.train.seed)
    return build_student(
        student.name,
        input_size=student.input_size,
        width=student.width,
        embedding_width=plan.sources[0].teacher.width,
    )


def train_run(plan: Plan, output: Path) -> None:
    """Trains, resuming if a state of exactly this plan lies in .work/."""
    settings, device = plan.params.train, device_of(plan.params.device)
    started = time.perf_counter()
    network = fresh_student(plan).to(device)
    optimizer = make_optimizer(network, settings)
    state = Path(".work/train") / f"{plan.name}-{inputs_hash(plan)[:16]}.safetensors"
    history: list[dict[str, float]] = []
    step, seconds_before = 0, 0.0
    if state.exists():
        progress = load_state(state, network, optimizer)
        step, history = progress["step"], progress["history"]
        seconds_before = progress["seconds"]
    for line in _steps(plan, network, optimizer, step):
        step += 1
        if step % max(1, plan.num_steps // LOG_POINTS) == 0:
            history.append(asdict(line))
        if step % max(1, settings.checkpoint_faces // settings.batch) == 0:
            seconds = seconds_before + time.perf_counter() - started
            save_state(
                state, network, optimizer, {"step": step, "history": history, "seconds": seconds}
            )
    seconds = seconds_before + time.perf_counter() - started
    save_run(plan, network, history, seconds, output)
    state.unlink(missing_ok=True)


def _steps(
    plan: Plan, network: nn.Module, optimizer: torch.optim.Optimizer, first: int
) -> Iterator[Progress]:
    settings = plan.params.train
    if plan.num_steps <= first:
        return
    stream = BatchStream(
        plan.sources, batch=settings.batch, pool_rows=settings.pool_rows, seed=settings.seed
    )
    frames = (stored_frame(plan.sources), student_frame(settings))
    with tqdm(
        total=plan.num_steps * settings.batch,
        initial=first * settings.batch,
        unit="face",
        desc=f"train {plan.name}",
    ) as bar:
        for line in train_steps(
            network, optimizer, stream.batches(first), target_of(plan.sources), frames,
            settings, plan.run, range(first, plan.num_steps),
        ):  # fmt: skip
            bar.update(settings.batch)
            bar.set_postfix(loss=f"{line.loss:.3f}", refresh=False)
            if not line.loss < float("inf"):
                raise InputError(f"run {plan.name}: loss is {line.loss} at {line.faces_seen} faces")
            yield line


def student_frame(settings: Train) -> Frame:
    return ARCFACE112.at(settings.student.input_size)


def device_of(name: str) -> torch.device:
    auto = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(auto if name == "auto" else name)


def inputs_hash(plan: Plan) -> str:
    start = load_student(layout.run(plan.after)).sha256 if plan.after else ""
    settings = asdict(plan.params.train) | {"runs": asdict(plan.run)}
    return sha256_text(canonical_json([VERSION, plan.name, settings, plan.stores, start]))


def save_run(
    plan: Plan, network: nn.Module, history: list[dict[str, float]], seconds: float, output: Path
) -> None:
    settings = plan.params.train
    card = StudentCard(
        name=settings.student.name,
        input_size=settings.student.input_size,
        width=settings.student.width,
        embedding_width=plan.sources[0].teacher.width,
        frame=ARCFACE112.name,
        metric=METRIC,
        views=VIEWS,
        stores=canonical_json(plan.stores),
        params_sha256=sha256_text(canonical_json(asdict(settings))),
        git_commit=git_commit(),
        faces_seen=plan.num_steps * settings.batch + faces_seen_before(plan),
    )
    save_student(output / FILE, network, card)
    log = {
        "student": asdict(card) | {"num_params": num_params(network)},
        "rounds": [source.faces.passport.round for source in plan.sources],
        "num_faces": num_usable(plan.sources),
        "after": plan.after,
        "params": asdict(settings),
        "history": history,
        "train_seconds": round(seconds, 1),
        "hardware": {"machine": platform.machine(), "threads": torch.get_num_threads()},
        "torch": torch.__version__,
    }
    write_json(output / LOG, log)


def faces_seen_before(plan: Plan) -> int:
    return load_student(layout.run(plan.after)).card.faces_seen if plan.after else 0


def git_commit() -> str:
    """The commit, with + if the tree was changed; unknown outside a repository."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a student from cached stores.")
    parser.add_argument("run", help="a key of train.runs in params.yaml")
    parser.add_argument("--rounds", nargs="+", required=True, help="new rounds to train on")
    parser.add_argument("--after", help="the run to continue from")
    args = parser.parse_args()
    with timed(f"train@{args.run}"):
        params = load_params()
        rounds = [*(rounds_of(args.after) if args.after else []), *args.rounds]
        sources = open_sources(rounds, params.teacher)
        plan = Plan(args.run, params, sources, len(args.rounds), args.after)
        train_run(plan, layout.run(args.run))


if __name__ == "__main__":
    run_command(main)
