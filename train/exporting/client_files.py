"""The files of a client, with what it has to know of them: made whole, and compared with the
student by the client itself where it is installed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from manifests.cards.markdown import inline
from manifests.core.backends import find_backend
from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from manifests.core.files import put, write_text
from manifests.records.clients import README, Agreement, ClientFile, ClientRecord
from pipeline.arrays.frames import ARCFACE112
from train.exporting import clients, facts
from train.exporting.clients.base import BOTH, COSINE, SIDE, Client, Crops, Fed
from train.exporting.graph import WithPreprocessing, declaration, declared
from train.exporting.int8 import dynamic_int8, static_int8
from train.exporting.making import CALIBRATION_BLOCKS, blocks_of, crops, evenly
from train.exporting.request import DYNAMIC, NONE, Request
from train.exporting.running import rounded, some_pictures

LEAST, LEAST_INT8 = 0.9999, 0.995  # cosine to the student: of every face, and in the mean
NUM_PICTURES = 7
MEASURED = 64  # faces of the probe that 8 bits are measured on


def client_of(name: str) -> Client:
    """Raises InputError that lists the clients, for what is none."""
    client: Client = find_backend(clients, "client", name).CLIENT
    return client


def make_for(name: str, request: Request, folder: Path) -> None:
    """Puts the client's files into the new folder `folder`, all or none.

    Raises InputError for a student that the client would show other faces than it has learnt, and
    where the client's embeddings are not the student's.
    """
    client = client_of(name)
    fed = Fed(request.student.network, request.student.card, client.feed)
    with tempfile.TemporaryDirectory(dir=folder.parent.parent) as scratch:
        made = Path(scratch) / name
        files = {}
        for file, data in client.files(fed, _quantiser(request, client), _declare(name, request)):
            put(made / file, data)
            agreement = agreement_of(client, request, made / file)
            files[file] = ClientFile(sha256_file(made / file), len(data), agreement)
        if client.page:
            put(made / "index.html", client.page.read_bytes())
        record = record_of(name, request, files)
        write_text(made / README, readme(record, client))
        record.write(made)
        made.rename(folder)


def _quantiser(request: Request, client: Client) -> Any:
    """From a float model to one of 8 bits, as the export itself; None where it has none."""

    def static(model: Any) -> Any:
        blocks = evenly(blocks_of(request.calibration), CALIBRATION_BLOCKS)
        faces = crops(blocks, ARCFACE112)
        return static_int8(model, (fed for each in faces for fed in client.feed.of(as_bytes(each))))

    methods = {NONE: None, DYNAMIC: dynamic_int8}
    return methods.get(request.int8, static)


def _declare(name: str, request: Request) -> Any:
    """What makes an ONNX file's bytes of a model: to `onnx:PATH` it is the student, too."""
    student, feed = request.student, client_of(name).feed
    family = f"{student.card.name.replace(':', '-')[:32]}-{student.sha256[:8]}-{name}"
    licence = facts.licence_of(request.store_facts, request.makers)

    def declare(model: Any, ending: str) -> bytes:
        card = replace(student.card, input_size=SIDE, views="plain")  # it holds the mirrored one
        values = declaration(card, name=family + ending, licence=licence)
        values |= {"normalisation": feed.normalisation, "layout": feed.layout}
        return declared(model, values, {"student_sha256": student.sha256})

    return declare


def agreement_of(client: Client, request: Request, path: Path) -> Agreement:
    """Raises InputError where the file's embeddings are not the student's."""
    in_bits = ".int8." in path.name
    faces = as_bytes(_faces(request) if in_bits else some_pictures(NUM_PICTURES, SIDE))
    measured_by, embed = client.opened(path)
    found = cosines(embed(faces), expected(request, faces))
    mean, least = float(found.mean()), float(found.min())
    if not (mean >= LEAST_INT8 if in_bits else least >= LEAST):
        raise InputError(
            f"{path.name}: by {measured_by} its embeddings are not the student's (cosine "
            f"{mean:.4f} in the mean, {least:.4f} at least); nothing was exported"
            + ("; go without 8 bits: --int8 none" if in_bits else "")
        )
    shown = "of the probe" if in_bits else "smooth pictures"
    return Agreement(measured_by, shown, len(faces), rounded(mean), rounded(least))


def _faces(request: Request) -> Float[Tensor, "face 3 side side"]:
    assert request.probe is not None  # where 8 bits are asked for
    blocks = crops(blocks_of([request.probe]), ARCFACE112)
    return next(blocks, torch.empty(0, 3, SIDE, SIDE))[:MEASURED]


def expected(request: Request, faces: Crops) -> Float[np.ndarray, "face width"]:
    """The student's own embeddings of crops, which its own graph resamples."""
    student = request.student
    whole = WithPreprocessing(student.network, student.card.input_size).eval()
    pictures = torch.from_numpy(faces).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        rows = whole(pictures)
        rows = rows + whole(pictures.flip(3)) if student.card.views == BOTH else rows
    found: np.ndarray = rows.numpy()
    return found


def cosines(
    one: Float[np.ndarray, "face width"], other: Float[np.ndarray, "face width"]
) -> Float[np.ndarray, " face"]:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    products: np.ndarray = np.einsum("ij,ij->i", one, other, dtype=np.float64)
    return products / lengths


def as_bytes(pictures: Float[Tensor, "face 3 side side"]) -> Crops:
    found: Crops = pictures.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
    return found


def record_of(name: str, request: Request, files: Mapping[str, ClientFile]) -> ClientRecord:
    student, client = request.student, client_of(name)
    return ClientRecord(
        client=name,
        run=request.name,
        student_sha256=student.sha256,
        frame=ARCFACE112.name,
        size=SIDE,
        colours="rgb",
        layout=client.feed.layout,
        normalisation=client.feed.normalisation,
        batch="any" if client.feed.open_batch else "1",
        embedding_width=student.card.embedding_width,
        metric=COSINE,
        views=student.card.views,
        licence=facts.licence_of(request.store_facts, request.makers),
        real_faces="; ".join(student.card.people),
        files=files,
        versions=facts.versions(),
    )


def readme(record: ClientRecord, client: Client) -> str:
    """The folder's README.md."""
    shape = "3 x 112 x 112" if record.layout == "nchw" else "112 x 112 x 3"
    pixels = "x in 0…255" if record.normalisation == "in-graph" else record.normalisation
    rows = "\n".join(
        f"| `{name}` | {file.num_bytes / 1e6:.1f} MB | {file.agreement.cosine_least:.6f} | "
        f"{file.agreement.measured_by}, {file.agreement.num_faces} {file.agreement.faces} |"
        for name, file in record.files.items()
    )
    people = f" Real faces: {inline(record.real_faces)}." if record.real_faces else ""
    return f"""# {inline(record.run)} for {record.client}

Student `{record.student_sha256}`.

- Input: {record.batch} x {shape}, float32, RGB, {pixels}; the face as in `{record.frame}`.
- Output: {record.embedding_width} numbers, compared by cosine; views: {record.views}, in one.
- Licence: {inline(record.licence)}.{people}

| file | | least cosine to the student | by |
|---|---:|---:|---|
{rows}

```{client.language}
{client.snippet}```

{client.notes}

The thresholds of `../MODEL_CARD.md` hold for these embeddings: both views are in them.
"""
