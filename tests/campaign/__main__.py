"""What can go wrong with building, keeping and reading stores, tried out -> reports/campaign.json.

    python -m tests.campaign [--only SECTION:NUMBER …]

Real stages run as commands, are killed, starved and disturbed; what they leave is compared byte
for byte with an undisturbed build. Every case is a function of its number: `--only kills:17`
repeats it, and prints what it found without writing the report.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from manifests.core.errors import InputError, pick, run_command
from manifests.core.files import write_json
from manifests.core.progress import Bar
from pipeline.building.workers import num_cores
from pipeline.weights import CACHE, FILES, gather
from tests.campaign import builds, corruptions, kills, limits, writers
from tests.campaign.ground import Ground, Outcome, build_reference, prepare

NUM_ROWS = 512
CRASHED = "could not be tried"
SECTIONS: dict[str, ModuleType] = {
    section.NAME: section for section in (builds, kills, corruptions, limits, writers)
}
HEAD = ("kills", "kills_recovered", "corruptions", "corruptions_detected", "wrong_reads")


def main() -> int:
    parser = argparse.ArgumentParser(description="Try out what can go wrong with stores.")
    parser.add_argument("--only", nargs="+", metavar="CASE", help="kills, kills:17, …")
    wanted = parser.parse_args().only
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="facestill-campaign-") as scratch:
        ground = reference(Path(scratch))
        outcomes = run_cases(ground, parse_cases(wanted or list(SECTIONS)))
        report = {} if wanted else summarise(ground, outcomes, time.monotonic() - begin)
    failed = [outcome for outcome in outcomes if outcome.faults]
    for outcome in failed if not wanted else outcomes:
        print(f"{outcome.case}: {outcome.text}: {'; '.join(outcome.faults) or 'as promised'}")
        if wanted:
            print(f"    {dict(outcome.detail)}")
    if not wanted:
        write_json(Path("reports/campaign.json"), report)
    return 1 if failed else 0


def reference(scratch: Path) -> Ground:
    """The undisturbed build, with the real generator and teacher."""
    gather(FILES, CACHE, scratch / "weights")
    return build_reference(prepare(scratch / "ground", scratch / "weights", NUM_ROWS))


def parse_cases(words: Sequence[str]) -> list[tuple[str, int]]:
    """Every case of a section, or the one after a colon."""
    cases = []
    for word in words:
        name, _, number = word.partition(":")
        count = pick("section", name, SECTIONS).COUNT
        if number and not (number.isdigit() and int(number) < count):
            raise InputError(f"no case {word}; {name} has {count} cases, 0 to {count - 1}")
        cases += [(name, int(number))] if number else [(name, at) for at in range(count)]
    return cases


def run_cases(ground: Ground, cases: Sequence[tuple[str, int]]) -> list[Outcome]:
    outcomes = []
    with Bar(cases, unit="case", desc="campaign", smoothing=0.05) as bar:
        for name, index in bar:
            bar.set_postfix_str(f"{name}:{index}")
            outcomes.append(_run_case(ground, name, index))
    return outcomes


def _run_case(ground: Ground, name: str, index: int) -> Outcome:
    try:
        return SECTIONS[name].run(ground, index)
    except Exception as error:  # a case that cannot be tried is a failed one, not the last one
        return Outcome(f"{name}:{index}", CRASHED, (repr(error),))


def summarise(ground: Ground, outcomes: Sequence[Outcome], seconds: float) -> dict[str, Any]:
    """The figures at the top, then each section's, then whatever failed."""
    tried = [outcome for outcome in outcomes if outcome.text != CRASHED]
    sections = {
        name: section.summary(ground, [o for o in tried if o.case.startswith(f"{name}:")])
        for name, section in SECTIONS.items()
    }
    figures = {key: value for found in sections.values() for key, value in found.items()}
    return {
        **{name: figures[name] for name in HEAD},
        "detail": sections,
        "failed": [
            {"case": o.case, "text": o.text, "faults": list(o.faults)} for o in outcomes if o.faults
        ],
        "machine": {
            "cores": num_cores(),
            "architecture": platform.machine(),
            "seconds": round(seconds, 1),
        },
        "round": {"rows": ground.num_rows, "shards": ground.num_shards},
    }


if __name__ == "__main__":
    run_command(main)
