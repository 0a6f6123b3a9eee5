"""What the page shows of the study training-sets, from its report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from eval.reporting.style import BEFORE, INK, MUTED, STUDENT, bare, canvas, data_uri, name_rows

ROW_HEIGHT, MARGIN = 0.36, 0.85  # inches


def content_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """Content of page.html.jinja."""
    sets = found["sets"]
    places = list(dict.fromkeys(place for own in sets.values() for place in own["drift"]))
    return {
        "faces": found["faces"],
        "identities": found["identities"],
        "seeds": len(found["seeds"]),
        "sets": {name: _shown(own) for name, own in sets.items()},
        "places": places,
        "changes": _changes(found),
        "benchmarks": {
            name: {**own, "image": data_uri(leaderboard(own))}
            for name in found.get("order", found["benchmarks"])  # of before, without the order
            for own in [found["benchmarks"][name]]
        },
    }


def _shown(own: Mapping[str, Any]) -> dict[str, Any]:
    """A set's row: what of its rounds was drawn, and what else is known of it."""
    student = own["students"][0]
    drawn = student["rounds"]
    return {
        **own,
        "drawn": drawn,
        "identities": sum(each["identities"] for each in drawn.values()),
        "training": student["training"],
        "train_seconds": float(np.mean([each["train_seconds"] for each in own["students"]])),
    }


def _changes(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of every set that was made from another: how much nearer to real faces it came."""
    rows = []
    for name, own in found["sets"].items():
        if own["before"] is None:
            continue
        earlier = found["sets"][own["before"]]["drift"]
        rows.append(
            {
                "name": name,
                "before": own["before"],
                "drift": {
                    place: (earlier[place]["mean"], drift["mean"])
                    for place, drift in own["drift"].items()
                    if place in earlier
                },
                "accuracy": {
                    bench: each["less_before"][name] for bench, each in found["benchmarks"].items()
                },
            }
        )
    return rows


def leaderboard(own: Mapping[str, Any]) -> Figure:
    """A row a set, the best on top: the mean over seeds with its interval over people, where they
    are known, the seeds as small marks, and the teacher as a dashed line."""
    order = own["order"]
    figure = canvas(MARGIN + ROW_HEIGHT * len(order))
    axes = bare(figure.subplots(), "10-fold accuracy")
    for row, name in enumerate(order):
        accuracy = own["sets"][name]["accuracy"]
        if accuracy["ci95_identity"] is not None:
            axes.hlines(row, *accuracy["ci95_identity"], color=STUDENT, linewidth=2)
        seeds = accuracy["by_seed"]
        axes.plot(seeds, [row] * len(seeds), "|", color=BEFORE, markersize=11)
        axes.plot(accuracy["value"], row, "o", color=STUDENT, markersize=6, markeredgecolor=INK)
    axes.axvline(own["teacher"]["accuracy"]["value"], color=MUTED, lw=1, linestyle=(0, (4, 2)))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    name_rows(axes, order)
    return figure
