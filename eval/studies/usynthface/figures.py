"""Accuracy and AUC of several students on one benchmark, with intervals over people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from eval.reporting.figures import DPI, INK, MUTED, RULE, STUDENT

WIDTH, ROW_HEIGHT, MARGIN = 9.6, 0.36, 0.85  # inches
CHANCE = 0.5


def arms_figure(arms: Mapping[str, Mapping[str, Any]]) -> Figure:
    """`arms`: {name: figures of metrics.json}, the first on top; chance is at the left."""
    height = MARGIN + ROW_HEIGHT * len(arms)
    figure = Figure((WIDTH, height), dpi=DPI, layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, sharey=True)
    _draw(left, arms, "accuracy")
    _draw(right, arms, "auc")
    left.set_xlabel("10-fold accuracy", color=MUTED, fontsize=9)
    left.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    right.set_xlabel("area under the ROC curve", color=MUTED, fontsize=9)
    left.set_yticks(np.arange(len(arms)), list(arms), color=INK, fontsize=9)
    left.set_ylim(len(arms) - 0.5, -0.5)
    return figure


def _draw(axes: Axes, arms: Mapping[str, Mapping[str, Any]], name: str) -> None:
    heights = np.arange(len(arms))
    ends = np.array([own[f"{name}_ci95_identity"] for own in arms.values()])
    axes.hlines(heights, ends[:, 0], ends[:, 1], color=STUDENT, linewidth=2)
    axes.plot([own[name] for own in arms.values()], heights, "o", color=STUDENT, markersize=6)
    axes.axvline(CHANCE, color=MUTED, linewidth=1, linestyle=(0, (4, 2)))
    axes.set_xlim(min(0.48, float(ends.min()) - 0.01), 1.0)
    axes.grid(axis="x", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=9, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
