"""Scored pairs: what every figure is computed from, and what a scores table holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from eval.scoring.intervals import PairSubjects, pair_subjects
from manifests.core.errors import InputError
from manifests.core.tables import read_versions, write_table
from manifests.photographs.columns import Names, together
from manifests.photographs.scores import GROUP, GROUPED, KIND, SCHEMAS


@dataclass(frozen=True)
class ScoredPairs:
    """The columns of a scores table: at least one genuine and one impostor pair, all finite."""

    pair_id: Int[np.ndarray, " pair"]
    fold: Int[np.ndarray, " pair"]
    left: Sequence[str]
    right: Sequence[str]
    same: Bool[np.ndarray, " pair"]
    score: Float[np.ndarray, " pair"]  # higher: more alike
    failed: Bool[np.ndarray, " pair"]
    group: Sequence[str] | None = None  # of both people; "": of no one group

    def __len__(self) -> int:
        return len(self.same)

    @property
    def num_folds(self) -> int:
        return len(np.unique(self.fold))

    def subjects(self, rule: str) -> PairSubjects:
        return pair_subjects(self.left, self.right, self.same, rule)

    @cached_property
    def distinct_impostors(self) -> int:
        """Impostor pairs, each counted once however often it stands there."""
        return int((~self.same & ~repeated(self.left, self.right)).sum())

    def only(self, rows: Bool[np.ndarray, " pair"]) -> ScoredPairs:
        """Some of them."""
        left, right = (Names.of(side).where(rows) for side in (self.left, self.right))
        group = None if self.group is None else Names.of(self.group).where(rows)
        numbers = (self.pair_id, self.fold, self.same, self.score, self.failed)
        pair_id, fold, same, score, failed = (column[rows] for column in numbers)
        return ScoredPairs(pair_id, fold, left, right, same, score, failed, group)

    @property
    def kind(self) -> str:
        """Of its table."""
        return KIND if self.group is None else GROUPED

    def table(self) -> pa.Table:
        """scores.parquet, that `parse_scores` reads."""
        schema = SCHEMAS[self.kind]
        return pa.Table.from_arrays([self._column(field) for field in schema], schema=schema)

    def _column(self, field: pa.Field) -> pa.Array:
        values = getattr(self, field.name)
        if field.type == pa.string():
            return Names.of(values).arrow()
        return pa.array(values, field.type)

    def write(self, path: Path, facts: Mapping[str, str]) -> None:
        """The table with facts that are not a pair's own."""
        write_table(path, self.kind, self.table(), facts)


def repeated(left: Sequence[str], right: Sequence[str]) -> Bool[np.ndarray, " pair"]:
    """Pairs that say nothing new: one that stands before, either way round, or of one picture."""
    names, one, other = together(left, right)
    key = np.minimum(one, other) * len(names) + np.maximum(one, other)
    new = np.zeros(len(key), bool)
    new[np.unique(key, return_index=True)[1]] = True
    return ~new | (one == other)


def check_pairs(scores: Float[np.ndarray, " pair"], same: Bool[np.ndarray, " pair"]) -> None:
    """Raises InputError where no figure can be computed: no pairs, one kind only, NaN."""
    if not len(scores):
        raise InputError("no pairs; figures need genuine and impostor pairs")
    if same.all() or not same.any():
        kind, other = ("genuine", "impostor") if same.all() else ("impostor", "genuine")
        raise InputError(
            f"all {len(same)} pairs are {kind} ones; figures need {other} pairs as well"
        )
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        raise InputError(
            f"{len(wrong)} scores are not finite, the first of pair {wrong[0]}; measure again "
            "with a model whose embeddings are finite"
        )


def parse_scores(table: pa.Table) -> ScoredPairs:
    """The pairs of a scores table. Raises InputError for values that cannot be scores."""
    for name in table.schema.names:
        if table[name].null_count:
            raise InputError(f"column {name} has {table[name].null_count} empty values")
    numbers = {
        name: table[name].to_numpy() for name in ("pair_id", "fold", "same", "score", "failed")
    }
    check_pairs(numbers["score"], numbers["same"])
    texts = [name for name in ("left", "right", GROUP.name) if name in table.schema.names]
    names: dict[str, Any] = {name: Names.of_arrow(table[name]) for name in texts}
    return ScoredPairs(**numbers, **names)


def read_scores(path: Path) -> tuple[ScoredPairs, Mapping[str, str]]:
    """The pairs and the metadata of a scores.parquet. Raises InputError, naming the file."""
    table, metadata, _ = read_versions(path, SCHEMAS)
    try:
        return parse_scores(table), metadata
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
