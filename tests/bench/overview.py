"""How long `facestill` takes to list its verbs, and Python alone to begin."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.bench.teacher import spread

REPEATS = 7
COMMANDS = {
    "overview_ms": [Path(sys.executable).with_name("facestill")],
    "python_alone_ms": [sys.executable, "-c", "pass"],
}


def measure() -> dict[str, object]:
    return {
        name: spread([_milliseconds(command) for _ in range(REPEATS)])
        for name, command in COMMANDS.items()
    }


def _milliseconds(command: list[str | Path]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return (time.perf_counter() - start) * 1000
