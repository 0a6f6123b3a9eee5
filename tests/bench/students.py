"""Training rate of each student: forward, backward and step on one batch, all threads."""

from __future__ import annotations

from collections.abc import Callable

import torch

from manifests.params import load_params
from tests.bench.teacher import rate, spread
from train.losses.regression import mse
from train.objectives import Objective
from train.optimizers import make_optimizer
from train.students import build_student
from train.students.base import num_params

STEPS = 10
STUDENTS = (
    ("small-resnet", 1.0),
    ("small-resnet", 0.5),
    ("mobilefacenet", 1.0),
    ("mobilefacenet", 0.5),
)


def measure() -> dict[str, object]:
    return {f"{name} x{width:g}": _student(name, width) for name, width in STUDENTS}


def _student(name: str, width: float) -> dict[str, object]:
    train = load_params().train
    size = train.student.input_size
    network = build_student(name, input_size=size, width=width, embedding_width=128).train()
    step = _step(network, train.batch, size)
    return {
        "num_params": num_params(network),
        "faces_per_second": spread(
            rate(lambda: [step() for _ in range(STEPS)], STEPS * train.batch)
        ),
    }


def _step(network: torch.nn.Module, batch: int, size: int) -> Callable[[], None]:
    optimizer = make_optimizer(network, Objective(), load_params().train)
    images = torch.rand(batch, 3, size, size).contiguous(memory_format=torch.channels_last) * 255
    targets = torch.randn(batch, 128)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        mse(network(images), targets).backward()
        optimizer.step()

    return step
