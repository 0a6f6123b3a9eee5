"""Writing, reading, checking and sealing stores: rates, files, and whether memory stays flat.

2,048 real faces are rendered and embedded by the stages. Larger stores hold them over and over:
the stages' own code builds them, but for the networks (tests/large_rounds.py). Page caches are
warm.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from manifests.building.ledger import NAME as LEDGER
from manifests.building.ledger import read_ledger
from manifests.check import find_faults
from manifests.core import layout
from manifests.core.digests import merkle_root
from manifests.settings.params import PriorRound, load_params
from manifests.stores.reading import FaceStore, TeacherStore
from pipeline.building.workers import Workers, num_cores
from pipeline.embed import embed_round
from pipeline.render import render_round
from pipeline.sample import sample_prior, save
from tests.bench.teacher import rate, spread
from tests.bench.throughput import per_second, read_rates, write_rates
from tests.large_rounds import SMALL, STEPS, large
from tests.process_costs import Cost, python, workplace

SMALL_ROWS = 2048
SIZES = (10_000, 100_000)


@dataclass(frozen=True)
class Step:
    """A step of building or reading a large round, done in a process of its own."""

    cost: Cost
    seconds: dict[str, float]  # as the step itself saw them, without start-up


def measure(sizes: Sequence[int] = SIZES) -> dict[str, object]:
    with workplace():
        rendering = _small_round()
        small = FaceStore.open(layout.faces(SMALL))
        write = write_rates(small)
        share = write["hash_seconds_per_1000_faces"] * SMALL_ROWS / 1000 / rendering
        steps = {rows: _steps(rows) for rows in sizes}
        rows = sizes[-1]
        return {
            "faces": f"{SMALL_ROWS} real ones at {small.frame['size']} px, over and over",
            "write": write | {"hashing_share_of_rendering": round(share, 5)},
            "read": read_rates(FaceStore.open(layout.faces(large(sizes[0])))),
            **_size(rows),
            "check": _check(rows),
            "build_again": _build_again(rows, steps[rows]),
            "peak_rss_mb": _peaks(steps),
        }


def _small_round() -> float:
    """Builds it; returns the processor seconds that were there for rendering it."""
    params = load_params()
    save(sample_prior(SMALL, PriorRound(SMALL_ROWS, 13), params))
    workers = Workers(num_cores())
    start = time.perf_counter()
    render_round(SMALL, params, workers=workers)
    seconds = time.perf_counter() - start
    embed_round(SMALL, params.teacher, params, workers=workers)
    return seconds * workers.processes


def _steps(rows: int) -> dict[str, Step]:
    save(sample_prior(large(rows), PriorRound(rows, 13), load_params()))
    steps = {}
    for name in STEPS:
        cost = python("tests.large_rounds", name, str(rows))
        steps[name] = Step(cost, json.loads(cost.output))
    cost = python("manifests.check", *map(str, _stores(rows)))
    return steps | {"verify": Step(cost, {"seconds": cost.seconds})}


def _stores(rows: int) -> tuple[Path, Path]:
    return layout.faces(large(rows)), layout.teacher(large(rows), load_params().teacher)


def _files(*stores: Path) -> list[Path]:
    return [path for store in stores for path in store.rglob("*") if path.is_file()]


def _bytes(*stores: Path) -> int:
    return sum(path.stat().st_size for path in _files(*stores))


def _size(rows: int) -> dict[str, int]:
    """Of a face store and a teacher store."""
    stores = _stores(rows)
    return {
        f"files_per_{rows // 1000}k": len(_files(*stores)),
        f"bytes_per_{rows // 1000}k": _bytes(*stores),
    }


def _check(rows: int) -> dict[str, object]:
    """Opening and verifying a large store, in one process."""
    faces, teacher = _stores(rows)
    hashes = read_ledger(faces / LEDGER).sha256
    return {
        "open_faces_ms": _milliseconds(lambda: FaceStore.open(faces)),
        "open_embeddings_ms": _milliseconds(lambda: TeacherStore.open(teacher)),
        "merkle_root_ms": _milliseconds(lambda: merkle_root(hashes)),
        "verify_mb_per_second": per_second(lambda: find_faults(faces), _bytes(faces) / 1e6),
    }


def _milliseconds(work: Callable[[], object]) -> dict[str, float]:
    return spread([1000 / each for each in rate(work, 1)])


def _build_again(rows: int, steps: dict[str, Step]) -> dict[str, float]:
    """A build that was stopped between its last shard and its seal, started again."""
    faces, _ = _stores(rows)
    seconds, gigabytes = steps["render_seal"].seconds, _bytes(faces) / 1e9
    sealing = seconds["seconds"] - seconds["recheck_seconds"]
    return {
        "gigabytes": round(gigabytes, 2),
        "resume_seconds_per_gb": round(seconds["seconds"] / gigabytes, 3),
        "recheck_seconds_per_gb": round(seconds["recheck_seconds"] / gigabytes, 3),
        "sealing_seconds": round(sealing, 3),
        "sealing_share_of_writing": round(sealing / steps["render_shards"].seconds["seconds"], 4),
    }


def _peaks(steps: dict[int, dict[str, Step]]) -> dict[str, object]:
    """By step and number of rows: of the main process, and of the largest worker."""
    names = next(iter(steps.values()))
    return {
        name: {
            f"{rows // 1000}k": {
                "main": of_size[name].cost.peak_mb,
                "worker": of_size[name].cost.worker_peak_mb,
            }
            for rows, of_size in steps.items()
        }
        for name in names
    }
