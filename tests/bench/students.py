"""Every student: parameters, multiply-accumulates, and milliseconds for one face on one thread.

    python -m tests.bench students

At 112 pixels with the published width of the embedding; beside it some at 64 pixels with the
default teacher's, with the rate at which all threads train them in float32: forward, backward and
step on one batch, without reading it; and what bfloat16 has over it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.arrays.numerics import computing_in, count_macs
from tests.bench.teacher import rates_in_turns, spread
from train.students import build_student, student_names
from train.students.base import num_params

PUBLISHED_SIZE = 112
EMBEDDING_WIDTHS = {
    "small-resnet": 128, "mobilefacenet": 128, "pocketnet-s128": 128, "pocketnet-s256": 256,
    "pocketnet-m128": 128, "pocketnet-m256": 256, "stillnet-m": 128, "stillnet-s": 128,
}  # fmt: skip
USUAL_WIDTH = 512  # of the embeddings of all others
CALLS, STEPS, BATCH = 25, 3, 64


@dataclass(frozen=True)
class Setting:
    name: str
    input_size: int
    width: float
    embedding_width: int

    def __str__(self) -> str:
        return f"{self.name} x{self.width:g} at {self.input_size} px"

    def build(self) -> nn.Module:
        torch.manual_seed(0)
        return build_student(
            self.name,
            input_size=self.input_size,
            width=self.width,
            embedding_width=self.embedding_width,
        )

    def pictures(self, count: int) -> Tensor:
        images = torch.rand(count, 3, self.input_size, self.input_size) * 255
        return images.contiguous(memory_format=torch.channels_last)


# Quick to train, or of at most a million parameters, or both.
TRAINED = (
    Setting("small-resnet", 64, 1.0, 128),
    Setting("small-resnet", 64, 0.59, 128),
    Setting("small-resnet", 64, 0.5, 128),
    Setting("stillnet-m", 64, 1.0, 128),
    Setting("stillnet-s", 64, 1.0, 128),
    Setting("mobilefacenet", 64, 1.0, 128),
    Setting("mobilefacenet", 64, 0.5, 128),
    Setting("pocketnet-s128", 64, 1.0, 128),
    Setting("tinyfar-c", 64, 0.84, 128),
    Setting("edgeface-xxs", 64, 0.91, 128),
    Setting("iresnet-18", 64, 0.25, 128),
)


def measure() -> dict[str, object]:
    published = {
        name: size_and_latency(
            Setting(name, PUBLISHED_SIZE, 1.0, EMBEDDING_WIDTHS.get(name, USUAL_WIDTH))
        )
        for name in student_names()
    }
    trained = {str(own): size_and_latency(own) | training_rates(own) for own in TRAINED}
    return published | trained


def size_and_latency(own: Setting) -> dict[str, Any]:
    network = own.build().eval()
    calls = milliseconds(network, own.pictures(1))
    return {
        "input_size": own.input_size,
        "embedding_width": own.embedding_width,
        "num_params": num_params(network),
        "macs": count_macs(network, own.input_size),
        "cpu_ms": round(float(np.median(calls)), 2),
        "cpu_ms_range": [round(min(calls), 2), round(max(calls), 2)],
    }


def milliseconds(network: nn.Module, face: Tensor) -> list[float]:
    """Of each call on one thread, after a few that warm up."""
    taken = []
    with one_thread(), torch.inference_mode():
        for call in range(CALLS + 3):
            start = time.perf_counter()
            network(face)
            if call >= 3:
                taken.append((time.perf_counter() - start) * 1e3)
    return taken


@contextmanager
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def training_rates(own: Setting) -> dict[str, Any]:
    """Faces a second in float32, and what bfloat16 has over it: both take turns."""
    images = own.pictures(BATCH)
    steps = [training_step(own.build().train(), images, each) for each in ("float32", "bfloat16")]
    works = [partial(_repeat, step) for step in steps]
    slow, quick = rates_in_turns(works, STEPS * BATCH)
    gain = float(np.median(np.divide(quick, slow)))
    return {"faces_per_second": spread(slow), "bfloat16_over_float32": round(gain, 2)}


def _repeat(step: Callable[[], None]) -> None:
    for _ in range(STEPS):
        step()


def training_step(
    network: nn.Module, images: Tensor, precision: str = "float32"
) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    targets = torch.randn_like(network(images).detach())

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with computing_in(precision, images.device):
            embeddings = network(images)
        (embeddings.float() - targets).square().mean().backward()
        optimizer.step()

    return step
