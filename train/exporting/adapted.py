"""A block and the network behind it as one ONNX file, for pictures of the block's modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from torch import nn

from manifests.core.digests import sha256_file
from manifests.core.files import put, write_json
from pipeline.arrays.frames import Frame
from train.checkpoint import Block
from train.exporting import facts
from train.exporting.graph import declared, to_onnx
from train.exporting.running import check_parity
from train.students.prepended import Adapted

ADAPTED, RECORD = "adapted.onnx", "adapted.json"


def export_adapted(
    block: Block,
    network: nn.Module,
    frame: Frame,
    declaration: Mapping[str, str],
    output: Path,
    pixels: str,
) -> None:
    """Writes the file, then its record. `network`, in evaluation mode, looks at `frame`; the file
    says what `declaration` does, and of whose faces the block was made.

    Raises InputError where onnxruntime's embeddings are not torch's.
    """
    whole = Adapted(block.network, network).eval()
    card = asdict(block.card)
    values = {**declaration, "licence": _licence(block, declaration["licence"])}
    notes = {"adapted_sha256": block.sha256, **{key: str(value) for key, value in card.items()}}
    data = declared(to_onnx(whole, frame.size, pixels), values, notes)
    parity = check_parity(data, whole, frame.size, pixels)
    put(output / ADAPTED, data)
    record = {
        "block": card,
        "sha256": block.sha256,
        "file_sha256": sha256_file(output / ADAPTED),
        "pixels": pixels,
        "parity": asdict(parity),
        "versions": facts.versions(),
    }
    write_json(output / RECORD, record)


def _licence(block: Block, behind: str) -> str:
    kind = "photographs of people" if block.card.real_faces else "synthetic pictures"
    return f"{behind}; block: {kind}, {block.card.pictures}: {block.card.licence}"
