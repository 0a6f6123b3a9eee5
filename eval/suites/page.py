"""A suite's page: its table, and the curves behind it, in one file that opens offline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval.reporting.curves import read_roc
from eval.reporting.figures import det_figure, roc_figure
from eval.reporting.page import render_page
from eval.reporting.style import COLOURS, data_uri
from eval.suites.formats import BEST, interval, notes, number
from eval.suites.running import Measured
from eval.suites.table import Table

TEMPLATE = "suites/page.html.jinja"
TITLES = {"table": "The table", "curves": "ROC and DET curves", "rests": "What it rests on"}


def page_content(table: Table, measured: Mapping[str, Measured]) -> dict[str, Any]:
    """What the template shows. Scores are read here."""
    curves = {name: curves_of(name, found) for name, found in measured.items() if found.results}
    titles = {name: title for name, title in TITLES.items() if name != "curves" or curves}
    return {
        "table": table,
        "curves": curves,
        "titles": titles,
        "notes": notes(table),
        "best": BEST,
        "number": number,
        "interval": interval,
        "colours": COLOURS,
    }


def curves_of(name: str, measured: Measured) -> dict[str, str]:
    """ROC and DET of all models on a benchmark, as the addresses of themselves."""
    curves = [read_roc(folder, name, model) for model, folder in measured.results.items()]
    return {"roc": data_uri(roc_figure(curves)), "det": data_uri(det_figure(curves))}


def suite_page(table: Table, measured: Mapping[str, Measured]) -> str:
    return render_page(page_content(table, measured), TEMPLATE)
