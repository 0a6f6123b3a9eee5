"""Phones: LiteRT (formerly TensorFlow Lite), on Android, iOS and small boards.

litert-torch converts, and ai-edge-litert runs the file here as on a phone's processor. Colours and
pixels come as a camera's bitmap has them: 1 x 112 x 112 x 3, RGB in 0...255, as float32.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from train.exporting.clients.base import Client, Crops, Declare, Embed, Fed, Feed, Files, Quantise

SNIPPET = """\
val model = CompiledModel.create(context.assets, "student.tflite", options)
val (given, made) = model.createInputBuffers() to model.createOutputBuffers()
given[0].writeFloat(pixels)  // 112 * 112 * 3 numbers, R, G, B of each pixel, 0...255
model.run(given, made)
val embedding = made[0].readFloat()
"""
NOTES = """\
Kotlin above; in Python: `ai_edge_litert.interpreter.Interpreter`. The face is cut as everywhere
here: five points, or two eyes, brought to the template of the model card."""
FEED = Feed(layout="nhwc")
# What has no kernel of 8 bits as it is used here, and what others hand over.
NO_QUANTISING: list[dict[str, object]] = [
    {"regex": ".*", "operation": name, "algorithm_key": "no_quantize", "op_config": {}}
    for name in ("BATCH_MATMUL", "INPUT", "OUTPUT")
]


def files(fed: Fed, quantise: Quantise | None, _: Declare) -> Files:
    """8 bits: weights, and activations as they come (dynamic): with ranges from faces (static) the
    default student is further off, and no faster."""
    with _quiet():
        litert = importlib.import_module("litert_torch")
        quantiser = importlib.import_module("ai_edge_quantizer.quantizer")
        recipes = importlib.import_module("ai_edge_quantizer.recipe")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "student.tflite"
        litert.convert(fed.eval(), (FEED.example,)).export(str(path))
        yield "student.tflite", path.read_bytes()
        if quantise:
            recipe = recipes.dynamic_wi8_afp32() + NO_QUANTISING
            quantiser.Quantizer(str(path), recipe).quantize().export_model(path, overwrite=True)
            yield "student.int8.tflite", path.read_bytes()


def run(path: Path) -> Embed:
    with _quiet():
        module = importlib.import_module("ai_edge_litert.interpreter")
        interpreter = module.Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()

    def embedded(fed: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(given["index"], fed)
        interpreter.invoke()
        row: np.ndarray = interpreter.get_tensor(made["index"])
        return row

    def embed(crops: Crops) -> np.ndarray:
        return np.concatenate([embedded(fed) for fed in FEED.of(crops)])

    return embed


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The converter draws its progress, and its libraries in C++ warn of each other."""
    disabled, stderr = logging.root.manager.disable, os.dup(2)
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        logging.disable(disabled)


CLIENT = Client(
    FEED, SNIPPET, "kotlin", NOTES, "ai_edge_litert", run, files,
    packages=("litert_torch", "ai_edge_quantizer"), extra="mobile",
)  # fmt: skip
