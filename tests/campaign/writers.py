"""Two writers of one store, and the lock that a killed one leaves."""

from __future__ import annotations

import shutil
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.campaign.ground import POLL, STAGES, Ground, Outcome, build, command, holder
from tests.campaign.processes import Running

NAME = "writers"
COUNT = 2 * len(STAGES)


def run(ground: Ground, index: int) -> Outcome:
    stage = STAGES[index % 2]
    check = (_second, _stale)[index // 2]
    folder = ground.fresh(f"writers-{index}", stage)
    first = command(folder, stage)
    while holder(folder, stage) != first.process.pid and first.running():
        time.sleep(POLL)
    faults = [*check(folder, stage, first), *ground.unlike(folder, stage)]
    shutil.rmtree(folder)
    text = f"{stage}: {'a second writer' if check is _second else 'the lock of a killed writer'}"
    return Outcome(f"{NAME}:{index}", text, tuple(faults))


def _second(folder: Path, stage: str, first: Running) -> Iterator[str]:
    """Refused by name, and the first is not disturbed. It is held at its work meanwhile, which it
    might have done before the second has started up."""
    first.process.send_signal(signal.SIGSTOP)
    second = build(folder, stage)
    first.process.send_signal(signal.SIGCONT)
    named = f"process {first.process.pid} on {socket.gethostname()}"
    if second.code != 2 or named not in second.complaint:
        yield f"the second writer ended with {second.code}: {second.err[-300:]}"
    ended = first.wait()
    if ended.code or ended.err:
        yield f"the first writer ended with {ended.code}: {ended.err[-300:]}"


def _stale(folder: Path, stage: str, first: Running) -> Iterator[str]:
    """Told of, and no hindrance."""
    first.kill(group=True)
    done = build(folder, stage)
    said = f"process {first.process.pid} on {socket.gethostname()}"
    if done.code or done.err or said not in done.out:
        yield f"after a killed writer it ended with {done.code}: {done.out!r} {done.err[-300:]}"


def summary(ground: Ground, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {"writers": {outcome.text: not outcome.faults for outcome in outcomes}}
