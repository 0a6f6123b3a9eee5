"""Training beside other work: what is left of its rate with one and with two busy processes.

Each turn is a process of its own, for OpenMP reads its settings once; settings and crowds take
turns in one run. `as_started` is what training does unless told: a thread for each idle core, which
sleeps soon; `all_threads` has one for every core, `spinning` is what OpenMP does by itself,
`one_thread` what does not wait at all; shares are of spinning alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import numpy as np

from manifests.core.waiting import WAITING
from pipeline.arrays.numerics import precision_of
from pipeline.building.workers import num_cores
from tests.bench.students import BATCH, Setting, training_step
from tests.bench.teacher import rate, spread
from train.engine.processes import ALONE
from train.engine.threads import threads_of

STUDENT = Setting("stillnet-m", 64, 1.0, 128)  # the default run's
TURNS, STEPS = 3, 5
CROWDS = (0, 1, 2)  # processes that never rest
SETTINGS: dict[str, Mapping[str, str]] = {
    "as_started": WAITING,
    "all_threads": {**WAITING, "OMP_NUM_THREADS": str(num_cores())},
    "spinning": {"GOMP_SPINCOUNT": "300000", "OMP_NUM_THREADS": str(num_cores())},
    "one_thread": {"OMP_NUM_THREADS": "1"},
}


def measure() -> dict[str, object]:
    rates: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _, crowd, setting in product(range(TURNS), CROWDS, SETTINGS):
        with busy(crowd), patch.dict(os.environ, SETTINGS[setting]):
            rates[setting, crowd].append(in_a_new_process())
    alone = np.median(rates["spinning", 0])
    return {"precision": precision_of("auto", "cpu")} | {
        setting: {
            f"beside_{crowd}": spread(rates[setting, crowd])
            | {"share": round(float(np.median(rates[setting, crowd]) / alone), 2)}
            for crowd in CROWDS
        }
        for setting in SETTINGS
    }


@contextmanager
def busy(count: int) -> Iterator[None]:
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def in_a_new_process() -> float:
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        return executor.submit(faces_per_second).result()


def faces_per_second() -> float:
    precision = precision_of("auto", "cpu")  # as the default run
    step = training_step(STUDENT.build().train(), STUDENT.pictures(BATCH), precision)
    with threads_of("crowded", Path("none"), ALONE):
        return float(np.median(rate(lambda: [step() for _ in range(STEPS)], STEPS * BATCH)))
