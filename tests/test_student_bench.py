"""The benchmark of students on one of them, so that it cannot rot."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.arrays.numerics import count_macs
from tests.bench.students import Setting, milliseconds, size_and_latency, training_step
from tests.students import count

SMALL = Setting("small-resnet", 64, 0.25, 16)


def test_size_and_latency_of_a_student() -> None:
    found = size_and_latency(SMALL)
    assert found["num_params"] == count("small-resnet", size=64, width=0.25, outputs=16)
    low, high = found["cpu_ms_range"]
    assert 0 < low <= found["cpu_ms"] <= high
    assert found["macs"] > found["num_params"]
    assert (found["input_size"], found["embedding_width"]) == (64, 16)


def test_a_multiplication_and_its_addition_count_once() -> None:
    """Nine products for each of 3 x 2 x 16 places of the map, then 32 for each of 10 outputs."""
    network = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.Flatten(), nn.Linear(32, 10))
    assert count_macs(network, 4) == 9 * 3 * 2 * 16 + 32 * 10


def test_one_thread_is_used_and_all_are_given_back() -> None:
    class Watch(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(torch.get_num_threads())
            return x

    seen: list[int] = []
    torch.set_num_threads(threads := torch.get_num_threads())
    milliseconds(Watch(), torch.zeros(1))
    assert set(seen) == {1}
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_training_step_changes_the_weights(precision: str) -> None:
    network = SMALL.build().train()
    before = [own.detach().clone() for own in network.parameters()]
    training_step(network, SMALL.pictures(4), precision)()
    assert all(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
