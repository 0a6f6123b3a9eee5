"""Making the files of an export from an opened run. Calibrated on some synthetic faces of
the training stores, measured on those of the probe; never more than a block of a store in memory.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from manifests.core.files import link_or_copy, put, write_json
from manifests.records.exports import FLOAT, INT8, LATENCY, WEIGHTS, Export, FileFacts, Int8Cost
from manifests.stores.reading import CHUNK_ROWS, FaceStore
from pipeline.arrays.frames import Frame, to_frame
from train.checkpoint import FILE
from train.exporting import facts
from train.exporting.graph import declaration, declared, to_onnx
from train.exporting.int8 import dynamic_int8, static_int8
from train.exporting.request import DYNAMIC, NONE, STATIC, Request
from train.exporting.running import (
    as_fed,
    check_parity,
    cosines,
    milliseconds,
    rounded,
    runner,
    torch_runner,
)

CALIBRATION_BLOCKS = 4  # of 64 rows: twice as many move 1 - cosine by 1e-5
BATCH = 32  # faces that are calibrated on at a time


def make(request: Request, folder: Path) -> None:
    """All files; the record last, since its presence says that they are finished."""
    student, card = request.student, request.student.card
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).unlink(missing_ok=True)  # of an export that was interrupted
    link_or_copy(student.folder / FILE, folder / WEIGHTS)
    model = to_onnx(student.network, card.input_size, request.pixels)
    files = {FLOAT: _declared(request, model)}
    parity = check_parity(files[FLOAT], student.network, card.input_size, request.pixels)
    if request.int8 != NONE:
        files[INT8] = _declared(request, _int8(request, model), "-int8")
    for name, data in files.items():
        put(folder / name, data)
    write_json(folder / LATENCY, latency(request, files))
    Export(
        run=request.name,
        pixels=request.pixels,
        opset=next(own.version for own in model.opset_import if not own.domain),
        student=facts.student_facts(student),
        training=facts.training_facts(request.log),
        stores=request.store_facts,
        files={name: _file(folder / name) for name in (WEIGHTS, *files)},
        parity=parity,
        int8=int8_cost(request, files[INT8]) if INT8 in files else None,
        versions=facts.versions(),
        template=facts.template(student),
        made_with=request.makers,
    ).write(folder)


def _declared(request: Request, model: Any, ending: str = "") -> bytes:
    """A file's bytes; it is named after architecture and weights, as a teacher would need it."""
    student = request.student
    family = student.card.name.replace(":", "-")
    values = declaration(
        student.card,
        name=f"{family[:40]}-{student.sha256[:8]}{ending}",
        licence=facts.licence_of(request.store_facts, request.makers),
    )
    return declared(model, values, {"student_sha256": student.sha256})


def _file(path: Path) -> FileFacts:
    return FileFacts(sha256_file(path), path.stat().st_size)


def _int8(request: Request, model: Any) -> Any:
    return (
        dynamic_int8(model) if request.int8 == DYNAMIC else static_int8(model, calibration(request))
    )


def calibration(
    request: Request,
) -> Iterator[Float[np.ndarray, "batch 3 size size"] | UInt8[np.ndarray, "batch 3 size size"]]:
    """Batches of training faces, as the graph is fed."""
    blocks = evenly(blocks_of(request.calibration), CALIBRATION_BLOCKS)
    for faces in crops(blocks, request.student.card.input_frame):
        for batch in torch.split(faces, BATCH):
            yield as_fed(batch, request.pixels).numpy()


def int8_cost(request: Request, data: bytes) -> Int8Cost:
    """How far the 8-bit network's embeddings of the probe are from the float network's."""
    assert request.probe is not None
    network, seen = request.student.network, request.student.card.input_frame
    faces = crops(blocks_of([request.probe]), seen)
    with torch.inference_mode():
        found = cosines(torch_runner(network), runner(data, request.pixels), faces)
    if not found.size or not np.isfinite(found).all():
        raise InputError(
            f"{request.probe.path}: the 8-bit network cannot be measured on its {len(found)} "
            "usable faces; export with --int8 none"
        )
    return Int8Cost(
        method=request.int8,
        calibrated_on=_calibrated_on(request) if request.int8 == STATIC else {},
        measured_on=request.probe.path.as_posix(),
        faces_root=request.probe.root,
        num_faces=len(found),
        cosine_mean=rounded(float(found.mean(dtype=np.float64))),
        cosine_p01=rounded(float(np.quantile(found, 0.01))),
        cosine_least=rounded(float(found.min())),
    )


def _calibrated_on(request: Request) -> dict[str, int]:
    """{path of a store: faces}."""
    counts: Counter[str] = Counter()
    for block in evenly(blocks_of(request.calibration), CALIBRATION_BLOCKS):
        counts[block[0].path.as_posix()] += num_faces(block)
    return dict(counts)


def latency(request: Request, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Milliseconds of one face of the student's own size on one thread, torch beside the files."""
    threads, size = torch.get_num_threads(), request.student.card.input_size
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            spent = {"torch": milliseconds(torch_runner(request.student.network), size)}
            for name, data in files.items():
                spent[name] = milliseconds(runner(data, request.pixels), size)
    finally:
        torch.set_num_threads(threads)
    return {"milliseconds": spent, "threads": 1, "machine": platform.machine()}


T = TypeVar("T")
Block = tuple[FaceStore, int]  # and its first row


def blocks_of(stores: Sequence[FaceStore]) -> list[Block]:
    """All blocks of rows, store after store."""
    return [(store, at) for store in stores for at in range(0, len(store), CHUNK_ROWS)]


def evenly(items: Sequence[T], count: int) -> list[T]:
    """`count` of them, evenly spaced, or all if they are fewer."""
    places = np.linspace(0, len(items) - 1, min(count, len(items)))
    return [items[int(place)] for place in places]


def num_faces(block: Block) -> int:
    """Usable faces of a block."""
    store, at = block
    return int(store.ok()[at : at + CHUNK_ROWS].sum())


def crops(blocks: Sequence[Block], seen: Frame) -> Iterator[Float[Tensor, "face 3 size size"]]:
    """The usable faces of each block, RGB in [0, 255], resampled to the frame `seen`."""
    usable: dict[str, np.ndarray] = {}
    for store, at in blocks:
        ok = usable.setdefault(store.root, store.ok())
        rows = np.flatnonzero(ok[at : at + CHUNK_ROWS])
        if len(rows):
            images = store.images(at, min(at + CHUNK_ROWS, len(store)))[rows]
            pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float()
            yield to_frame(pictures, Frame(**store.frame), seen)
