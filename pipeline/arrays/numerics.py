"""What all backends promise, and how they are called, so that the same inputs give the same bits:
one batch shape. And what a network computes in, and what one picture costs it."""

from __future__ import annotations

import os
import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from manifests.core.errors import InputError

# One shape for every call: kernels choose their order of summation by batch size, so that
# other shapes give other low bits, which float16 does not hide (measured on the dlib ResNet).
BATCH = 64
# What oneDNN may be held to that has no bfloat16 of its own: it then computes by conversions, at a
# third of float32's rate. torch does not know of it: its calls tell what the processor has.
WITHOUT_BFLOAT16 = {
    "SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"
}  # fmt: skip


class Backend(ABC):
    """A generator, an aligner or a teacher."""

    name: str
    weights_sha256: str
    licence: str

    @abstractmethod
    def to(self, device: torch.device) -> None:
        """Moves networks to a device; results come back from there."""

    def numerics(self) -> dict[str, str]:
        """{library: version} on which its low bits depend, beside torch's."""
        return {}

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What must be equal for two stores to be made alike."""


def in_fixed_batches(
    function: Callable[[Tensor], Tensor], rows: Tensor, size: int = BATCH
) -> Tensor:
    """`function` over all rows, `size` at a time; the tail is padded with its own last row."""
    parts = []
    with torch.inference_mode():
        for at in range(0, len(rows), size):
            batch = rows[at : at + size]
            missing = size - len(batch)
            padded = torch.cat([batch, batch[-1:].expand(missing, *batch.shape[1:])])
            parts.append(function(padded)[: len(batch)])
        if not parts:  # no rows: the shape of a row still has to be right
            return function(rows.new_zeros((size, *rows.shape[1:])))[:0]
    return torch.cat(parts)


def numerics(device: str) -> dict[str, Any]:
    """What the low bits of a backend's output depend on beside its identity."""
    return {
        "torch": torch.__version__.split("+")[0],
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "batch": BATCH,
        "device": device_of(device).type,
    }


def device_of(name: str) -> torch.device:
    """`auto`: a GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda") or (name == "cuda" and not torch.cuda.is_available()):
        raise InputError(f"device {name!r}; expected auto, cpu, or cuda where there is one")
    return torch.device(name)


def precision_of(
    asked: str, device: str, trained: nn.Module | None = None
) -> Literal["float32", "bfloat16"]:
    """`auto`: bfloat16 where the device computes it natively, unless a network of depthwise
    convolutions is to be trained on a CPU."""
    pays = asked == "auto" and has_bfloat16(device_of(device))
    if pays and trained is not None and device_of(device).type == "cpu":
        pays = not mostly_depthwise(trained)
    return "bfloat16" if pays or asked == "bfloat16" else "float32"


def mostly_depthwise(network: nn.Module) -> bool:
    """Of its convolutions over several pixels. oneDNN has no quick bfloat16 kernel for gradients of
    depthwise filters: such students train at 0.5 to 1.1 of float32's rate."""
    spatial = [
        own
        for own in network.modules()
        if isinstance(own, nn.Conv2d) and max(map(int, own.kernel_size)) > 1
    ]
    return 2 * sum(own.groups > 1 for own in spatial) > len(spatial)


def has_bfloat16(place: torch.device, environment: Mapping[str, str] = os.environ) -> bool:
    """Natively: by AVX512-BF16 or AMX of x86, by ARM's or by the GPU's own instructions, unless
    the environment narrows the processor below them."""
    if place.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not onednn:  # convolutions would be loops
        return False
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    if platform.machine() not in ("x86_64", "AMD64"):  # of ARM that was all; x86 may emulate
        return True
    held_to = environment.get("ONEDNN_MAX_CPU_ISA", environment.get("DNNL_MAX_CPU_ISA", ""))
    whole = torch.backends.cpu.get_cpu_capability() == "AVX512"
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return native and whole and held_to.upper() not in WITHOUT_BFLOAT16


def computing_in(precision: str, place: torch.device) -> torch.autocast:
    """Networks that are called inside compute so: float32, or bfloat16 by autocast."""
    return torch.autocast(place.type, torch.bfloat16, enabled=precision == "bfloat16")


def weights_path(weights: Path, file: str) -> Path:
    """The weight file, which must have been gathered before."""
    path = weights / file
    if not path.exists():
        raise InputError(f"{path}: missing weight file; run `facestill weights`")
    return path


def count_macs(network: Callable[[Tensor], Any], input_size: int) -> int | None:
    """Multiply-accumulates of convolutions and matrix products for one picture; None if torch
    does not see them."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, input_size, input_size))
    return counter.get_total_flops() // 2 or None
