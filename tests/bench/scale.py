"""The real thing at 10,000 and 100,000 faces, command by command -> reports/scale.json.

    python -m tests.bench.scale [--rows N …]

Seconds, files, bytes and peak memory of sample, render, embed and verify, and how the peaks of
the largest round compare with those of the smallest.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from manifests.core import layout
from manifests.core.errors import run_command
from manifests.core.files import write_json
from manifests.settings.params import PATH as PARAMS
from manifests.settings.params import load_params
from manifests.stores.reading import FaceStore
from pipeline.building.workers import num_cores
from tests.bench.__main__ import machine
from tests.process_costs import Cost, python, workplace

SEED = 13
OUTPUT = layout.REPORTS / "scale.json"


def main() -> None:
    parser = argparse.ArgumentParser(description="Build and check large rounds.")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    sizes = sorted(parser.parse_args().rows)
    found: dict[str, object] = {"machine": machine(), "workers": num_cores()}
    costs: dict[int, dict[str, Cost]] = {}
    for rows in sizes:
        with workplace():
            costs[rows] = _stages(rows)
            found[str(rows)] = _figures(rows, costs[rows])
        write_json(OUTPUT, found)  # what is there, should the larger one fail
    found["peak_growth"] = _growth(costs[sizes[0]], costs[sizes[-1]])
    write_json(OUTPUT, found)


def _stages(rows: int) -> dict[str, Cost]:
    name, workers = _name(rows), ("--workers", str(num_cores()))
    params = yaml.safe_load(PARAMS.read_text())
    params["sample"][name] = {"count": rows, "seed": SEED}
    PARAMS.write_text(yaml.safe_dump(params))
    commands = {
        "sample": ("pipeline.sample", name),
        "render": ("pipeline.render", name, *workers),
        "embed": ("pipeline.embed", name, *workers),
        "verify": ("manifests.check", *map(str, _stores(rows))),
    }
    costs = {}
    for stage, command in commands.items():
        print(f"{rows} faces: {stage}", flush=True)
        costs[stage] = python(*command)
    return costs


def _name(rows: int) -> str:
    return f"scale-{rows}"


def _stores(rows: int) -> tuple[Path, Path]:
    params = load_params()
    return layout.faces(_name(rows)), layout.teacher(_name(rows), params.teacher)


def _figures(rows: int, costs: dict[str, Cost]) -> dict[str, object]:
    files = [path for store in _stores(rows) for path in store.rglob("*") if path.is_file()]
    return {
        "usable": FaceStore.open(_stores(rows)[0]).passport.num_ok,
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "seconds": round(sum(cost.seconds for cost in costs.values()), 1),
        "stages": {stage: _cost(cost, rows) for stage, cost in costs.items()},
    }


def _cost(cost: Cost, rows: int) -> dict[str, float]:
    return {
        "seconds": round(cost.seconds, 1),
        "faces_per_second": round(rows / cost.seconds, 1),
        "peak_rss_mb": cost.peak_mb,
        "worker_peak_rss_mb": cost.worker_peak_mb,
    }


def _growth(small: dict[str, Cost], large: dict[str, Cost]) -> dict[str, float]:
    """Peak memory of the largest round's commands and workers over the smallest one's."""
    return {stage: round(_peak(large[stage]) / _peak(small[stage]), 3) for stage in small}


def _peak(cost: Cost) -> int:
    return max(cost.peak_mb, cost.worker_peak_mb)


if __name__ == "__main__":
    run_command(main)
