"""Accuracy on photographs over CPU minutes of training, every arm a point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, MultipleLocator, NullLocator, PercentFormatter

from eval.reporting.style import BEFORE, INK, MUTED, RULE, STUDENT, TEACHER, canvas, framed
from manifests.core import layout
from manifests.settings.suite import load_suite
from tests.conftest import ROOT
from tests.experiments.speedrun.recipes import BASE, spelt
from tests.experiments.speedrun.table import CHOOSES, accuracy, front, minutes

TICKS = [digit * 10.0**power for power in range(-2, 5) for digit in (1, 2, 5)]
MARK, LINE = 3.5, 1.0  # half the side of a mark, and of a line's width, points
AWAY = np.array([5.0, 9.0, 14.0, 20.0, 28.0, 38.0, 50.0, 64.0, 80.0, 100.0])  # label from mark
TURNS = 2 * np.pi * np.arange(16) / 16
AROUND = np.stack([np.cos(TURNS), np.sin(TURNS)], axis=-1)
ROOM = 1.5  # times, at both ends of the minutes
LEADER = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkA": 0, "shrinkB": MARK}
BEHIND = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5}  # a label

Rows = Mapping[str, Mapping[str, Any]]


def speedrun_figure(table: Mapping[str, Any]) -> Figure:
    """Means over seeds with standard deviations; lines join the lengths of a recipe, steps the
    arms that none is better than in as few minutes. On the right, what others published of LFW
    itself: other pairs, so a place and no rank."""
    rows = table["arms"]
    figure = canvas(6.4)
    axes = framed(figure.add_subplot(), "CPU minutes of training", "accuracy, lfw-dev")
    axes.set_xscale("log")
    axes.grid(axis="x", color=RULE, linewidth=0.7)
    _draw_lengths(axes, rows)
    _draw_front(axes, rows)
    _draw_arms(axes, rows)
    target = table["target"][CHOOSES]
    axes.axhline(target, color=TEACHER, linewidth=1.0, linestyle=(0, (5, 3)), zorder=1)
    _set_scales(axes, rows)
    _draw_published(axes, published())
    name = axes.annotate(
        f"target {target:.0%}", (1.0, target), xycoords=("axes fraction", "data"),
        xytext=(-4, 4), textcoords="offset points", ha="right", color=TEACHER, fontsize=9,
    )  # fmt: skip
    label_arms(figure, axes, table, name)
    return figure


def _draw_arms(axes: Axes, rows: Rows) -> None:
    best = front(rows)
    for arm, row in rows.items():
        axes.errorbar(
            minutes(row), accuracy(row), xerr=row["cpu_minutes"]["std"], yerr=row[CHOOSES]["std"],
            color=STUDENT if arm in best else BEFORE, marker="o", markersize=5.5, elinewidth=1.0,
            capsize=2, zorder=4 if arm in best else 3,
        )  # fmt: skip


def _draw_lengths(axes: Axes, rows: Rows) -> None:
    """A line through the arms that differ in length alone."""
    recipes: dict[str, list[str]] = {}
    for arm in sorted(rows, key=lambda arm: minutes(rows[arm])):
        recipes.setdefault(spelt(arm)[0], []).append(arm)
    for recipe, arms in recipes.items():
        colour = BEFORE if recipe == BASE else RULE
        axes.plot(*place_of(rows, arms).T, color=colour, linewidth=1.2, zorder=1)


def _draw_front(axes: Axes, rows: Rows) -> None:
    places = place_of(rows, front(rows)).T
    axes.step(*places, where="post", color=STUDENT, linewidth=1.4, zorder=2)


def published() -> dict[str, float]:
    """{name: accuracy on LFW, 0 to 1}, as the suite of these systems has it."""
    suite = load_suite(ROOT / layout.SUITES / "synthdistill.yaml")
    found = {own.model.partition(",")[0]: own.figures["accuracy"]["LFW"] for own in suite.reference}
    return {name: value / 100 for name, value in found.items()}


def _draw_published(axes: Axes, systems: Mapping[str, float]) -> None:
    """Ticks of their own on the right; the axis reaches from the worst arm to the best system."""
    by_value: dict[float, list[str]] = {}
    for name, value in sorted(systems.items(), key=lambda own: -own[1]):
        by_value.setdefault(value, []).append(name)
    low = min(axes.get_ylim()[0], *by_value)
    axes.set_ylim(low - 0.005, max(by_value) + 0.005)
    right = axes.secondary_yaxis("right")
    right.set_yticks(list(by_value), [f"{'; '.join(own)} {v:.1%}" for v, own in by_value.items()])
    axes.set_title("published, on LFW itself →", loc="right", color=MUTED, fontsize=9)
    right.tick_params(colors=MUTED, labelsize=8, width=0.8)
    right.spines["right"].set_color(RULE)


def place_of(rows: Rows, arms: Sequence[str]) -> np.ndarray:
    """(n, 2): CPU minutes and accuracy."""
    return np.array([(minutes(rows[arm]), accuracy(rows[arm])) for arm in arms])


def straight_lines(table: Mapping[str, Any], left: float, right: float) -> np.ndarray:
    """(n, 2, 2): both ends of the deviations, of the front's steps, and of the target between
    `left` and `right`."""
    found = [((left, table["target"][CHOOSES]), (right, table["target"][CHOOSES]))]
    for row in table["arms"].values():
        x, y = minutes(row), accuracy(row)
        across, up = (row[key]["std"] or 0.0 for key in ("cpu_minutes", CHOOSES))
        found += [((x - across, y), (x + across, y)), ((x, y - up), (x, y + up))]
    steps = place_of(table["arms"], front(table["arms"]))
    for (x, y), (x_next, y_next) in pairwise(steps):
        found += [((x, y), (x_next, y)), ((x_next, y), (x_next, y_next))]
    return np.array(found)


def _set_scales(axes: Axes, rows: Rows) -> None:
    """Room about the marks for labels; ticks at 1, 2 and 5 of each power."""
    taken = [minutes(row) for row in rows.values()]
    left, right = min(taken) / ROOM, max(taken) * ROOM
    axes.set_xlim(left, right)
    axes.set_xticks([tick for tick in TICKS if left <= tick <= right])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(MultipleLocator(0.02))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.margins(y=0.12)


def label_arms(figure: Figure, axes: Axes, table: Mapping[str, Any], there: Text) -> None:
    """Names every mark, those of the front first; `there`: the only text in the axes yet."""
    rows, best = table["arms"], front(table["arms"])
    names = [*best, *(arm for arm in rows if arm not in best)]
    texts = [
        axes.annotate(
            arm, place, xytext=(0, 0), textcoords="offset points", ha="center", va="center",
            color=STUDENT if arm in best else INK, fontsize=8, zorder=5, arrowprops=LEADER,
            bbox=BEHIND, in_layout=False,
        )
        for arm, place in zip(names, place_of(rows, names), strict=True)
    ]  # fmt: skip
    figure.draw_without_rendering()  # only now it is known what lies where
    point = figure.dpi / 72
    extents = np.array([extent_of(text) for text in texts]) / point
    lines = axes.transData.transform(straight_lines(table, *axes.get_xlim()).reshape(-1, 2)) / point
    ends = np.sort(lines.reshape(-1, 2, 2), axis=1)
    boxes = np.concatenate([ends[:, 0] - LINE, ends[:, 1] + LINE], axis=1)
    offsets = label_offsets(
        axes.transData.transform(place_of(rows, names)) / point,
        extents[:, 2:] - extents[:, :2],
        np.concatenate([boxes, [extent_of(there) / point]]),
        axes.get_window_extent().extents / point,
    )
    for text, offset in zip(texts, offsets, strict=True):
        text.set_position(tuple(offset))


def extent_of(text: Text) -> np.ndarray:
    """Left, lower, right, upper, in pixels: of the words, not of the line that leads to them."""
    return np.asarray(Text.get_window_extent(text).extents)


def label_offsets(
    marks: np.ndarray, sizes: np.ndarray, taken: np.ndarray, inside: np.ndarray
) -> np.ndarray:
    """From each mark (n, 2) to the middle of its label of that size (n, 2): the nearest place
    where it covers no mark, no label before it, none of the boxes `taken` (m, 4: left, lower,
    right, upper) and nothing out of the box `inside`; or else the one where it covers least."""
    covered = np.concatenate([np.hstack([marks - MARK, marks + MARK]), taken])
    found = []
    for mark, size in zip(marks, sizes, strict=True):
        offsets = (AWAY[:, None, None] + size / 2) * AROUND  # the nearest first
        middles = mark + offsets.reshape(-1, 2)
        boxes = np.hstack([middles - size / 2, middles + size / 2])
        lost = size.prod() - overlaps(boxes, inside[None])[:, 0]
        lost += overlaps(boxes, covered).sum(axis=1)
        best = int(np.argmin(np.round(lost, 6)))
        covered = np.concatenate([covered, boxes[best : best + 1]])
        found.append(middles[best] - mark)
    return np.array(found)


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Areas that boxes (n, 4) and others (m, 4) share, (n, m)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.clip(high - low, 0.0, None).prod(axis=-1)
