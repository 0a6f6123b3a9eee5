"""A run from start to end: it goes on where it stopped, to the same bits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict
from pathlib import Path

from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.errors import InputError
from manifests.core.files import deliver, forget_others, read_json, write_json
from manifests.core.locks import writing
from manifests.core.progress import Bar
from manifests.core.sources import loaded
from train.checkpoint import FILE, LOG, SNAPSHOTS, load_student, save_student
from train.engine.plan import Plan
from train.engine.preflight import (
    INPUTS,
    LOADED,
    Report,
    check_replaced,
    check_run,
    check_unfinished,
    reporting,
)
from train.engine.processes import ALONE, Processes, together
from train.engine.record import card_of, in_words, save_run
from train.engine.state import STATE, State, load_state, save_state
from train.engine.steps import Learner, NotFinite, Progress, train_steps
from train.engine.threads import threads_of

LOG_POINTS = 100
NOT_FINITE = "not-finite.json"  # which faces a run stopped at


def train_run(
    plan: Plan, output: Path, processes: Processes = ALONE, *, force: bool = False
) -> None:
    """Trains, resuming where exactly this plan was interrupted, or relinks it if it is done.
    `force`: in place of whatever was trained under that name, finished or not.

    Raises InputError for parameters that cannot be met, for another run that would be lost, while
    another process trains it, and for a loss or gradient that is no finite number.
    """
    with threads_of(plan.name, output, processes):
        _train_run(plan, output, processes, force=force)


def _train_run(plan: Plan, output: Path, processes: Processes, *, force: bool) -> None:
    check_run(plan, processes)
    alone = not force and not plan.work.exists()
    if alone and _is_done(output) and _digest_of(output) == plan.digest:
        if processes.first:
            print(f"{output}: done before; {in_words(read_json(output / LOG))}")
        return
    with writing(output) if processes.first else nullcontext():
        if processes.first:
            check_replaced(plan, output, force=force)
            check_unfinished(plan, force=force)
        with together(processes, processes.device(plan.params.device)):
            processes.require_alike(plan.digest)
            _train_together(plan, output, processes)


def _train_together(plan: Plan, output: Path, processes: Processes) -> None:
    done = _is_done(plan.work)
    processes.wait()  # until all have looked: the first one is about to write there
    if not done:
        with timed(f"train@{plan.name}") if processes.first else nullcontext():
            _train(plan, processes)
    if processes.first:
        strays = [STATE, INPUTS, LOADED, NOT_FINITE]
        for stray in [*(plan.work / name for name in strays), *plan.work.glob(".*.tmp")]:
            stray.unlink(missing_ok=True)
        deliver(plan.work, output)
        forget_others(plan.work)
        print(f"{output}: {in_words(read_json(output / LOG))}")
    processes.wait()


def _is_done(work: Path) -> bool:
    """Is a finished run here, and its student still the one that its log names?"""
    if not ((work / LOG).exists() and (work / FILE).exists()):
        return False
    return bool(read_json(work / LOG)["student"]["sha256"] == load_student(work).sha256)


def _digest_of(run: Path) -> str | None:
    """Of what a finished run was made from; older ones do not say it."""
    return read_json(run / LOG).get("header", {}).get("inputs_sha256")


def _train(plan: Plan, processes: Processes) -> None:
    learner, state = plan.start(processes.device(plan.params.device)), State(0, [], 0.0)
    if (plan.work / STATE).exists():
        state = load_state(plan.work / STATE, learner)
    elif processes.first:
        write_json(plan.work / INPUTS, plan.inputs)
        write_json(plan.work / LOADED, asdict(loaded()))
    live = plan.train.live and processes.first
    folder = layout.REPORTS / "live" / plan.name
    with reporting(folder, on=live, resumed=state.step > 0) as report:
        _go_on(plan, learner, state, report, processes)
    if processes.first:
        save_run(plan, plan.finish(learner), state, processes)


def _go_on(
    plan: Plan, learner: Learner, state: State, report: Report, processes: Processes
) -> None:
    train, num_steps = plan.train, plan.num_steps
    clock = time.perf_counter()
    for progress in _steps(plan, learner, state.step, processes):
        state.step += 1
        if state.step % max(1, num_steps // LOG_POINTS) == 0:
            state.history.append(progress.line())
            report(progress)
        now = time.perf_counter()
        state.seconds, clock = state.seconds + now - clock, now
        if not processes.first:
            continue
        if train.engine.keep_epochs:
            _keep_epoch(plan, learner, state.step)
        if state.step % max(1, train.checkpoint_faces // train.batch) == 0:
            save_state(plan.work / STATE, learner, state)


def _keep_epoch(plan: Plan, learner: Learner, step: int) -> None:
    """The student as it is at the end of each whole epoch."""
    batch = plan.train.batch
    epoch = step * batch // plan.num_faces
    if epoch > (step - 1) * batch // plan.num_faces:
        folder = plan.work / SNAPSHOTS / f"{epoch - 1:03d}"
        save_student(folder / FILE, learner.student, card_of(plan, step))


def _steps(plan: Plan, learner: Learner, first: int, processes: Processes) -> Iterator[Progress]:
    train, steps = plan.train, range(first, plan.num_steps)
    if not steps:
        return
    total, done, off = steps.stop * train.batch, first * train.batch, not processes.first
    with (
        closing(plan.batches(learner, first)) as batches,
        Bar(total=total, initial=done, unit="face", desc=f"train {plan.name}", disable=off) as bar,
    ):
        lines = train_steps(
            learner,
            batches,
            plan.loss_of(learner, processes),
            train=train,
            run=plan.run,
            steps=steps,
            processes=processes,
        )
        try:
            for line in lines:
                bar.update(train.batch)
                figures = {name: f"{value:.2f}" for name, value in line.figures.items()}
                bar.set_postfix(loss=f"{line.loss:.3f}", **figures, refresh=False)
                yield line
        except NotFinite as found:
            if processes.first:
                _keep_faces(plan.name, plan.work, found)
            raise InputError(
                f"run {plan.name}: {found.what} after {found.progress.faces_seen} faces (the last "
                f"of them are in {plan.work / NOT_FINITE}); {plan.remedy}"
            ) from None


def _keep_faces(name: str, work: Path, found: NotFinite) -> None:
    """Keeps the ids of the batch that showed it and of the one before, whose step may have been
    the cause."""
    line = found.progress
    seen = {"faces_seen": line.faces_seen, "learning_rate": line.learning_rate}
    ids = {"face_ids": found.face_ids, "face_ids_before": found.before}
    write_json(work / NOT_FINITE, {"run": name, "loss": str(line.loss), **seen, **ids})
