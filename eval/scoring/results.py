"""Result folders of `facestill verify`, proven and paired: what metrics.json says must follow from
its scores, and two models are compared on the same pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from eval.scoring.fairness import by_group
from eval.scoring.folds import insightface_accuracy
from eval.scoring.intervals import RESAMPLES, Statistic, identity_bootstrap, mcnemar
from eval.scoring.metrics import (
    DEEP_FARS,
    FIGURES,
    PLACE,
    figures_of_pairs,
    verification_statistic,
)
from eval.scoring.scored import ScoredPairs, read_scores
from manifests.core.errors import InputError, pick
from manifests.core.files import read_foreign_json

LARGEST_JSON = 1 << 24  # bytes; one that we write has a few thousand
FACTS = ("model", "model_sha256", "metric", "protocol_sha256")
PROVEN = (
    "accuracy", "accuracy_std", "accuracy_ci95", "accuracy_facexzoo", "auc", "eer", "num_pairs",
)  # fmt: skip
TOLERANCE = 1e-9
METRICS = ("cosine", "euclidean")


@dataclass(frozen=True)
class Result:
    """One model on one protocol: pairs as they were scored, and the figures that follow."""

    folder: Path
    facts: Mapping[str, str]
    subject_rule: str
    pairs: ScoredPairs
    figures: Mapping[str, Any]

    @property
    def protocol(self) -> str:
        return self.facts["protocol_sha256"]

    @property
    def label(self) -> str:
        return self.folder.as_posix()

    def decisions(self) -> np.ndarray:
        """Whether each pair is decided rightly, at the threshold that the other folds chose."""
        pairs = self.pairs
        return insightface_accuracy(
            pairs.score, pairs.same, pairs.fold, self.facts["metric"]
        ).correct


def read_result(folder: Path) -> Result:
    """The result in a folder, its figures computed from scores.parquet again.

    Raises InputError for a missing or unreadable file, a metrics.json of other scores, one whose
    figures do not follow from the scores, and pairs in a single fold.
    """
    said = _read_metrics(folder / "metrics.json")
    pairs, metadata = read_scores(folder / "scores.parquet")
    _check_facts(folder, said, metadata)
    if pairs.num_folds < 2:
        raise InputError(f"{folder}: its pairs are in one fold; accuracy needs at least two")
    pick("metric", metadata["metric"], dict.fromkeys(METRICS))
    rule = metadata.get("subject_rule", "folder")
    try:
        figures = figures_of_pairs(pairs, metadata["metric"], rule)
        if pairs.group is not None:
            figures["by_group"] = by_group(pairs, metadata["metric"], pairs.subjects(rule))
    except InputError as error:
        raise InputError(f"{folder / 'scores.parquet'}: {error}") from None
    _check_figures(folder, said, figures)
    return Result(folder, {name: metadata[name] for name in FACTS}, rule, pairs, figures)


def _read_metrics(path: Path) -> Mapping[str, Any]:
    try:
        said = read_foreign_json(path, LARGEST_JSON, "run facestill verify again")
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{path}: no such file; name folders that facestill verify wrote with --out"
        ) from None
    except IsADirectoryError as error:
        raise InputError(f"{path}: not JSON ({error}); run facestill verify again") from None
    if not isinstance(said, dict):
        raise InputError(f"{path}: holds no object of figures; run facestill verify again")
    return said


def _check_facts(folder: Path, said: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Both files are of one model on one protocol."""
    for name in FACTS:
        for file, facts in (("metrics.json", said), ("scores.parquet", metadata)):
            if name not in facts:
                raise InputError(
                    f"{folder / file}: does not say {name}; run facestill verify again"
                )
        if str(said[name]) != metadata[name]:
            raise InputError(
                f"{folder}: metrics.json is of {name} {str(said[name])[:40]!r}, scores.parquet of "
                f"{metadata[name][:40]!r}; run facestill verify again"
            )


def _check_figures(folder: Path, said: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
    for name, value in _proven(said, figures).items():
        if name in said and not _equal(said[name], value):
            raise InputError(
                f"{folder / 'metrics.json'}: says {name} {str(said[name])[:60]}, its "
                f"scores.parquet gives {value}; run facestill verify again"
            )


def _proven(said: Mapping[str, Any], figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures that scores alone decide: no bootstrap, and no TAR over all pairs of images."""
    names = PROVEN if "tar_at_far_num_pairs" in said else (*PROVEN, "tar_at_far")
    proven = {name: figures[name] for name in names}
    if "tar_at_far" in proven:
        keys = ("value", "ci95", "threshold")
        rates = said.get("tar_at_far")
        # What was measured before there were these says nothing of them.
        before = rates if isinstance(rates, dict) else dict.fromkeys(figures["tar_at_far"])
        proven["tar_at_far"] = {
            far: rate and {key: rate[key] for key in keys}
            for far, rate in figures["tar_at_far"].items()
            if float(far) not in DEEP_FARS or far in before
        }
    if "by_group" in figures:
        proven["by_group"] = _without_intervals(figures["by_group"])
    return proven


def _without_intervals(found: Any) -> Any:
    if not isinstance(found, dict):
        return found
    return {
        name: _without_intervals(value)
        for name, value in found.items()
        if not name.startswith("ci95")
    }


def _equal(said: Any, found: Any) -> bool:
    """Numbers up to rounding; of an object what was found must be there, more may be."""
    match found:
        case dict():
            return isinstance(said, dict) and all(
                key in said and _equal(said[key], value) for key, value in found.items()
            )
        case list():
            return (
                isinstance(said, list)
                and len(said) == len(found)
                and all(_equal(*both) for both in zip(said, found, strict=True))
            )
        case float() | int():
            numeric = isinstance(said, int | float) and not isinstance(said, bool)
            return numeric and bool(np.isclose(said, found, rtol=0.0, atol=TOLERANCE))
    return bool(said == found)


def check_same_pairs(results: Sequence[Result]) -> None:
    """Raises InputError, naming both, unless all are on one protocol and one list of pairs."""
    first = results[0]
    for other in results[1:]:
        if other.protocol != first.protocol:
            raise InputError(
                f"unlike protocols: {first.folder} was measured on {first.protocol[:12]}, "
                f"{other.folder} on {other.protocol[:12]}; measure both on one benchmark"
            )
        difference = _first_difference(first, other)
        if difference is not None:
            raise InputError(
                f"unlike pair lists under one protocol: {first.folder} and {other.folder} differ "
                f"in {difference}; run facestill verify again"
            )


def _first_difference(first: Result, other: Result) -> str | None:
    if len(first.pairs) != len(other.pairs):
        return f"their number, {len(first.pairs)} and {len(other.pairs)}"
    for name in ("pair_id", "fold", "left", "right", "same", "group"):
        both = [np.asarray(getattr(result.pairs, name)) for result in (first, other)]
        rows = np.flatnonzero(both[0] != both[1])
        if len(rows):
            return f"{name} of row {rows[0]}"
    return None


def paired(a: Result, b: Result, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Any]:
    """A less B: differences of figures with intervals over identities, both models' figures
    computed from the same resampled people, and McNemar's test of the held-out decisions."""
    decisions = a.decisions(), b.decisions()
    statistics = [
        verification_statistic(result.pairs, correct)
        for result, correct in zip((a, b), decisions, strict=True)
    ]
    resampled = identity_bootstrap(
        difference(*statistics), a.pairs.subjects(a.subject_rule), resamples=resamples, seed=seed
    )
    rates = a.figures["tar_at_far"]
    tars = [f"tar@{far}" for far, rate in rates.items() if rate is not None]
    return {
        "a": a.label,
        "b": b.label,
        "difference": {
            name: resampled.figure(PLACE[name]) for name in ("accuracy", "auc", "eer", *tars)
        },
        "mcnemar": asdict(mcnemar(*decisions)),
    }


def difference(a: Statistic, b: Statistic) -> Statistic:
    """FIGURES of A less those of B at the same pair weights."""

    def statistic(weights: Float[np.ndarray, " pair"]) -> Float[np.ndarray, " figure"]:
        return (a(weights) - b(weights))[: len(FIGURES)]

    return statistic
