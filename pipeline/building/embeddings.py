"""From stored faces to a teacher's embeddings, and what is said of them. Arrays only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from jaxtyping import Float, UInt8

from manifests.building.writing import Column
from pipeline.arrays.frames import Frame, to_frame
from pipeline.arrays.numerics import in_fixed_batches
from pipeline.teachers.base import VIEWS, Teacher


def columns_of(teacher: Teacher) -> tuple[Column, ...]:
    """The arrays of a teacher store."""
    return (
        Column("embeddings", "float16", (len(VIEWS), teacher.width)),
        Column("norms", "float32", (len(VIEWS),)),
    )


def embed_faces(
    teacher: Teacher,
    images: UInt8[np.ndarray, "face size size 3"],
    frame: Frame,
    *,
    mirrored: bool = True,
) -> Float[np.ndarray, "face view width"]:
    """Raw float32 embeddings of stored crops, plain and mirrored, or plain alone."""

    def all_views(batch: torch.Tensor) -> torch.Tensor:
        crops = to_frame(batch.permute(0, 3, 1, 2).float(), frame, teacher.frame)
        views = [crops, crops.flip(3)] if mirrored else [crops]
        return torch.stack([teacher.embed(view) for view in views], dim=1).cpu()

    return in_fixed_batches(all_views, torch.from_numpy(images)).numpy()


def count(columns: Mapping[str, np.ndarray]) -> tuple[int, int, dict[str, int]]:
    """(rows, usable ones, failures by reason) of a shard's columns."""
    usable = np.isfinite(columns["embeddings"]).all(axis=(1, 2))
    failed = int((~usable).sum())
    return len(usable), len(usable) - failed, {"face_not_ok": failed} if failed else {}


def centre_and_spread(
    pieces: Callable[[], Iterable[np.ndarray]], width: int
) -> tuple[np.ndarray, float]:
    """Mean embedding, and the standard deviation of all centred coordinates, in float64.

    `pieces` gives (face, view, width) arrays and is called twice, so that one is in memory at
    a time. With no usable face: zeros and one.
    """
    total, count = np.zeros(width), 0
    for rows in map(_usable, pieces()):
        total, count = total + rows.sum(axis=0), count + len(rows)
    if not count:
        return total, 1.0
    mean = total / count
    squares = sum(float(((rows - mean) ** 2).sum()) for rows in map(_usable, pieces()))
    return mean, float(np.sqrt(squares / (count * width)))


def _usable(piece: np.ndarray) -> np.ndarray:
    rows = piece.reshape(-1, piece.shape[-1]).astype(np.float64)
    return rows[np.isfinite(rows).all(axis=1)]
