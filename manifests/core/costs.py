"""What a stage cost: seconds, kept outside the stores in runs/costs/STAGE.jsonl."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from manifests.core.errors import InputError
from manifests.core.layout import COSTS, STUDIES
from manifests.core.pulse import pulse


@dataclass(frozen=True)
class Cost:
    """A piece of work that was recorded."""

    stage: str
    round: str  # or what else it was done to; empty where there is nothing to tell apart
    seconds: float
    rows: int  # 0: not known

    @property
    def file(self) -> str:
        """Name of the file that it is recorded in."""
        return _file(f"{self.stage}@{self.round}" if self.round else self.stage)


def _file(stage: str) -> str:
    return stage.replace("/", ".")  # a round of another team has a folder of its own


@contextmanager
def timed(stage: str, *, rows: int | None = None) -> Iterator[None]:
    """Adds one line with the wall seconds of the block, if it succeeds, and tells of it meanwhile.
    `rows`: faces done in them, if that is known."""
    start = time.perf_counter()
    with pulse(stage.replace("@", " "), _before(stage)):
        yield
    COSTS.mkdir(parents=True, exist_ok=True)
    with (COSTS / f"{_file(stage)}.jsonl").open("a", encoding="utf-8") as file:
        line = {"stage": stage, "seconds": round(time.perf_counter() - start, 2), "rows": rows}
        file.write(json.dumps(line) + "\n")


def _before(stage: str) -> float:
    """Seconds of the same work when it was last recorded; 0: never, or what was cannot be read."""
    with suppress(InputError, OSError):
        return next((own.seconds for own in [*read_costs()][::-1] if own.file == _file(stage)), 0.0)
    return 0.0


def read_costs() -> Iterator[Cost]:
    """All that was recorded, file by file, the earliest first; relinking a result records nothing.

    Raises InputError naming a file with a line that is none.
    """
    for path in sorted(COSTS.glob("*.jsonl")):
        complete, _, _ = path.read_bytes().rpartition(b"\n")  # a torn line is left
        for text in complete.splitlines():
            try:
                line = json.loads(text)
                stage, _, round = line["stage"].partition("@")
                cost = Cost(stage, round, float(line["seconds"]), int(line.get("rows") or 0))
                if not (0 <= cost.seconds < math.inf and cost.rows >= 0):
                    raise ValueError(f"{cost.seconds} seconds for {cost.rows} rows")
            except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
                raise InputError(f"{path}: not a line of costs ({error}); remove it") from None
            yield cost


def seconds_by_stage() -> dict[str, float]:
    """The seconds of each stage's last real work. Those of studies are left out: they are no part
    of the flow."""
    return {cost.file: cost.seconds for cost in read_costs() if f"@{STUDIES}." not in cost.file}


def full_rates(stage: str, rounds: Callable[[str], bool] = lambda _: True) -> list[float]:
    """Faces a second of every recorded piece of work of a stage that tells how many it did, of
    `rounds` alone."""
    return [
        cost.rows / cost.seconds
        for cost in read_costs()
        if cost.stage == stage and cost.rows > 0 and cost.seconds > 0 and rounds(cost.round)
    ]
