"""A build is killed at a random moment, and once more while it resumes; then it is let be.

The moments are random, but most of them fall where there is something to lose: they count from
a random line of the build's ledger.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.campaign.ground import (
    POLL,
    SEED,
    STAGES,
    Ground,
    Outcome,
    Pace,
    Progress,
    build,
    command,
    holder,
    progress,
)
from tests.campaign.processes import Running

NAME = "kills"
COUNT = 42
VICTIMS = ("command", "group", "command", "worker")  # of every four cases
PLACES = {"start-up": 0.1, "shards": 0.45, "assembling": 0.25, "sealing": 0.1, "delivering": 0.1}
MOMENT = 0.01  # seconds: sealing and delivering take no longer
SAID = "ended before it was done"  # what the next run says of its killed predecessor


@dataclass(frozen=True)
class Kill:
    """`delay` seconds after the build has come so far, or after the command's start."""

    victim: str
    after: Progress
    delay: float


@dataclass(frozen=True)
class Case:
    stage: str
    workers: int
    kills: Sequence[Kill]


def draw(ground: Ground, index: int) -> Case:
    """The case of this number: a function of it alone, but for the machine's pace."""
    rng = np.random.default_rng((SEED, 1, index))
    stage, victim = STAGES[index % 2], VICTIMS[index // 2 % 4]
    workers = 2 if victim == "worker" else int(rng.integers(1, 3))
    length = 1 if victim == "worker" else int(rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1]))
    pace, shards = ground.pace[stage], ground.num_shards
    kills = [_draw_kill(rng, victim, pace, shards) for _ in range(length)]
    return Case(stage, workers, sorted(kills, key=lambda kill: kill.after))


def _draw_kill(rng: np.random.Generator, victim: str, pace: Pace, shards: int) -> Kill:
    place = "shards" if victim == "worker" else rng.choice(list(PLACES), p=list(PLACES.values()))
    first = int(victim == "worker")  # before the first line there may be no worker yet
    after, longest = {
        "start-up": (Progress(), pace.start_up),
        "shards": (Progress(lines=int(rng.integers(first, shards - 1))), pace.shard),
        "assembling": (Progress(lines=shards), pace.tail),
        "sealing": (Progress(assembled=True), MOMENT),
        "delivering": (Progress(sealed=True), MOMENT),
    }[place]
    return Kill(victim, after, round(float(rng.uniform(0, longest)), 4))


def run(ground: Ground, index: int) -> Outcome:
    case = draw(ground, index)
    folder = ground.fresh(f"kill-{index}", case.stage)
    faults: list[str] = []
    kills: list[dict[str, Any]] = []
    for kill in case.kills:
        found, said = _killed_build(ground, folder, case, kill)
        kills.append(said)
        faults += found
    done = build(folder, case.stage, workers=case.workers)
    if done.code or done.err:
        faults.append(f"resuming ended with {done.code}: {done.err[-300:]}")
    if kills[-1]["held"] != (SAID in done.out):
        faults.append(f"the lock was {'not ' * (not kills[-1]['held'])}held, but: {done.out!r}")
    faults += ground.unlike(folder, case.stage)
    shutil.rmtree(folder)
    text = f"{case.stage} by {case.workers}, {'; '.join(map(describe, case.kills))}"
    return Outcome(f"{NAME}:{index}", text, tuple(faults), {"stage": case.stage, "kills": kills})


def describe(kill: Kill) -> str:
    after = kill.after
    place = f"shard {after.lines}" if after.lines >= 0 else "its start"
    done = "sealing" if after.sealed else "assembling" if after.assembled else place
    return f"{kill.victim} {kill.delay} s after {done}"


def _killed_build(
    ground: Ground, folder: Path, case: Case, kill: Kill
) -> tuple[list[str], dict[str, Any]]:
    """Starts the command and kills; what was wrong with that, and what there is to say of it."""
    running = command(folder, case.stage, workers=case.workers)
    _wait_for(folder, case.stage, kill.after, ground.num_shards, running)
    time.sleep(kill.delay)
    reached = progress(folder, case.stage)
    alive = running.running()
    faults = []
    if kill.victim == "worker":
        alive = _kill_a_worker(running)
        ended = running.wait()
        if ended.code or ended.err:
            faults.append(f"without a worker it ended with {ended.code}: {ended.err[-300:]}")
    elif alive:
        running.kill(group=kill.victim == "group")
    else:
        running.wait()
    orphans = running.left_over()
    if orphans:
        faults.append(f"{orphans} processes live on after the command's end")
    return faults, {
        "victim": kill.victim,
        "alive": alive,
        "lines": reached.lines,
        "progress": reached.stage(ground.num_shards),
        "held": holder(folder, case.stage) > 0,  # the note of a dead one
        "orphans": orphans,
    }


def _wait_for(folder: Path, stage: str, after: Progress, shards: int, running: Running) -> None:
    """Until the build has come so far, and this run has added a shard if one was missing."""
    if after == Progress():
        return
    while holder(folder, stage) != running.process.pid and running.running():
        time.sleep(POLL)
    first = Progress(lines=min(progress(folder, stage).lines + 1, shards))
    while progress(folder, stage) < max(after, first) and running.running():
        time.sleep(POLL)


def _kill_a_worker(running: Running) -> bool:
    workers = running.workers()
    if not workers:
        return False
    os.kill(workers[0], signal.SIGKILL)
    return True


def summary(ground: Ground, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Only kills that met a living process count; all of a case's recovered if it ended well."""
    kills = [
        {**kill, "stage": outcome.detail["stage"], "well": not outcome.faults}
        for outcome in outcomes
        for kill in outcome.detail["kills"]
        if kill["alive"]
    ]
    count = {
        key: {value: sum(kill[key] == value for kill in kills) for value in sorted(set(values))}
        for key in ("stage", "victim", "progress", "lines")
        for values in [[kill[key] for kill in kills]]
    }
    return {
        "kills": len(kills),
        "kills_recovered": sum(kill["well"] for kill in kills),
        "too_late": sum(not k["alive"] for o in outcomes for k in o.detail["kills"]),
        "orphans": sum(kill["orphans"] for kill in kills),
        **{f"by_{key}": found for key, found in count.items()},
    }
