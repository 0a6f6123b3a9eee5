"""GapTable: how far a student is from its teacher on every usable face of a round."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from manifests.core.errors import InputError
from manifests.core.tables import read_versions, write_table

KIND, FIRST_KIND = "gap-table-2", "gap-table-1"
FIRST_SCHEMA = pa.schema(
    {
        "face_id": pa.int64(),
        "gap": pa.float32(),
        "flip_gap": pa.float32(),
        "impostor_margin": pa.float32(),
        "region": pa.int32(),
    }
)
SLACK = 1e-3  # of cosines in float32
SCHEMA = FIRST_SCHEMA.append(pa.field("neighbour_disagreement", pa.float32()))


@dataclass(frozen=True)
class GapTable:
    """gap = 1 - cosine of the centred embeddings of student and teacher, 0..2."""

    face_id: Int[np.ndarray, " face"]
    gap: Float[np.ndarray, " face"]  # plain view
    flip_gap: Float[np.ndarray, " face"]  # mirrored view
    impostor_margin: Float[np.ndarray, " face"]  # own teacher cosine less the best other's
    region: Int[np.ndarray, " face"]  # -1: not assigned
    # share of the teacher's nearest faces that are none of the student's; NaN: version 1 table
    neighbour_disagreement: Float[np.ndarray, " face"]
    student_digest: str
    teacher_root: str

    def __post_init__(self) -> None:
        if any(len(column) != len(self.face_id) for column in self._columns()):
            raise InputError("gap table: columns of unlike lengths")
        if not all(np.isfinite(column).all() for column in self._columns()[1:4]):
            raise InputError("gap table: a gap is not finite; the student diverged: train again")
        for column in (self.gap, self.flip_gap):
            if len(column) and not -SLACK <= column.min() <= column.max() <= 2 + SLACK:
                raise InputError(
                    f"gap table: gaps of {column.min():g} to {column.max():g}, expected 0..2; run "
                    "gap again"
                )

        own, share = self.impostor_margin, self.neighbour_disagreement
        known = share[~np.isnan(share)]
        if (np.abs(own) > 2 + SLACK).any() or (self.region < -1).any():
            raise InputError("gap table: margins beyond -2..2, or a region below -1; run gap again")
        if ((known < -SLACK) | (known > 1 + SLACK)).any():
            raise InputError("gap table: a share of neighbours beyond 0..1; run gap again")

    @property
    def mean(self) -> float:
        """Mean gap over both views; NaN-free, 0 for an empty round."""
        both = np.concatenate([self.gap, self.flip_gap]).astype(np.float64)
        return float(both.mean()) if len(both) else 0.0

    def write(self, path: Path) -> str:
        arrays = [pa.array(c, f.type) for c, f in zip(self._columns(), SCHEMA, strict=True)]
        return write_table(path, KIND, pa.Table.from_arrays(arrays, schema=SCHEMA), self._links())

    @classmethod
    def read(cls, path: Path, *, expect_teacher: str | None = None) -> GapTable:
        table, metadata, _ = read_versions(path, {FIRST_KIND: FIRST_SCHEMA, KIND: SCHEMA})
        links = metadata.get("student_digest", ""), metadata.get("teacher_root", "")
        if expect_teacher is not None and links[1] != expect_teacher:
            raise InputError(
                f"{path}: measured against teacher store {links[1][:12]}, the store at hand is "
                f"{expect_teacher[:12]}; run the gap stage again"
            )
        columns = [column.to_numpy() for column in table.itercolumns()]
        if metadata["kind"] == FIRST_KIND:
            columns.append(np.full(len(table), np.nan, np.float32))
        try:
            return cls(*columns, student_digest=links[0], teacher_root=links[1])
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def _columns(self) -> list[np.ndarray]:
        """In the order of the schema."""
        return [
            self.face_id, self.gap, self.flip_gap, self.impostor_margin, self.region,
            self.neighbour_disagreement,
        ]  # fmt: skip

    def _links(self) -> dict[str, str]:
        return {"student_digest": self.student_digest, "teacher_root": self.teacher_root}
