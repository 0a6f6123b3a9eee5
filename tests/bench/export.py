"""Exported students: processor milliseconds of one face on one thread, and bytes.

    python -m tests.bench export

torch beside onnxruntime with the float file, with static and with dynamic 8 bits. The weights are
random, the pictures smooth: what 8 bits cost in cosine is in a run's own export.json.
"""

from __future__ import annotations

import torch
from torch import nn

from train.exporting.graph import declared, to_onnx
from train.exporting.int8 import dynamic_int8, static_int8
from train.exporting.running import milliseconds, runner, some_pictures, torch_runner
from train.students import build_student

SIZE, EMBEDDING_WIDTH, PIXELS = 64, 128, "float32"
STUDENTS = (
    ("small-resnet", 1.0),
    ("small-resnet", 0.59),
    ("stillnet-m", 1.0),
    ("stillnet-s", 1.0),
    ("mobilefacenet", 1.0),
    ("tinyfar-c", 1.0),
    ("pocketnet-s128", 1.0),
    ("edgeface-xxs", 1.0),
    ("iresnet-18", 0.5),
)


def measure() -> dict[str, object]:
    return {f"{name} x{width:g}": _student(name, width) for name, width in STUDENTS}


def _student(name: str, width: float) -> dict[str, object]:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = build_student(
        name, input_size=SIZE, width=width, embedding_width=EMBEDDING_WIDTH
    ).requires_grad_(False)
    files = _files(network.eval())
    with torch.inference_mode():
        spent = {"torch": milliseconds(torch_runner(network), SIZE)}
        spent |= {kind: milliseconds(runner(data, PIXELS), SIZE) for kind, data in files.items()}
    return {
        "cpu_ms": spent,
        "bytes": {kind: len(data) for kind, data in files.items()},
        "float_over_static": round(spent["float"] / spent["static"], 2),
    }


def _files(network: nn.Module) -> dict[str, bytes]:
    model = to_onnx(network, SIZE, PIXELS)
    pictures = [some_pictures(32, SIZE).numpy()]
    kinds = {
        "float": model,
        "static": static_int8(model, pictures),
        "dynamic": dynamic_int8(model),
    }
    return {kind: declared(own, {}, {}) for kind, own in kinds.items()}
