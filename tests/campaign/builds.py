"""Whoever does the work, the same bytes come of it: other numbers of workers, and a cluster on
the loopback interface, of which a worker is killed while it works, or which goes on with the
tasks of a killed command while the next one is at the same store."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from manifests.stores.passport import Passport
from tests.campaign.ground import OUTPUTS, POLL, STAGES, Ground, Outcome, build, command, progress
from tests.campaign.processes import Ended, cluster

NAME = "builds"
WORKER_KILLED, COMMAND_KILLED = "cluster, a worker killed", "cluster, the command killed"
WORKERS: Sequence[int | str] = (2, 4, WORKER_KILLED, COMMAND_KILLED)
COUNT = len(WORKERS)


def run(ground: Ground, index: int) -> Outcome:
    workers = WORKERS[index]
    folder = ground.fresh(f"build-{index}")
    faults = []
    for stage in STAGES:
        if isinstance(workers, str):
            faults += _on_a_cluster(folder, stage, workers)
        else:
            faults += _ended_badly(stage, build(folder, stage, workers=workers))
        faults += ground.unlike(folder, stage)
    roots = {stage: _root(folder / OUTPUTS[stage]) for stage in STAGES}
    shutil.rmtree(folder)
    text = workers if isinstance(workers, str) else f"{workers} workers"
    return Outcome(f"{NAME}:{index}", text, tuple(faults), {"workers": workers, **roots})


def _ended_badly(stage: str, ended: Ended) -> list[str]:
    return [f"{stage} ended with {ended.code}: {ended.err[-300:]}"] * bool(ended.code or ended.err)


def _root(store: Path) -> str:
    return Passport.read(store).merkle_root if store.exists() else "none"


def _on_a_cluster(folder: Path, stage: str, workers: str) -> list[str]:
    """Somebody is killed once two shards are done, so that others have been begun."""
    with cluster(folder) as machines:
        options = ("--scheduler", machines.address)
        running = command(folder, stage, *options)
        while progress(folder, stage).lines < 2 and running.running():
            time.sleep(POLL)
        if not running.running():
            return [f"{stage} was done before anybody was killed"]
        if workers == WORKER_KILLED:
            machines.workers[0].kill(group=True)
            ended = running.wait()
        else:
            running.kill(group=True)
            ended = build(folder, stage, *options)
        left = running.left_over()
    return _ended_badly(stage, ended) + [f"the command leaves {left} processes"] * bool(left)


def summary(ground: Ground, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    roots = {stage: Counter(outcome.detail[stage] for outcome in outcomes) for stage in STAGES}
    return {
        "builds": {str(outcome.detail["workers"]): not outcome.faults for outcome in outcomes},
        "roots": {
            stage: {"undisturbed": _root(ground.built / OUTPUTS[stage]), "others": dict(found)}
            for stage, found in roots.items()
        },
    }
