"""The report's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from scipy.special import ndtri

from eval.reporting.curves import RegionGap, Roc, TrainingPoint
from eval.reporting.style import (
    BEFORE,
    COLOURS,
    INK,
    MUTED,
    RULE,
    SHADE,
    STUDENT,
    above,
    canvas,
    framed,
    label_of,
    legend,
    line_of,
    name_rows,
)
from eval.scoring.metrics import MIN_FALSE_ACCEPTS
from eval.scoring.separability import Measured

DET_TICKS, DET_MOST = (0.0001, 0.001, 0.01, 0.05, 0.1, 0.2, 0.4), 0.5
FLOORS = (0.8, 0.5, 0.0)  # of a ROC: the highest that is below all of its lines
SMOOTHED = 7  # logged losses in a running mean


def roc_figure(curves: Sequence[Roc]) -> Figure:
    """TAR over FAR (log) of one benchmark, a line a model, with its band; from where the lowest
    lies."""
    figure = canvas(3.9, 5.0)
    axes = framed(figure.add_subplot(), "false accept rate", "true accept rate")
    most = max(curve.num_impostors for curve in curves)
    smallest = min(0.5, MIN_FALSE_ACCEPTS / most)  # what the impostors bear
    lowest = 1.0
    for place, curve in enumerate(curves):
        inside = curve.far > 0  # FAR 0 lies outside a log axis
        lowest = min(lowest, float(np.interp(smallest, curve.far, curve.tar)))
        colour, dashes = line_of(curve.model, place)
        if curve.band is not None:
            axes.fill_between(
                curve.far[inside], *curve.band[:, inside], step="post", color=colour, alpha=0.16,
                linewidth=0,
            )  # fmt: skip
        axes.step(
            curve.far[inside], curve.tar[inside], where="post", color=colour,
            label=label_of(curve.model), linestyle=dashes, linewidth=1.8,
        )  # fmt: skip
    floor = next(end for end in FLOORS if end <= lowest)
    axes.set(xscale="log", xlim=(smallest, 1.0), ylim=(floor, 1.0 + (1.0 - floor) / 50))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{100 * rate:g}%"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{round(100 * rate, 1):g}%"))
    legend(axes, "lower right")
    return figure


def det_figure(curves: Sequence[Roc]) -> Figure:
    """FNMR over FMR of one benchmark on normal deviates (Martin et al. 1997), a line a model."""
    figure = canvas(3.9, 5.0)
    axes = framed(figure.add_subplot(), "false match rate", "false non-match rate")
    axes.grid(axis="x", color=RULE, linewidth=0.7)
    most = max(curve.num_impostors for curve in curves)
    least = min(0.1, MIN_FALSE_ACCEPTS / most), 0.5 / max(2, most)  # an FMR that they bear; an FNMR
    for place, curve in enumerate(curves):
        colour, dashes = line_of(curve.model, place)
        rates = np.array([curve.far, 1.0 - curve.tar])
        rates[(rates <= 0.0) | (rates >= 1.0)] = np.nan  # no normal deviate
        axes.plot(
            *ndtri(rates), color=colour, label=label_of(curve.model), linestyle=dashes,
            linewidth=1.8,
        )  # fmt: skip
    for end, set_ticks in zip(least, (axes.set_xticks, axes.set_yticks), strict=True):
        ticks = [rate for rate in DET_TICKS if rate > end]
        set_ticks(ndtri(ticks), [f"{100 * rate:g}%" for rate in ticks])
    axes.set(xlim=ndtri([least[0], DET_MOST]), ylim=ndtri([least[1], DET_MOST]))
    legend(axes, "upper right")
    return figure


def fold_figure(accuracies: Mapping[str, Sequence[float]]) -> Figure:
    """Accuracy on every fold of one benchmark, a row a model, and their means."""
    figure = canvas(0.9 + 0.55 * len(accuracies))
    axes = framed(figure.add_subplot(), "accuracy on a fold", "")
    axes.grid(axis="x", color=RULE, linewidth=0.7)
    axes.grid(axis="y", visible=False)
    for row, (model, values) in enumerate(accuracies.items()):
        colour = COLOURS[model]
        axes.plot(values, _beeswarm(values, row), "o", color=colour, markersize=6, alpha=0.55,
                  markeredgewidth=0)  # fmt: skip
        mean = float(np.mean(values))
        axes.plot([mean, mean], [row - 0.36, row + 0.36], color=colour, linewidth=2.2)
    name_rows(axes, list(accuracies))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, 2):g}%"))
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def _beeswarm(values: Sequence[float], row: int) -> np.ndarray:
    """Places across a row: equal values beside each other."""
    places = np.full(len(values), float(row))
    for value in set(values):
        alike = np.flatnonzero(np.asarray(values) == value)
        places[alike] += 0.11 * (np.arange(len(alike)) - (len(alike) - 1) / 2)
    return places


def training_figure(
    points: Sequence[TrainingPoint],
    ends: Mapping[str, int],
    gaps: Mapping[str, Mapping[str, Any]],
) -> Figure:
    """Above the loss, below the probe's mean gap at the end of each run, over faces seen.

    `ends` gives the faces seen when each run ended.
    """
    figure = canvas(4.9)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=[1.7, 1])
    _draw_losses(framed(upper, "", "training loss"), points)
    _draw_gaps(framed(lower, "faces seen", "mean gap, probe"), ends, gaps)
    for axes in (upper, lower):
        for end in list(ends.values())[:-1]:
            axes.axvline(end, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0)
    starts = [0, *ends.values()]
    for (run, end), start in zip(ends.items(), starts, strict=False):
        if end > start:
            upper.annotate(
                run, ((start + end) / 2, 1.0), xycoords=("data", "axes fraction"),
                xytext=(0, 4), textcoords="offset points", ha="center", color=MUTED, fontsize=9,
            )  # fmt: skip
    lower.set_xlim(0, 1.03 * max(1, *ends.values()))
    lower.xaxis.set_major_formatter(FuncFormatter(lambda seen, _: f"{seen:,.0f}"))
    return figure


def _draw_losses(axes: Axes, points: Sequence[TrainingPoint]) -> None:
    for run in dict.fromkeys(point.run for point in points):
        seen = np.array([point.faces_seen for point in points if point.run == run])
        loss = np.array([point.loss for point in points if point.run == run])
        axes.plot(seen, loss, color=STUDENT, alpha=0.3, linewidth=0.9)
        axes.plot(seen, _running_mean(loss), color=STUDENT, linewidth=1.8)


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Over SMOOTHED neighbours, fewer at the ends."""
    window = np.ones(min(SMOOTHED, len(values)))
    sums = np.convolve(values, window, mode="same")
    return sums / np.convolve(np.ones(len(values)), window, mode="same")


def _draw_gaps(axes: Axes, ends: Mapping[str, int], gaps: Mapping[str, Mapping[str, Any]]) -> None:
    means = [gaps[run]["mean"] for run in ends]
    errors = [1.96 * gaps[run]["standard_error"] for run in ends]
    axes.errorbar(
        list(ends.values()), means, yerr=errors, color=STUDENT, marker="o", markersize=6,
        linewidth=1.0, linestyle=(0, (1, 2)), elinewidth=1.4, capsize=3, clip_on=False, zorder=3,
    )  # fmt: skip
    for seen, mean, error in zip(ends.values(), means, errors, strict=True):
        axes.annotate(
            f"{mean:.3f}", (seen, mean + error), xytext=(0, 5), textcoords="offset points",
            ha="center", color=INK, fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
        )  # fmt: skip
    axes.margins(y=0.35)


def region_figure(regions: Sequence[RegionGap], before_run: str, after_run: str) -> Figure:
    """Mean gap of the probe's faces region by region, by two students, in the given order."""
    figure = canvas(3.9)
    axes = framed(
        figure.add_subplot(), f"region, largest gap of {before_run} first", "mean gap, probe"
    )
    places = np.arange(len(regions))
    before, after = ([getattr(item, name) for item in regions] for name in ("before", "after"))
    for place, item in enumerate(regions):
        if item.mined:
            axes.axvspan(place - 0.5, place + 0.5, color=SHADE, linewidth=0, zorder=0)
    axes.vlines(places, before, after, color=RULE, linewidth=1.6, zorder=1)
    axes.plot(places, before, "o", color=BEFORE, markerfacecolor="white", markersize=5.5,
              label=label_of(before_run))  # fmt: skip
    axes.plot(places, after, "o", color=STUDENT, markersize=5.5, label=label_of(after_run))
    if any(item.mined for item in regions):
        axes.plot([], [], "s", color=SHADE, markersize=10, label="mined from")
    axes.set_xticks(places, [str(item.region) for item in regions])
    axes.tick_params(axis="x", labelsize=7 if len(regions) > 24 else 9, length=0)
    axes.set_xlim(-0.6, len(regions) - 0.4)
    above(axes, 3)
    return figure


def separability_figure(judges: Mapping[str, Measured]) -> Figure:
    """For each judge the cosines of genuine and impostor pairs, and of each identity's mean."""
    figure = canvas(0.6 + 2.5 * len(judges), 9.0)
    for row, (judge, found) in enumerate(judges.items()):
        left, right = (figure.add_subplot(len(judges), 2, 2 * row + place) for place in (1, 2))
        for scores, label, colour in (
            (found.impostor, "two identities", BEFORE),
            (found.genuine, "one identity", STUDENT),
        ):
            bins = np.linspace(-1.0, 1.0, 81).tolist()
            left.hist(scores, bins, density=True, histtype="step", label=label, color=colour)
        right.hist(found.identity_means, np.linspace(0.0, 1.0, 41).tolist(), color=STUDENT)
        legend(framed(left, f"cosine of two faces ({judge})", "density"), "upper left")
        framed(right, f"mean cosine within an identity ({judge})", "identities")
    return figure
