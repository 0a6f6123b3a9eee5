"""Boundaries: one hyperplane normal per reference face, and whether it became identities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from manifests.core.digests import table_digest
from manifests.core.errors import InputError
from manifests.core.tables import read_table, write_table

KIND = "boundaries-1"


@dataclass(frozen=True)
class Boundaries:
    """Unit normals that point to the dissimilar side, in the coordinates latent / scale of
    `space`; where none could be drawn the normal is zero, with the reason."""

    face_id: Int[np.ndarray, " reference"]
    normal: Float[np.ndarray, "reference width"]
    accuracy: Float[np.ndarray, " reference"]  # held-out, 0..1
    reason: tuple[str, ...]  # empty: kept
    space: str
    solver: str
    manifest_digest: str  # of the pool that the references and neighbours come from
    teacher_root: str  # of the store whose embeddings labelled the neighbours
    scale: Float[np.ndarray, " width"]  # of each coordinate; 1 in z

    def __post_init__(self) -> None:
        lengths = {len(self.face_id), len(self.normal), len(self.accuracy), len(self.reason)}
        if len(lengths) != 1:
            raise InputError(f"boundary columns of unlike lengths {sorted(lengths)}")
        norms = np.linalg.norm(self.normal.astype(np.float64), axis=1)
        valid = (np.abs(norms - 1.0) < 1e-4) | ((norms == 0) & ~self.kept)
        if not valid.all():
            row = int(np.argmin(valid))
            raise InputError(f"boundary {row}: normal has length {norms[row]:.4g}, expected 1")

        sound = (self.accuracy >= 0) & (self.accuracy <= 1)
        if not sound.all():
            row = int(np.argmin(sound))
            raise InputError(f"boundary {row}: accuracy {self.accuracy[row]:g}, expected 0 to 1")

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
                _scale(metadata.get("scale", ""), width),
            )
        except (InputError, ValueError) as error:
            raise InputError(f"{path}: {error}") from None
        except KeyError as error:
            raise InputError(f"{path}: does not say its {error}; run boundaries again") from None

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
        described = {name: str(getattr(self, name)) for name in names}
        if (self.scale != 1.0).any():
            described["scale"] = " ".join(map(repr, self.scale.tolist()))
        return described


def _scale(text: str, width: int) -> Float[np.ndarray, " width"]:
    """Ones where a file does not say otherwise."""
    numbers = np.array(text.split(), np.float64) if text else np.ones(width)
    if len(numbers) != width or not ((numbers > 0) & np.isfinite(numbers)).all():
        raise InputError(f"scale is not of {width} positive finite numbers")
    return numbers


def _schema(width: int) -> pa.Schema:
    return pa.schema(
        {
            "face_id": pa.int64(),
            "normal": pa.list_(pa.float32(), width),
            "accuracy": pa.float32(),
            "reason": pa.string(),
        }
    )
