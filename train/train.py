"""Stage train: cached stores -> runs/RUN/ (student.safetensors, log.json).

    python -m train.train start --rounds pool identities
    python -m train.train mined-1 --rounds mined-1 --after start

`--after` continues from that run's student, on its stores and the new rounds. A run that was
interrupted goes on where it stopped, to the same bits.
"""

from __future__ import annotations

import json
import platform
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from manifests import layout
from manifests.costs import timed
from manifests.digests import canonical_json, sha256_text
from manifests.errors import InputError, Parser, run_command
from manifests.files import deliver, forget_others, read_json, write_json
from manifests.params import load_params
from pipeline.frames import ARCFACE112
from pipeline.numerics import device_of
from train.batches import BatchStream, num_identities, num_usable, stored_frame
from train.checkpoint import (
    FILE,
    LOG,
    StudentCard,
    load_state,
    load_student,
    save_state,
    save_student,
    weights_sha256,
)
from train.heads import FILE as HEAD
from train.heads import MarginHead, save_head
from train.objectives import Objective, make_objective
from train.plan import Plan, open_plan
from train.prerequisites import identities_sha256
from train.steps import Progress, make_optimizer, train_steps
from train.students import build_student
from train.students.base import num_params

METRIC, VIEWS = "cosine", "plain+flip"
LOG_POINTS = 100
STATE = "state.safetensors"  # of an unfinished run


@dataclass
class State:
    """What changes while a run goes on, beside the network and the optimizer."""

    step: int
    history: list[dict[str, int | float]]
    seconds: float


def start_network(plan: Plan) -> nn.Module:
    """Random weights from the run's seed, or the last run's student."""
    if plan.after is not None:
        return plan.after.network.requires_grad_(True)
    student = plan.params.train.student
    torch.manual_seed(plan.params.train.seed)
    return build_student(
        student.name,
        input_size=student.input_size,
        width=student.width,
        embedding_width=plan.embedding_width,
        projected_from=student.projected_from,
    )


def start_objective(plan: Plan) -> Objective:
    torch.manual_seed(plan.seed + 1)  # of its own: the student is made from plan.seed
    count = num_identities(plan.sources)
    return make_objective(plan.params, plan.targets, num_identities=count)


def train_run(plan: Plan, output: Path) -> None:
    """Trains, resuming where exactly this plan was interrupted, or relinks it if it is done."""
    if not _done(plan.work):
        with timed(f"train@{plan.name}"):
            network = start_network(plan).to(device_of(plan.params.device))
            objective = start_objective(plan).to(device_of(plan.params.device))
            optimizer = make_optimizer(network, objective, plan.params.train)
            state = State(0, [], 0.0)
            if (plan.work / STATE).exists():
                state = State(**load_state(plan.work / STATE, network, objective, optimizer))
            _train(plan, network, objective, optimizer, state)
            save_heads(plan, objective, plan.work)
            save_run(plan, network, state, plan.work)
    for stray in [plan.work / STATE, *plan.work.glob(".*.tmp")]:
        stray.unlink(missing_ok=True)
    deliver(plan.work, output)
    forget_others(plan.work)


def _done(work: Path) -> bool:
    """Is a finished run here, and its student still the one that its log names?"""
    if not (work / LOG).exists():
        return False
    return bool(read_json(work / LOG)["student"]["sha256"] == load_student(work).sha256)


def _train(
    plan: Plan,
    network: nn.Module,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    state: State,
) -> None:
    settings = plan.params.train
    clock = time.perf_counter()
    for line in _steps(plan, network, objective, optimizer, state.step):
        state.step += 1
        if state.step % max(1, plan.num_steps // LOG_POINTS) == 0:
            state.history.append(asdict(line))
        now = time.perf_counter()
        state.seconds, clock = state.seconds + now - clock, now
        if state.step % max(1, settings.checkpoint_faces // settings.batch) == 0:
            save_state(plan.work / STATE, network, objective, optimizer, asdict(state))


def _steps(
    plan: Plan,
    network: nn.Module,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    first: int,
) -> Iterator[Progress]:
    settings = plan.params.train
    if plan.num_steps <= first:
        return
    stream = BatchStream(
        plan.sources, batch=settings.batch, pool_rows=settings.pool_rows, seed=plan.seed
    )
    lines = train_steps(
        network,
        optimizer,
        stream.batches(first),
        objective,
        stored=stored_frame(plan.sources),
        seen=ARCFACE112.at(settings.student.input_size),
        train=settings,
        run=plan.run,
        seed=plan.seed,
        steps=range(first, plan.num_steps),
        num_faces=num_usable(plan.sources),
    )
    total, done = plan.num_steps * settings.batch, first * settings.batch
    with tqdm(total=total, initial=done, unit="face", desc=f"train {plan.name}") as bar:
        for line in lines:
            if not line.loss < float("inf"):
                raise InputError(
                    f"run {plan.name}: loss is {line.loss} after {line.faces_seen} faces; "
                    "lower train.learning_rate"
                )
            bar.update(settings.batch)
            bar.set_postfix(loss=f"{line.loss:.3f}", refresh=False)
            yield line


def save_heads(plan: Plan, objective: Objective, folder: Path) -> None:
    """Keeps a margin head, without which no one could be taught this student's logits."""
    for head in objective.modules():
        if isinstance(head, MarginHead) and head.prototypes.requires_grad:
            save_head(folder / HEAD, head, identities_sha256(plan.sources))


def save_run(plan: Plan, network: nn.Module, state: State, folder: Path) -> None:
    """Writes student and log; the log last, since its presence says that the run is done."""
    settings = plan.params.train
    seen_before = plan.after.card.faces_seen if plan.after else 0
    card = StudentCard(
        name=settings.student.name,
        input_size=settings.student.input_size,
        width=settings.student.width,
        embedding_width=plan.embedding_width,
        frame=ARCFACE112.name,
        metric=METRIC,
        views=VIEWS,
        stores=json.dumps(plan.stores),
        params_sha256=sha256_text(canonical_json(plan.settings)),
        git_commit=git_commit(),
        faces_seen=state.step * settings.batch + seen_before,
        projected_from=settings.student.projected_from or 0,
    )
    save_student(folder / FILE, network, card)
    log: dict[str, Any] = {
        "student": asdict(card)
        | {"num_params": num_params(network), "sha256": weights_sha256(network)},
        "rounds": [layout.round_of(source.faces.path) for source in plan.sources],
        "num_faces": num_usable(plan.sources),
        "after": Path(plan.after.folder).name if plan.after else None,
        "params": plan.settings,
        "history": state.history,
        "train_seconds": round(state.seconds, 1),
        "hardware": {"machine": platform.machine(), "threads": torch.get_num_threads()},
        "torch": torch.__version__,
    }
    write_json(folder / LOG, log)


def git_commit() -> str:
    """The commit, with + if the tree was changed; unknown outside a repository."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # no git
        return "unknown"
    return done.stdout.strip() or "unknown"


def main() -> None:
    parser = Parser(description="Train a student from cached stores.")
    parser.add_argument("run", help="a key of train.runs in params.yaml")
    parser.add_argument("--rounds", nargs="+", required=True, help="new rounds to train on")
    parser.add_argument("--after", help="the run to continue from")
    args = parser.parse_args()
    plan = open_plan(args.run, args.rounds, args.after, load_params())
    train_run(plan, layout.run(args.run))


if __name__ == "__main__":
    run_command(main)
