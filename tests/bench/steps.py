"""Whole steps of training: the default recipe of before, and that of params.yaml, by threads.

    python -m tests.bench steps

A step is all that a face costs but reading it: its noisy view, the network forth and back, the
optimizer. Before: small-resnet x0.59 in float32 by AdamW, the default until November 2026. Both
take turns in one run, on the same batch in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import repeat

import numpy as np
import torch

from manifests.settings.params import Params, load_params
from tests.bench.students import BATCH
from tests.bench.teacher import rate, spread
from tests.bench.train import steps_to
from tests.experiments.arms import ARM
from tests.experiments.speedrun.recipes import Arm
from train.batching.batches import Batch
from train.engine.processes import keep_freed_memory
from train.engine.steps import Progress
from train.losses.terms import Target
from train.students import build_student

WIDTH, STEPS, TURNS = 128, 5, 3
BEFORE = "base+float32"
THREADS = (1, 2)


def measure() -> dict[str, object]:
    keep_freed_memory()
    params, before = load_params(), torch.get_num_threads()
    recipes = {"before": Arm.parsed(BEFORE).params(1, params).of_run(ARM), "now": params}
    try:
        return {f"threads_{count}": _by_recipe(recipes, count) for count in THREADS}
    finally:
        torch.set_num_threads(before)


def _by_recipe(recipes: dict[str, Params], threads: int) -> dict[str, object]:
    torch.set_num_threads(threads)
    endless = {name: steps_of(params) for name, params in recipes.items()}
    rates: dict[str, list[float]] = {name: [] for name in recipes}
    for name, steps in [*endless.items()] * TURNS:
        rates[name] += rate(partial(_go_on, steps), STEPS * BATCH)
    middle = {name: float(np.median(found)) for name, found in rates.items()}
    return {
        "faces_per_second": {name: spread(each) for name, each in rates.items()},
        "now_over_before": round(middle["now"] / middle["before"], 2),
    }


def _go_on(steps: Iterator[Progress]) -> None:
    for _ in range(STEPS):
        next(steps)


def steps_of(params: Params) -> Iterator[Progress]:
    """Endless training on one batch of random pixels."""
    student = params.train.student
    torch.manual_seed(0)
    network = build_student(
        student.name, input_size=student.input_size, width=student.width, embedding_width=WIDTH
    )
    target = Target(torch.zeros(WIDTH), 1.0)
    return steps_to(target, network, repeat(_batch(params)), params, num_faces=BATCH)


def _batch(params: Params) -> Batch:
    side = params.render.frame_size
    images = torch.randint(0, 256, (BATCH, side, side, 3), dtype=torch.uint8)
    targets = {params.teacher: torch.randn(BATCH, 2, WIDTH).half()}
    return Batch(images, targets, torch.zeros(BATCH, dtype=torch.long), torch.arange(BATCH))
