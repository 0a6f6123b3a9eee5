"""A run from start to end: it goes on where it stopped, to the same bits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.errors import InputError
from manifests.core.files import deliver, forget_others, read_json, write_json
from pipeline.arrays.frames import ARCFACE112
from train.batching.batches import BatchStream, num_identities, stored_frame
from train.checkpoint import (
    FILE,
    LOG,
    QUALITY,
    STATE,
    QualityCard,
    load_state,
    load_student,
    save_quality,
    save_state,
    save_student,
    weights_sha256,
)
from train.engine.plan import Plan
from train.engine.preflight import INPUTS, Report, check_run, reporting
from train.engine.processes import ALONE, Processes, together
from train.engine.record import State, card_of, save_run
from train.engine.steps import Learner, NotFinite, Progress, make_learner, train_steps
from train.losses.certainty import QualityRegression
from train.losses.margin_heads import FILE as HEAD
from train.losses.margin_heads import MarginHead, save_head
from train.losses.objectives import Objective, make_objective
from train.losses.prerequisites import identities_sha256
from train.students import build_student

LOG_POINTS = 100
NOT_FINITE = "not-finite.json"  # which faces a run stopped at
SNAPSHOTS = "snapshots"


def train_run(plan: Plan, output: Path, processes: Processes = ALONE) -> None:
    """Trains, resuming where exactly this plan was interrupted, or relinks it if it is done.

    Raises InputError for parameters that cannot be met, and for a loss or gradient that is no
    finite number.
    """
    check_run(plan, processes)
    device = processes.device(plan.params.device)
    with together(processes, device):
        done = _done(plan.work)
        processes.wait()  # until all have looked: the first one is about to write there
        if not done:
            with timed(f"train@{plan.name}") if processes.first else nullcontext():
                _train(plan, device, processes)
        if processes.first:
            strays = [STATE, INPUTS, NOT_FINITE]
            for stray in [*(plan.work / name for name in strays), *plan.work.glob(".*.tmp")]:
                stray.unlink(missing_ok=True)
            deliver(plan.work, output)
            forget_others(plan.work)
        processes.wait()


def _done(work: Path) -> bool:
    """Is a finished run here, and its student still the one that its log names?"""
    if not (work / LOG).exists():
        return False
    return bool(read_json(work / LOG)["student"]["sha256"] == load_student(work).sha256)


def start_network(plan: Plan) -> nn.Module:
    """Random weights from the run's seed, or the last run's student."""
    student = plan.params.train.student
    if plan.after is not None:
        network = plan.after.network.requires_grad_(True)
    else:
        torch.manual_seed(plan.params.train.seed)
        network = build_student(
            student.name,
            input_size=student.input_size,
            width=student.width,
            embedding_width=plan.embedding_width,
            projected_from=student.projected_from,
        )
    if not plan.params.train.engine.channels_last:
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return network


def start_objective(plan: Plan) -> Objective:
    torch.manual_seed(plan.seed)
    count = num_identities(plan.sources)
    return make_objective(
        plan.params, plan.targets, num_identities=count, face_weights=plan.face_weights
    )


def _train(plan: Plan, device: torch.device, processes: Processes) -> None:
    network, objective = start_network(plan).to(device), start_objective(plan).to(device)
    learner = make_learner(network, objective, plan.params.train)
    state = State(0, [], 0.0)
    if (plan.work / STATE).exists():
        progress = load_state(
            plan.work / STATE, network, objective, learner.optimizer, learner.average
        )
        state = State(**progress)
    elif processes.first:
        write_json(plan.work / INPUTS, plan.inputs)
    live = plan.params.train.live and processes.first
    folder = layout.REPORTS / "live" / plan.name
    with reporting(folder, on=live, resumed=state.step > 0) as report:
        _go_on(plan, learner, state, report, processes)
    if processes.first:
        save_heads(plan, learner, plan.work)
        save_run(plan, learner.student, state, processes)


def _go_on(
    plan: Plan, learner: Learner, state: State, report: Report, processes: Processes
) -> None:
    settings = plan.params.train
    clock = time.perf_counter()
    for line in _steps(plan, learner, state.step, processes):
        state.step += 1
        if state.step % max(1, plan.num_steps // LOG_POINTS) == 0:
            state.history.append(asdict(line))
            report(line)
        now = time.perf_counter()
        state.seconds, clock = state.seconds + now - clock, now
        if not processes.first:
            continue
        if settings.engine.keep_epochs:
            _keep_epoch(plan, learner, state.step)
        if state.step % max(1, settings.checkpoint_faces // settings.batch) == 0:
            save_state(
                plan.work / STATE, learner.network, learner.objective, learner.optimizer,
                asdict(state), learner.average,
            )  # fmt: skip


def _keep_epoch(plan: Plan, learner: Learner, step: int) -> None:
    """The student as it is at the end of each whole epoch."""
    batch = plan.params.train.batch
    epoch = step * batch // plan.num_faces
    if epoch > (step - 1) * batch // plan.num_faces:
        folder = plan.work / SNAPSHOTS / f"{epoch - 1:03d}"
        save_student(folder / FILE, learner.student, card_of(plan, step))


def stream_of(plan: Plan) -> BatchStream:
    settings = plan.params.train
    return BatchStream(
        plan.sources,
        batch=settings.batch,
        pool_rows=settings.pool_rows,
        seed=plan.seed,
        weights=plan.weights,
        readers=settings.readers,
    )


def _steps(plan: Plan, learner: Learner, first: int, processes: Processes) -> Iterator[Progress]:
    settings = plan.params.train
    if plan.num_steps <= first:
        return
    total, done = plan.num_steps * settings.batch, first * settings.batch
    off = not processes.first
    with (
        closing(stream_of(plan).batches(first)) as batches,
        tqdm(total=total, initial=done, unit="face", desc=f"train {plan.name}", disable=off) as bar,
    ):
        lines = train_steps(
            learner,
            batches,
            stored=stored_frame(plan.sources),
            seen=ARCFACE112.at(settings.student.input_size),
            train=settings,
            run=plan.run,
            seed=plan.seed,
            steps=range(first, plan.num_steps),
            num_faces=plan.num_faces,
            processes=processes,
        )
        try:
            for line in lines:
                bar.update(settings.batch)
                bar.set_postfix(loss=f"{line.loss:.3f}", refresh=False)
                yield line
        except NotFinite as found:
            raise _stopped(plan, found, processes) from None


def _stopped(plan: Plan, found: NotFinite, processes: Processes) -> InputError:
    """Keeps the ids of the batch that showed it and of the one before, whose step may have been
    the cause; returns what to say."""
    path, line = plan.work / NOT_FINITE, found.progress
    if processes.first:
        seen = {"faces_seen": line.faces_seen, "learning_rate": line.learning_rate}
        ids = {"face_ids": found.face_ids, "face_ids_before": found.before}
        write_json(path, {"run": plan.name, "loss": str(line.loss), **seen, **ids})
    return InputError(
        f"run {plan.name}: {found.what} after {line.faces_seen} faces (the last of them are in "
        f"{path}); lower train.learning_rate, or set train.engine.clip_norm"
    )


def save_heads(plan: Plan, learner: Learner, folder: Path) -> None:
    """Keeps a margin head, without which no one could be taught this student's logits, and a
    quality head."""
    for module in learner.objective.modules():
        if isinstance(module, MarginHead) and module.prototypes.requires_grad:
            save_head(folder / HEAD, module, identities_sha256(plan.sources))
        if isinstance(module, QualityRegression):
            card = QualityCard(module.term.ratio, weights_sha256(learner.student))
            save_quality(folder / QUALITY, module.layer, card)
