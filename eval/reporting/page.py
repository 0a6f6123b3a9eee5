"""The report's page: its HTML, from what the sections hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from eval.reporting import sections
from eval.reporting.benchmarks import ORL, PAIRS, drawn_over, interval_of
from eval.reporting.drift_section import drift_section
from eval.reporting.gathered import Results
from eval.reporting.opening import opening
from eval.reporting.published import published_section
from eval.reporting.recipe import recipe_section
from eval.reporting.style import COLOURS
from manifests.core.layout import PROBE
from manifests.settings.params import Params

TEMPLATE = "page.html.jinja"
NAMES = {ORL: "ORL", PAIRS: "Photograph pairs"}
# In the page's order: their addresses and titles. Those without content are left out.
TITLES = {
    "benchmarks": "Benchmarks",
    "curves": "ROC and DET curves",
    "folds": "Spread over the folds",
    "models": "Student beside teacher",
    "published": "Published networks",
    "mistakes": "Worst mistakes",
    "training": "Training",
    "regions": "Where the student is weak",
    "drift": "What the synthetic faces lack",
    "identities": "Identities",
    "mined": "Mined faces",
    "rounds": "Faces of each round",
    "costs": "Costs",
    "provenance": "Provenance",
}
NOT_ALWAYS = ("published", "regions", "drift", "identities", "mined")


def page_content(results: Results, params: Params) -> dict[str, Any]:
    """What the template shows."""
    summary = results.summary
    measured = {name: summary[name] for name in (ORL, PAIRS) if name in summary}
    runs = [run.name for run in results.chain]
    items = [*(name for name in results.rounds if name not in runs), *runs]
    regions = sections.region_section(results)
    content = {
        "opening": opening(results, measured, regions),
        "summary": summary,
        "exported": summary["exported"],
        "benchmarks": measured,
        "names": NAMES,
        "fars": sections.fars_of(measured),
        "colours": COLOURS,
        "curves": sections.curve_section(results, measured),
        "folds": sections.fold_section(measured),
        "mistakes": sections.mistake_section(results, params),
        "training": sections.training_section(results),
        "regions": regions,
        "empty": results.empty,
        "drift": results.drift and drift_section(results.drift, results.rounds, NAMES),
        "identities": sections.identity_section(results),
        "mined": sections.mined_section(results),
        "laws": {name: sections.law_of(files) for name, files in results.rounds.items()},
        "costs": sections.cost_table(summary["seconds"], items),
        "break_even": sections.break_even_section(results),
        "licences": sections.licences(results.rounds.values()),
        "published": published_section(),
        "recipe": recipe_section(params),
        "probe": PROBE,
    }
    empty = {name for name in NOT_ALWAYS if not content[name]}
    empty |= set() if content["mistakes"]["found"] else {"mistakes"}
    empty |= set() if content["costs"]["rows"] or content["break_even"] else {"costs"}
    titles = {name: title for name, title in TITLES.items() if name not in empty}
    return {**content, "titles": titles}


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f}"


def duration(seconds: float) -> str:
    """In the two largest units that fit."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def count(number: int | float | None) -> str:
    """In thousands, millions or billions with three digits; a dash for None."""
    if number is None:
        return "–"
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= unit:
            return f"{number / unit:.3g}{name}"
    return f"{number:,.0f}"


def commit(described: str) -> str:
    """Of `git describe --dirty=+`, short: the mark of what was not committed stays."""
    return described[:12] + ("+" if described[12:].endswith("+") else "")


def render_page(content: Mapping[str, Any], template: str = TEMPLATE) -> str:
    """HTML without a reference to anything outside itself."""
    environment = Environment(
        loader=FileSystemLoader([Path(__file__).parent, Path(__file__).parents[1]]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent, duration=duration, count=count, commit=commit, interval_of=interval_of,
        drawn_over=drawn_over,
    )  # fmt: skip
    return environment.get_template(template).render(content)
