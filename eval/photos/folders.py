"""Embeddings of photographs: cut as verification cuts them, a row a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from eval.alignment import Alignment
from eval.photos.models import Model
from eval.photos.photo_sets import open_photographs
from manifests.core.errors import Faults, InputError
from manifests.core.progress import Bar
from manifests.core.tables import write_table
from manifests.photographs.images import ImageFolder, at_once, check_readable, read_photograph
from pipeline.aligners.base import Picture
from pipeline.arrays.align import Face, crop_photograph
from pipeline.arrays.numerics import BATCH

KIND = "photograph-embeddings-1"


def check_photographs(paths: Sequence[Path]) -> None:
    """Raises InputError naming all files that are no photographs: before a model is loaded."""
    faults = Faults("photographs")
    for path in paths:
        with faults:
            if not path.is_file():
                raise InputError(f"{path}: no such photograph")
            check_readable(ImageFolder(path.parent).read(path.name), str(path))
    faults.raise_any()


def crops_of(
    pictures: Iterable[Picture], model: Model, alignment: Alignment
) -> tuple[list[torch.Tensor], list[Face]]:
    """The face that is meant in each photograph, cut to the model's frame, and where it lies."""
    crops: list[torch.Tensor] = []
    faces: list[Face] = []
    for some in at_once(pictures):
        found = alignment.find(some)
        crops += map(crop_photograph, some, found, repeat(model.frame))
        faces += found
    return crops, faces


def embed_folder(folder: Path, model: Model, alignment: Alignment) -> pa.Table:
    """A row a photograph, by name: its embedding, and whether a face was detected. One that
    cannot be read keeps its row, with the reason.

    Raises InputError where there is no photograph, or none that can be read.
    """
    names = open_photographs(f"folder:{folder}").images
    rows: list[dict[str, Any]] = []
    with Bar(total=len(names), desc=f"embed {folder.name}", unit="image") as bar:
        for at in range(0, len(names), BATCH):
            rows += _embed_some(folder, names[at : at + BATCH], model, alignment)
            bar.update(len(rows) - bar.n)
    widths = {len(row["embedding"]) for row in rows if row["embedding"] is not None}
    if not widths:
        raise InputError(
            f"{folder}: none of {len(rows)} photographs is readable: {rows[0]['error']}"
        )
    return pa.Table.from_pylist(rows, embedding_schema(widths.pop()))


def _embed_some(
    folder: Path, names: Sequence[str], model: Model, alignment: Alignment
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"image": name, "detected": False, "embedding": None, "error": None} for name in names
    ]
    crops, faces = crops_of(_readable(folder, rows), model, alignment)
    readable = [row for row in rows if row["error"] is None]
    found = model.embed(torch.stack(crops)) if crops else ()
    for row, face, embedding in zip(readable, faces, found, strict=True):
        row["detected"], row["embedding"] = face.detected, embedding.astype(np.float32)
    return rows


def _readable(folder: Path, rows: list[dict[str, Any]]) -> Iterator[Picture]:
    """The photographs of rows; of those that cannot be read, the reason is noted in theirs."""
    for row in rows:
        try:
            yield read_photograph(folder / row["image"])
        except InputError as error:
            row["error"] = str(error)


def embedding_schema(width: int) -> pa.Schema:
    return pa.schema(
        {
            "image": pa.string(),  # relative to the folder
            "embedding": pa.list_(pa.float32(), width),  # null where the image is not readable
            "detected": pa.bool_(),  # where not, its central box was taken
            "error": pa.string(),
        }
    )


def write_embeddings(path: Path, table: pa.Table, model: Model, alignment: Alignment) -> None:
    facts = {
        "model": model.name,
        "model_sha256": model.sha256,
        "metric": model.metric,
        "mirrored_view_added": str(model.mirrored),
        "alignment": alignment.rule,
    }
    write_table(path, KIND, table, facts)
