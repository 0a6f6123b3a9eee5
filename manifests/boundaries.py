"""Boundaries: one hyperplane normal per reference face, and whether it became identities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from manifests.digests import table_digest
from manifests.errors import InputError
from manifests.tables import read_table, write_table

KIND = "boundaries-1"


@dataclass(frozen=True)
class Boundaries:
    """Unit normals that point to the dissimilar side, in the coordinates of `space`."""

    face_id: Int[np.ndarray, " reference"]
    normal: Float[np.ndarray, "reference width"]
    accuracy: Float[np.ndarray, " reference"]  # held-out, 0..1
    reason: tuple[str, ...]  # empty: kept
    space: str
    solver: str
    manifest_digest: str  # of the pool that the references and neighbours come from
    teacher_root: str  # of the store whose embeddings labelled the neighbours

    def __post_init__(self) -> None:
        lengths = {len(self.face_id), len(self.normal), len(self.accuracy), len(self.reason)}
        if len(lengths) != 1:
            raise InputError(f"boundary columns of unlike lengths {sorted(lengths)}")
        norms = np.linalg.norm(self.normal.astype(np.float64), axis=1)
        if not np.allclose(norms, 1.0, atol=1e-4):
            row = int(np.argmax(~(np.abs(norms - 1.0) < 1e-4)))
            raise InputError(f"boundary {row}: normal has length {norms[row]:.4g}, expected 1")

    @property
    def kept(self) -> Bool[np.ndarray, " reference"]:
        return np.array([not reason for reason in self.reason], dtype=bool)

    @property
    def digest(self) -> str:
        return table_digest(self._table(), {"kind": KIND, **self._metadata()})

    def write(self, path: Path) -> None:
        write_table(path, KIND, self._table(), self._metadata())

    @classmethod
    def read(cls, path: Path) -> Boundaries:
        table, metadata, _ = read_table(path, KIND, _schema(1))
        width = table.schema.field("normal").type.list_size
        flat = table["normal"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        try:
            return cls(
                table["face_id"].to_numpy(),
                flat.reshape(-1, width),
                table["accuracy"].to_numpy(),
                tuple(table["reason"].to_pylist()),
                metadata["space"],
                metadata["solver"],
                metadata["manifest_digest"],
                metadata["teacher_root"],
            )
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def _table(self) -> pa.Table:
        width = self.normal.shape[1]
        flat = pa.array(np.ascontiguousarray(self.normal, np.float32).reshape(-1))
        columns = [
            pa.array(self.face_id, pa.int64()),
            pa.FixedSizeListArray.from_arrays(flat, width),
            pa.array(self.accuracy, pa.float32()),
            pa.array(self.reason, pa.string()),
        ]
        return pa.Table.from_arrays(columns, schema=_schema(width))

    def _metadata(self) -> dict[str, str]:
        names = ("space", "solver", "manifest_digest", "teacher_root")
        return {name: str(getattr(self, name)) for name in names}


def _schema(width: int) -> pa.Schema:
    return pa.schema(
        {
            "face_id": pa.int64(),
            "normal": pa.list_(pa.float32(), width),
            "accuracy": pa.float32(),
            "reason": pa.string(),
        }
    )
