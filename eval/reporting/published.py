"""What others published, from the suites: on which benchmarks, so that nobody holds a figure on one
beside a figure on another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manifests.core import layout
from manifests.settings.suite import Reference, Suite, load_suite


def published_section() -> list[dict[str, Any]]:
    """Every suite with published rows: its name and title, its benchmarks, and the rows as
    printed. Raises InputError for a broken suite."""
    suites = {path.stem: load_suite(path) for path in sorted(layout.SUITES.glob("*.yaml"))}
    return [
        {
            "name": name,
            "title": suite.title,
            "benchmarks": list(suite.benchmarks),
            "rows": [(own.model, own.source, printed(own, suite)) for own in suite.reference],
        }
        for name, suite in suites.items()
        if suite.reference
    ]


def printed(reference: Reference, suite: Suite) -> str:
    """`LFW 99.52, CFP-FP 96.41`; with the figure's name where a suite has several."""

    def told(figures: Mapping[str, float]) -> str:
        return ", ".join(f"{benchmark} {value:.2f}" for benchmark, value in figures.items())

    if len(suite.columns) == 1 and set(reference.figures) <= set(suite.columns):
        return told(next(iter(reference.figures.values())))
    return "; ".join(f"{heading}: {told(own)}" for heading, own in reference.figures.items())
