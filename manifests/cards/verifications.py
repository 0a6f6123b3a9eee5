"""Results of `facestill verify` as a model card repeats them: figures and their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manifests.core.bounds import Count, Real, Share
from manifests.core.errors import InputError
from manifests.core.files import read_foreign_json
from manifests.core.parsing import parse

METRICS = "metrics.json"
LARGEST = 1 << 24  # bytes; one that `facestill verify` writes has a few thousand


@dataclass(frozen=True)
class OperatingPoint:
    """The threshold that lets the share `fmr` of impostor pairs pass. Intervals are of 95 %."""

    fmr: Share
    threshold: Real
    threshold_ci95: tuple[Real, ...]
    fnmr: Share  # of genuine pairs, those that it refuses
    fnmr_ci95: tuple[Real, ...]  # drawing people anew


@dataclass(frozen=True)
class Figures:
    """What metrics.json says of one model on one protocol (docs/EVALUATION.md)."""

    model: str
    model_sha256: str
    benchmark: str
    protocol_sha256: str
    views: str
    metric: str
    accuracy: Share | None  # None where the pairs have a single fold
    accuracy_ci95: tuple[Real, ...] | None
    accuracy_ci95_identity: tuple[Real, ...] | None
    auc: Share
    eer: Share
    num_pairs: Count
    num_genuine: Count
    num_impostors: Count
    num_subjects: Count
    num_failed: Count


@dataclass(frozen=True)
class Verification:
    network: str  # float or int8
    folder: str
    figures: Figures
    points: tuple[OperatingPoint, ...]  # the false match rate falling
    unsupported: tuple[float, ...]  # false match rates that the impostor pairs are too few for


def read_verification(folder: Path, networks: Mapping[str, str]) -> Verification:
    """The result in `folder`; `networks`: {sha256: float or int8} of what the card is about.

    Raises InputError for the result of another model, and for a file that is none of
    `facestill verify`'s.
    """
    path = folder / METRICS
    said = _read(path)
    sha256 = said.get("model_sha256")
    if sha256 not in networks:
        raise InputError(
            f"{path}: of model {str(said.get('model'))[:80]} ({str(sha256)[:12]}), which is none "
            "of this export's; verify the student or one of its files, and name that result"
        )
    chosen = {name: said.get(name) for name in Figures.__dataclass_fields__}
    figures: Figures = parse(Figures, chosen, str(path))
    rates = said.get("fnmr_at_fmr")
    if not isinstance(rates, dict):
        raise InputError(f"{path}: no object fnmr_at_fmr; run facestill verify again")
    points = [_point(path, fmr, rate) for fmr, rate in rates.items() if rate is not None]
    return Verification(
        networks[str(sha256)],
        folder.as_posix(),
        figures,
        tuple(sorted(points, key=lambda point: -point.fmr)),
        tuple(sorted((_rate(path, fmr) for fmr in rates if rates[fmr] is None), reverse=True)),
    )


def model_of(path: Path) -> str | None:
    """The digest of the model that a metrics.json is of, if it says one."""
    sha256 = _read(path).get("model_sha256")
    return sha256 if isinstance(sha256, str) else None


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; name folders that facestill verify wrote with --out"
        )
    said = read_foreign_json(path, LARGEST, "run facestill verify again")
    if not isinstance(said, dict):
        raise InputError(f"{path}: holds no object of figures; run facestill verify again")
    return said


def _point(path: Path, fmr: str, rate: Any) -> OperatingPoint:
    where = f"{path}: fnmr_at_fmr {fmr}"
    said = rate if isinstance(rate, dict) else {}
    values = {
        "fmr": _rate(path, fmr),
        "threshold": said.get("threshold"),
        "threshold_ci95": said.get("threshold_ci95"),
        "fnmr": said.get("value"),
        "fnmr_ci95": said.get("ci95_identity"),
    }
    point: OperatingPoint = parse(OperatingPoint, values, where)
    return point


def _rate(path: Path, text: str) -> float:
    try:
        rate = float(text)
        if not 0 < rate <= 1:
            raise ValueError
        return rate
    except ValueError:
        raise InputError(f"{path}: a false match rate {text[:40]!r}; verify again") from None
