"""How many threads a run trains with, where OMP_NUM_THREADS does not say it: as many as cores are
idle when it begins. Threads that share out a step wait for the slowest of them, so that two beside
one busy process are slower than one (docs/TRAINING.md). Their number is among a run's inputs: one
that began keeps it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

from manifests.core import layout
from manifests.core.files import read_json
from train.checkpoint import LOG
from train.engine.preflight import INPUTS
from train.engine.processes import Processes

LOOK = 1.0  # seconds for which the cores are looked at
SAID = "OMP_NUM_THREADS"


@contextmanager
def threads_of(run: str, output: Path, processes: Processes) -> Iterator[None]:
    """Inside, torch has as many threads as this run is to have. More than it had is never asked.

    `run`: its name; `output`: where it is kept once it is finished.
    """
    before = torch.get_num_threads()
    if before > 1 and processes.count == 1 and SAID not in os.environ:
        count = min(before, begun_with(run, output) or idle_cores(busy_shares()))
        torch.set_num_threads(count)
        if count < before:
            print(f"run {run}: {count} of {before} threads; {SAID} says another number")
    try:
        yield
    finally:
        torch.set_num_threads(before)


def begun_with(run: str, output: Path) -> int | None:
    """The threads of an unfinished run of that name, else of a finished one: as it was kept to be
    taken up again, or as it lies at `output`."""
    kept = sorted((layout.WORK / f"train-{run}").glob("*"))
    for path in [*(folder / INPUTS for folder in kept), *(own / LOG for own in (*kept, output))]:
        if path.is_file():
            said = read_json(path)
            hardware = said.get("header", {}).get("hardware", {}) if path.name == LOG else said
            return int(hardware.get("threads", 0)) or None
    return None


def idle_cores(busy: Sequence[float]) -> int:
    """Cores that others leave, to the nearest whole one, and at least one.

    `busy`: by core, the share of its time that was taken, 0 to 1.
    """
    return max(1, int(sum(1.0 - share for share in busy) + 0.5))


def busy_shares() -> list[float]:
    """Of the cores that this process may use, for LOOK seconds."""
    shares = [percent / 100 for percent in psutil.cpu_percent(LOOK, percpu=True)]
    if hasattr(os, "sched_getaffinity"):
        return [shares[core] for core in sorted(os.sched_getaffinity(0)) if core < len(shares)]
    return shares
