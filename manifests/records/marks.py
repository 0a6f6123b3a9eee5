"""Marks: which faces of a round are near-duplicates, of low quality, unlike the other faces of
their identity, or of low utility to recognition. Nothing is removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from manifests.core.errors import InputError
from manifests.core.tables import read_table, write_table

KIND = "marks-1"
NEAR_DUPLICATE, LOW_QUALITY, OFF_IDENTITY = "near_duplicate", "low_quality", "off_identity"
LOW_UTILITY = "low_utility"  # by a quality head; low_quality is by the detector's score
REASONS = (NEAR_DUPLICATE, LOW_QUALITY, OFF_IDENTITY, LOW_UTILITY)
SCHEMA = pa.schema(
    {
        "row": pa.int64(),
        "reason": pa.string(),
        "value": pa.float32(),  # a cosine, or the quality
        "of_round": pa.string(),  # where the face is that a duplicate repeats
        "of_row": pa.int64(),
    }
)


@dataclass(frozen=True)
class Mark:
    """One reason why a row is suspect; a row may have several."""

    row: int
    reason: str
    value: float
    of_round: str | None = None
    of_row: int | None = None


@dataclass(frozen=True)
class Marks:
    """The marks of a round, by row and reason, and what they were drawn from."""

    marks: tuple[Mark, ...]
    faces_root: str
    teacher_root: str
    rule: Mapping[str, str]  # thresholds, and the rounds whose faces came first

    def rows(self, reasons: Collection[str]) -> Int[np.ndarray, " row"]:
        """Rows marked for any of these reasons, ascending."""
        return np.unique([mark.row for mark in self.marks if mark.reason in reasons]).astype(int)

    @property
    def counts(self) -> dict[str, int]:
        found = Counter(mark.reason for mark in self.marks)
        return {reason: found[reason] for reason in REASONS}

    def write(self, path: Path) -> str:
        """Returns the digest."""
        rows = sorted(self.marks, key=lambda mark: (mark.row, mark.reason))
        table = pa.Table.from_pylist([asdict(mark) for mark in rows], schema=SCHEMA)
        links = {"faces_root": self.faces_root, "teacher_root": self.teacher_root}
        return write_table(path, KIND, table, {**self.rule, **links})

    @classmethod
    def read(
        cls, path: Path, *, faces_root: str, teacher_root: str, num_rows: int
    ) -> tuple[Marks, str]:
        """The marks and their digest; `num_rows`: of the faces.

        Raises InputError if they were drawn from other stores than the ones at hand.
        """
        table, metadata, digest = read_table(path, KIND, SCHEMA)
        links = metadata.pop("faces_root", ""), metadata.pop("teacher_root", "")
        if links != (faces_root, teacher_root):
            raise InputError(
                f"{path}: drawn from faces {links[0][:12]} and embeddings {links[1][:12]}, at hand "
                f"are {faces_root[:12]} and {teacher_root[:12]}; run facestill screen again"
            )
        marks = tuple(Mark(**row) for row in table.to_pylist())
        for mark in marks:
            if mark.row is None or mark.row < 0 or mark.row >= num_rows:
                raise InputError(
                    f"{path}: marks row {mark.row} of {num_rows} faces; run facestill screen again"
                )
        strangers = {mark.reason for mark in marks} - set(REASONS)
        if strangers:
            raise InputError(f"{path}: reason {sorted(strangers)[0]!r}, expected one of {REASONS}")
        return cls(marks, *links, {k: v for k, v in metadata.items() if k != "kind"}), digest
