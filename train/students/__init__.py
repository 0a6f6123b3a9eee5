"""Students, one file an architecture, found by name."""

from __future__ import annotations

import sys

import torch
from torch import nn

from manifests.backends import find_backend


def build_student(name: str, *, input_size: int, width: float, embedding_width: int) -> nn.Module:
    """A new network with random weights from torch's global generator."""
    module = find_backend(sys.modules[__name__], "student", name)
    network: nn.Module = module.build(
        input_size=input_size, width=width, embedding_width=embedding_width
    )
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
