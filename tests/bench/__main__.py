"""Runs every benchmark beside this file -> reports/bench.json.

    python -m tests.bench [NAME …]

A benchmark is a file with `measure() -> dict`; those named in APART are none. Figures are ratios
within one run, or rates with their spread over repeats; absolute times of another machine say
little.
"""

from __future__ import annotations

import importlib
import pkgutil
import platform
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from manifests.core.errors import pick, run_command
from manifests.core.files import write_json
from pipeline.building.workers import num_cores
from tests import bench

KEYS = {"evaluation": "eval"}  # of figures that are not called as their file
APART = {
    "__main__",
    "coverage",
    "ijb",
    "scale",
    "throughput",
}  # itself, commands, a part of `store`


def main() -> None:
    files = [info.name for info in pkgutil.iter_modules(bench.__path__) if info.name not in APART]
    wanted = sys.argv[1:] or files
    results: dict[str, object] = {"machine": machine()}
    for name in wanted:
        pick("benchmark", name, dict.fromkeys(files, True))
        print(f"bench {name}", flush=True)
        results[KEYS.get(name, name)] = in_a_process_of_its_own(name)
    write_json(Path("reports/bench.json"), results)


def in_a_process_of_its_own(name: str) -> object:
    """So that no figure depends on the order: a heap that an earlier benchmark has grown spares
    the teacher a third of its time (docs/log/training.md)."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        return executor.submit(importlib.import_module(f"tests.bench.{name}").measure).result()


def machine() -> dict[str, object]:
    return {
        "cpus": num_cores(),
        "architecture": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    run_command(main)
