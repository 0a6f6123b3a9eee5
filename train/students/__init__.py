"""Students, one file a family of architectures, found by name.

A name is a family's (small_resnet.py answers to small-resnet), FAMILY-VARIANT where the file lists
its `VARIANTS`, or timm:NAME for a network of the timm package.
"""

from __future__ import annotations

import importlib
import math
import pkgutil

import torch
from torch import nn

from manifests.core.errors import InputError, pick

TIMM = "timm"  # a family whose variants are not ours to list


def build_student(
    name: str,
    *,
    input_size: int,
    width: float,
    embedding_width: int,
    projected_from: int | None = None,
) -> nn.Module:
    """A new network with random weights from torch's global generator.

    `width` multiplies the numbers of channels; `embedding_width` is that of the output. With
    `projected_from`, the network's own embedding has that width, and a linear layer leads from it
    to the output. Raises InputError for an unknown name and for sizes that it cannot have.
    """
    module, variant = _found(name)
    if not all(0 < size < math.inf for size in (input_size, width, embedding_width)):
        raise InputError(
            f"student {name}: input_size {input_size}, width {width:g} and embedding width "
            f"{embedding_width} must all be above 0"
        )
    network: nn.Sequential = importlib.import_module(module).build(
        variant=variant,
        input_size=input_size,
        width=width,
        embedding_width=projected_from or embedding_width,
    )
    if projected_from is not None:
        network.append(nn.Linear(projected_from, embedding_width))
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def student_names() -> list[str]:
    """Every student that is written here."""
    return sorted(_students())


def _found(name: str) -> tuple[str, str]:
    """The module and the variant that a name stands for."""
    if name.startswith(f"{TIMM}:"):
        return f"{__name__}.{TIMM}", name.removeprefix(f"{TIMM}:")
    return pick("student", name, _students() | {f"{TIMM}:NAME": ("", "")})


def _students() -> dict[str, tuple[str, str]]:
    """{name: its module and its variant}."""
    found: dict[str, tuple[str, str]] = {}
    for info in pkgutil.iter_modules(__path__):
        if info.name in ("base", "prepended", TIMM):
            continue
        module, family = f"{__name__}.{info.name}", info.name.replace("_", "-")
        variants = getattr(importlib.import_module(module), "VARIANTS", None)
        names = {f"{family}-{own}": own for own in variants} if variants else {family: ""}
        found |= {name: (module, variant) for name, variant in names.items()}
    return found
