"""Where everything lies, relative to the repository root. The only place that knows paths."""

from __future__ import annotations

from pathlib import Path

DATA = Path("data")
RUNS = Path("runs")
REPORTS = Path("reports")
WEIGHTS = DATA / "weights"
COSTS = RUNS / "costs"
WORK = Path(".work")  # scratch: whatever lies there can be made again
BENCHMARKS = Path("manifests/benchmarks")

# Rounds with a part of their own: references and parents, measuring, boundaries' faces.
POOL, PROBE, IDENTITIES = "pool", "probe", "identities"


def manifest(round: str) -> Path:
    return Path("manifests/rounds") / f"{round}.parquet"


def manifest_summary(round: str) -> Path:
    return Path("manifests/rounds") / f"{round}.summary.json"


def faces(round: str) -> Path:
    return DATA / round / "faces.zarr"


def teacher(round: str, name: str) -> Path:
    return DATA / round / "teachers" / f"{name}.zarr"


def boundaries(round: str) -> Path:
    return DATA / round / "boundaries.parquet"


def gap_table(run: str, round: str) -> Path:
    return DATA / "gaps" / run / f"{round}.parquet"


def regions(round: str) -> Path:
    return DATA / round / "regions.parquet"


def run(name: str) -> Path:
    return RUNS / name


def gap_report(run: str) -> Path:
    return REPORTS / "gap" / f"{run}.json"


def verification(benchmark: str, role: str) -> Path:
    """`role`: student or teacher."""
    return REPORTS / "verify" / benchmark / role
