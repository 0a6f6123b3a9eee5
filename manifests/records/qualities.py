"""QualityTable: how well a network thinks that each face of a store can be recognised."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from manifests.core.errors import InputError
from manifests.core.tables import read_table, write_table

KIND = "face-qualities-1"
SCHEMA = pa.schema({"face_id": pa.int64(), "quality": pa.float32()})
LINKS = ("model", "model_sha256", "head_sha256", "ratio", "faces_root")


def table_of(folder: Path, round: str) -> Path:
    """Where a round's table lies among others; teamA/pool is called teamA.pool."""
    return folder / f"{round.replace('/', '.')}.parquet"


@dataclass(frozen=True)
class QualityTable:
    """Row i is row i of the face store; NaN where the face failed. Higher is better; two tables
    are on one scale only if one head made both."""

    face_id: Int[np.ndarray, " face"]
    quality: Float[np.ndarray, " face"]
    model: str  # the run directory
    model_sha256: str  # of its student
    head_sha256: str
    ratio: str  # what its quality head predicts
    faces_root: str

    def __post_init__(self) -> None:
        if np.isinf(self.quality).any():
            row = int(np.argmax(np.isinf(self.quality)))
            raise InputError(f"qualities: row {row} is not finite; train the quality head again")

    def worst(self, usable: Int[np.ndarray, " row"], share: float) -> Int[np.ndarray, " marked"]:
        """The rows of lowest quality, ascending: this share of the usable ones, rounded down; of
        equal ones the first."""
        order = np.argsort(self.quality[usable], kind="stable")
        return np.sort(usable[order[: int(share * len(usable) * (1 + 1e-12))]])

    def weights(self, usable: Int[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
        """What usable faces count for in training: qualities brought to 0..1 by the lowest and the
        highest (as CR-FIQA weighs the frames of a template), then divided by their mean, so that
        a learning rate keeps its meaning. Of equal qualities all weigh 1."""
        quality = self.quality[usable].astype(np.float64)
        if not len(quality) or quality.min() == quality.max():
            return np.ones(len(quality))
        shares = (quality - quality.min()) / (quality.max() - quality.min())
        return shares / shares.mean()

    def require(self, usable: Int[np.ndarray, " row"], path: Path) -> None:
        """Raises InputError if a usable face has no quality."""
        if len(usable) and usable.max() >= len(self.quality):
            raise InputError(
                f"{path}: {len(self.quality)} rows, and row {usable.max()} is a usable face; run "
                "`facestill qualities` again"
            )
        missing = usable[np.isnan(self.quality[usable])]
        if len(missing):
            raise InputError(
                f"{path}: row {missing[0]} is a usable face without a quality; run "
                "`facestill qualities` again"
            )

    def write(self, path: Path) -> str:
        """Returns the digest."""
        columns = (self.face_id, pa.array(self.quality, pa.float32(), from_pandas=True))
        arrays = [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)]
        links = {name: str(getattr(self, name)) for name in LINKS}
        return write_table(path, KIND, pa.Table.from_arrays(arrays, schema=SCHEMA), links)

    @classmethod
    def read(cls, path: Path, *, faces_root: str) -> tuple[QualityTable, str]:
        """The table and its digest. Raises InputError if it is of other faces than at hand."""
        table, metadata, digest = read_table(path, KIND, SCHEMA)
        if metadata.get("faces_root") != faces_root:
            raise InputError(
                f"{path}: qualities of faces {metadata.get('faces_root', '')[:12]}, at hand are "
                f"{faces_root[:12]}; run `facestill qualities` again"
            )
        missing = [name for name in LINKS if name not in metadata]
        if missing:
            raise InputError(f"{path}: does not say its {missing[0]}; make it again")
        face_id, quality = table["face_id"].to_numpy(), table["quality"].to_numpy()
        try:
            return cls(face_id, quality, *(metadata[name] for name in LINKS)), digest
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
