"""Benchmark: a frozen protocol. Pairs with folds, and the sha256 of every image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int

from manifests.digests import sha256_file, table_digest
from manifests.errors import InputError
from manifests.tables import read_table, write_table

KIND = "benchmark-1"
SCHEMA = pa.schema(
    {
        "pair_id": pa.int32(),
        "fold": pa.int16(),
        "left": pa.string(),
        "right": pa.string(),
        "left_sha256": pa.string(),
        "right_sha256": pa.string(),
        "same": pa.bool_(),
    }
)
ALIGNMENT = "dlib HOG, score > 0, + dlib5; most central face; retry at 2x; then the box 0.3..0.7"


@dataclass(frozen=True)
class Benchmark:
    """Verification pairs over images that are named relative to one folder."""

    name: str
    fold: Int[np.ndarray, " pair"]
    left: tuple[str, ...]
    right: tuple[str, ...]
    same: Bool[np.ndarray, " pair"]
    sha256: Mapping[str, str]  # of every image, by name
    alignment: str = ALIGNMENT

    def __post_init__(self) -> None:
        if {len(self.left), len(self.right), len(self.same)} != {len(self.fold)}:
            raise InputError(f"benchmark {self.name}: pair columns of unlike lengths")
        if not len(self.fold):
            raise InputError(f"benchmark {self.name}: no pairs")
        self._check_folds()
        missing = sorted({*self.left, *self.right} - set(self.sha256))
        if missing:
            raise InputError(f"benchmark {self.name}: no hash for image {missing[0]}")

    def _check_folds(self) -> None:
        numbers = np.unique(self.fold)
        if numbers[0] < 0:
            raise InputError(f"benchmark {self.name}: fold {numbers[0]}, expected 0, 1, 2, …")
        if not np.array_equal(numbers, np.arange(len(numbers))):
            empty = sorted(set(range(int(numbers.max()) + 1)) - set(numbers.tolist()))
            raise InputError(f"benchmark {self.name}: fold {empty[0]} has no pairs")
        if len(numbers) < 2:
            raise InputError(f"benchmark {self.name}: one fold only, at least 2 are needed")
        for number in numbers:
            if len(np.unique(self.same[self.fold == number])) < 2:
                raise InputError(
                    f"benchmark {self.name}: fold {number} needs genuine and impostor pairs"
                )

    @property
    def images(self) -> list[str]:
        """Every image named by a pair, sorted."""
        return sorted({*self.left, *self.right})

    def image_sha256(self) -> dict[str, str]:
        return {name: self.sha256[name] for name in self.images}

    @cached_property
    def protocol_sha256(self) -> str:
        """Over pairs, folds, image hashes and the alignment rule."""
        return table_digest(self._table(), self._metadata())

    def write(self, path: Path) -> None:
        write_table(path, KIND, self._table(), self._metadata())

    @classmethod
    def read(cls, path: Path) -> Benchmark:
        table, metadata, _ = read_table(path, KIND, SCHEMA)
        columns = {name: table[name].to_pylist() for name in table.schema.names}
        if metadata["alignment"] != ALIGNMENT:
            raise InputError(
                f"{path}: frozen for the alignment {metadata['alignment']!r}, this code aligns by "
                f"{ALIGNMENT!r}; freeze it again"
            )
        names = [*columns["left"], *columns["right"]]
        hashes = [*columns["left_sha256"], *columns["right_sha256"]]
        try:
            return cls(
                metadata["name"],
                table["fold"].to_numpy(),
                tuple(columns["left"]),
                tuple(columns["right"]),
                table["same"].to_numpy(),
                dict(zip(names, hashes, strict=True)),
                metadata["alignment"],
            )
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def check_images(self, folder: Path) -> None:
        """Raises InputError for the first image that is missing or not the frozen one."""
        for name, wanted in self.image_sha256().items():
            path = folder / name
            if not path.is_file():
                raise InputError(f"{path}: benchmark {self.name} names this image; it is missing")
            if sha256_file(path) != wanted:
                raise InputError(f"{path}: not the image that benchmark {self.name} was frozen on")

    def _table(self) -> pa.Table:
        hashes = [[self.sha256[name] for name in side] for side in (self.left, self.right)]
        columns = [np.arange(len(self.fold)), self.fold, self.left, self.right, *hashes, self.same]
        arrays = [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)]
        return pa.Table.from_arrays(arrays, schema=SCHEMA)

    def _metadata(self) -> dict[str, str]:
        return {"name": self.name, "alignment": self.alignment}
