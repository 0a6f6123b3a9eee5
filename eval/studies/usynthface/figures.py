"""Accuracy and AUC of several students on one benchmark, with intervals over people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from eval.reporting.style import MUTED, STUDENT, bare, canvas, name_rows

ROW_HEIGHT, MARGIN = 0.36, 0.85  # inches
CHANCE = 0.5


def arms_figure(arms: Mapping[str, Mapping[str, Any]]) -> Figure:
    """`arms`: {name: figures of metrics.json}, the first on top; chance is at the left."""
    figure = canvas(MARGIN + ROW_HEIGHT * len(arms))
    left, right = figure.subplots(1, 2, sharey=True)
    _draw(bare(left, "10-fold accuracy"), arms, "accuracy")
    _draw(bare(right, "area under the ROC curve"), arms, "auc")
    left.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    name_rows(left, list(arms))
    return figure


def _draw(axes: Axes, arms: Mapping[str, Mapping[str, Any]], name: str) -> None:
    heights = np.arange(len(arms))
    ends = np.array([own[f"{name}_ci95_identity"] for own in arms.values()])
    axes.hlines(heights, ends[:, 0], ends[:, 1], color=STUDENT, linewidth=2)
    axes.plot([own[name] for own in arms.values()], heights, "o", color=STUDENT, markersize=6)
    axes.axvline(CHANCE, color=MUTED, linewidth=1, linestyle=(0, (4, 2)))
    axes.set_xlim(min(0.48, float(ends.min()) - 0.01), 1.0)
