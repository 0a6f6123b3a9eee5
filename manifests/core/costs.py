"""What a stage cost: seconds, kept outside the stores in runs/costs/STAGE.jsonl."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from manifests.core.layout import COSTS, STUDIES


@contextmanager
def timed(stage: str, *, rows: int | None = None) -> Iterator[None]:
    """Adds one line with the wall seconds of the block, if it succeeds. `rows`: faces done in
    them, if that is known."""
    start = time.perf_counter()
    yield
    COSTS.mkdir(parents=True, exist_ok=True)
    name = stage.replace("/", ".")  # a round of another team has a folder of its own
    with (COSTS / f"{name}.jsonl").open("a", encoding="utf-8") as file:
        line = {"stage": stage, "seconds": round(time.perf_counter() - start, 2), "rows": rows}
        file.write(json.dumps(line) + "\n")


def seconds_by_stage() -> dict[str, float]:
    """The seconds of each stage's last real work: relinking a finished result adds no line.
    Those of studies are left out: they are no part of the flow."""
    seconds: dict[str, float] = {}
    for path in sorted(COSTS.glob("*.jsonl")):
        if f"@{STUDIES}." in path.name:
            continue
        complete, _, _ = path.read_text(encoding="utf-8").rpartition("\n")  # a torn line is left
        for line in complete.splitlines():
            seconds[path.stem] = float(json.loads(line)["seconds"])
    return seconds


def full_rates(stage: str) -> list[float]:
    """Faces a second of every recorded piece of work of a stage that tells how many it did."""
    rates = []
    for path in sorted(COSTS.glob(f"{stage}@*.jsonl")):
        complete, _, _ = path.read_text(encoding="utf-8").rpartition("\n")  # a torn line is left
        for line in map(json.loads, complete.splitlines()):
            if line.get("rows") and line["seconds"] > 0:
                rates.append(line["rows"] / line["seconds"])
    return rates
