"""Histograms of synthetic and real faces as small multiples, one for each attribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from eval.reporting.figures import DPI, INK, MUTED, RULE, STUDENT, TEACHER

COLUMNS, WIDTH, ROW_HEIGHT = 3, 9.6, 2.25  # inches
# Real sets in turn: told apart by dash as well as by colour.
LINES: tuple[dict[str, Any], ...] = (
    {"color": TEACHER, "linestyle": "solid"},
    {"color": INK, "linestyle": (0, (4, 1.5))},
    {"color": MUTED, "linestyle": (0, (1, 1))},
)
WIDE_RANGE = 100.0  # edges that span more are drawn on a logarithmic axis


def drift_figure(real: Mapping[str, Mapping[str, Any]]) -> Figure:
    """`real`: of drift.json, {set: {attributes: {name: histograms}}}. The share of the faces in
    each bin, of synthetic faces as an area, of real ones as lines."""
    names = list(dict.fromkeys(name for own in real.values() for name in own["attributes"]))
    rows = (len(names) + COLUMNS) // COLUMNS  # one place more, for the legend
    size = (WIDTH, ROW_HEIGHT * rows)
    figure = Figure(size, dpi=DPI, layout="constrained", facecolor="white")
    places = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axes, name in zip(places, names, strict=False):
        found = {
            key: own["attributes"][name] for key, own in real.items() if name in own["attributes"]
        }
        _draw(axes, name, found)
    for axes in places[len(names) :]:
        axes.set_axis_off()
    _legend(places[len(names)], list(real))
    return figure


def shares(counts: Sequence[int]) -> Float[np.ndarray, " bin"]:
    """Of the bins between the edges; what lies beyond counts in the whole."""
    return np.array(counts[1:-1]) / max(1, sum(counts))


def _draw(axes: Axes, name: str, found: Mapping[str, Mapping[str, Any]]) -> None:
    first = next(iter(found.values()))
    edges = np.array(first["edges"])
    axes.stairs(shares(first["synthetic"]["counts"]), edges, fill=True, color=STUDENT, alpha=0.35)
    for style, own in zip(LINES, found.values(), strict=False):
        axes.stairs(shares(own["real"]["counts"]), edges, linewidth=1.7, **style)
    if edges[0] > 0 and edges[-1] > WIDE_RANGE * edges[0]:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_title(name, loc="left", fontsize=10, color=INK)
    axes.set_xlabel(first["unit"], color=MUTED, fontsize=8.5)
    axes.set_xlim(edges[0], edges[-1])
    _style(axes)


def _style(axes: Axes) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.tick_params(colors=MUTED, labelsize=8, width=0.8)
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=RULE)


def _legend(axes: Axes, names: Sequence[str]) -> None:
    axes.fill_between([], [], color=STUDENT, alpha=0.35, label="synthetic faces")
    for style, name in zip(LINES, names, strict=False):
        axes.plot([], [], linewidth=1.7, label=f"{name} (real)", **style)
    axes.legend(loc="center left", frameon=False, fontsize=9, labelcolor=INK)
