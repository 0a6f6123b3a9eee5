"""How large a network is: parameters, and multiply-accumulates for one face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from manifests.core.errors import InputError
from pipeline.teachers import load_teacher
from train.checkpoint import Student


@dataclass(frozen=True)
class Size:
    """None where it cannot be told: a network that torch does not run, or that is not here."""

    num_params: int | None
    macs: int | None
    input_size: int | None  # pixels
    frame: str | None


UNKNOWN = Size(None, None, None, None)


def count_macs(network: Callable[[Tensor], Any], input_size: int) -> int | None:
    """Multiply-accumulates of convolutions and matrix products for one picture; None if torch
    does not see them."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, input_size, input_size))
    return counter.get_total_flops() // 2 or None


def size_of_student(student: Student) -> Size:
    card = student.card
    num_params = sum(own.numel() for own in student.network.parameters())
    macs = count_macs(student.network, card.input_size)
    return Size(num_params, macs, card.input_size, card.frame)


def size_of_teacher(name: str, weights: Path) -> Size:
    """UNKNOWN where its weights are not here: its embeddings may have come from others."""
    try:
        teacher = load_teacher(name, weights)
    except InputError:
        return UNKNOWN
    networks = [own for own in vars(teacher).values() if isinstance(own, nn.Module)]
    num_params = sum(own.numel() for network in networks for own in network.parameters())
    macs = count_macs(teacher.embed, teacher.frame.size)
    return Size(num_params or None, macs, teacher.frame.size, teacher.frame.name)
