"""Scored pairs of made-up people: tables, result folders of eval.verify, and known truths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.stats import norm

from eval.scoring.fairness import by_group
from eval.scoring.intervals import PairSubjects
from eval.scoring.metrics import figures_of
from eval.scoring.results import Result
from eval.scoring.scored import ScoredPairs, parse_scores
from manifests.core.files import write_json
from manifests.core.tables import write_table
from manifests.photographs.scores import GROUP, GROUPED, KIND, SCHEMA

PROTOCOL = "ab" * 32


def scores_table(
    scores: np.ndarray,
    same: np.ndarray,
    *,
    fold: np.ndarray | None = None,
    left: list[str] | None = None,
    right: list[str] | None = None,
) -> pa.Table:
    """Without names every genuine pair is of a person of its own, every impostor pair of two."""
    count = len(scores)
    columns: list[Any] = [
        np.arange(count),
        np.arange(count) // 2 % 5 if fold is None else fold,
        [f"a{row}/0.jpg" for row in range(count)] if left is None else left,
        [f"{'a' if same[row] else 'b'}{row}/1.jpg" for row in range(count)]
        if right is None
        else right,
        same,
        scores,
        np.zeros(count, bool),
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def people_table(seed: int = 0, *, people: int = 12, noise: float = 0.2) -> pa.Table:
    """Two genuine and four impostor pairs a person, whose scores people share in; 5 folds."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), 6)
    same = np.tile([True, True, False, False, False, False], people)
    other = np.where(same, person, (person + 1 + rng.integers(people - 1, size=len(same))) % people)
    effect = rng.normal(0, 0.1, people)
    scores = np.where(same, 0.6 - effect[person], 0.1 + effect[person] + effect[other])
    scores = np.clip(scores + rng.normal(0, noise, len(same)), -1, 1)
    left = [f"p{a}/{row}.jpg" for row, a in enumerate(person)]
    right = [f"p{b}/x{row}.jpg" for row, b in enumerate(other)]
    return scores_table(scores, same, fold=person % 5, left=left, right=right)


def people_pairs(seed: int = 0, *, people: int = 12, noise: float = 0.2) -> ScoredPairs:
    return parse_scores(people_table(seed, people=people, noise=noise))


def write_result(
    folder: Path,
    table: pa.Table,
    *,
    protocol: str = PROTOCOL,
    changed: dict[str, Any] | None = None,
) -> Path:
    """metrics.json and scores.parquet; `changed` figures contradict the scores."""
    facts = {
        "model": folder.name,
        "model_sha256": "cd" * 32,
        "metric": "cosine",
        "benchmark": "toy",
        "protocol_sha256": protocol,
        "subject_rule": "folder",
    }
    kind = GROUPED if GROUP.name in table.schema.names else KIND
    write_table(folder / "scores.parquet", kind, table, facts)
    figures = figures_of(table, "cosine", "folder", resamples=20)
    if kind == GROUPED:
        pairs = parse_scores(table)
        told = by_group(pairs, "cosine", pairs.subjects("folder"), resamples=20)
        figures["by_group"] = {"basis": "made up", **told}
    write_json(folder / "metrics.json", {**facts, **figures, **(changed or {})})
    return folder


def made_result(name: str, table: pa.Table, *, protocol: str = PROTOCOL) -> Result:
    """As `read_result` gives it, without the bootstrap that it takes."""
    facts = {"model": name, "model_sha256": "cd" * 32, "metric": "cosine"}
    figures = figures_of(table, "cosine", "folder", resamples=4)
    facts["protocol_sha256"] = protocol
    return Result(Path(name), facts, "folder", parse_scores(table), figures)


# A population with a known truth: people shift the scores of all their pairs, 0 decides.
SHIFT, NOISE, MARGIN = 0.12, 0.2, 0.3
SPREAD = float(np.sqrt(2 * SHIFT**2 + NOISE**2))
ACCURACY = float(norm.cdf(MARGIN / SPREAD))
AUC = float(norm.cdf(2 * MARGIN / (np.sqrt(2) * SPREAD)))


def sample(
    seed: int, *, people: int, genuine_each: int, impostors: int, shift: float = SHIFT
) -> tuple[PairSubjects, np.ndarray, np.ndarray]:
    """(subjects, same, scores) of pairs among people; with less `shift` there is more noise."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), genuine_each)
    first = rng.integers(people, size=impostors)
    second = (first + 1 + rng.integers(people - 1, size=impostors)) % people
    left, right = np.concatenate([person, first]), np.concatenate([person, second])
    own = rng.normal(0, 1, people)
    effect = np.where(left == right, np.sqrt(2) * own[left], own[left] + own[right])
    noise = np.sqrt(NOISE**2 + 2 * (SHIFT**2 - shift**2))
    margin = MARGIN + shift * effect + rng.normal(0, noise, len(left))
    same = np.arange(len(left)) < len(person)
    return PairSubjects(left, right, people), same, np.where(same, margin, -margin)
