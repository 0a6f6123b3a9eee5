"""The page's section on drift: what synthetic faces have and lack beside real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from eval.reporting.pictures import face_strip, row_of, showable
from eval.reporting.style import INK, MUTED, STUDENT, TEACHER, canvas, data_uri, framed, legend
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.stores.rounds import RoundFiles

MOST_SHOWN = 4  # lacking bins of a real set
FACES_SHOWN = 8
FURTHEST = 2  # attributes that the text alternative tells of
COLUMNS, ROW_HEIGHT = 3, 2.25  # inches
# Real sets in turn: told apart by dash as well as by colour.
LINES: tuple[dict[str, Any], ...] = (
    {"color": TEACHER, "linestyle": "solid"},
    {"color": INK, "linestyle": (0, (4, 1.5))},
    {"color": MUTED, "linestyle": (0, (1, 1))},
)
WIDE_RANGE = 100.0  # edges that span more are drawn on a logarithmic axis


def read_drift(rounds: Sequence[RoundFiles]) -> dict[str, Any] | None:
    """reports/drift.json; None where drift was not measured, or of other rounds than these.

    Raises InputError where it was measured on other faces of these rounds than those at hand.
    """
    path = layout.REPORTS / "drift.json"
    if not path.exists():
        return None
    report: dict[str, Any] = read_json(path)
    roots = {files.name: files.faces.root for files in rounds}
    sources = report["synthetic"]["sources"]
    if any(source["name"] not in roots for source in sources):
        return None
    for source in sources:
        if source["digest"] != roots[source["name"]]:
            raise InputError(
                f"{path}: of a store {source['name']} with root {source['digest'][:12]}, which is "
                "not at hand; run drift again"
            )
    return report


def drift_section(
    report: Mapping[str, Any],
    rounds: Mapping[str, RoundFiles],
    titles: Mapping[str, str] | None = None,
) -> dict[str, Any] | None:
    """Content of drift.html.jinja, from drift.json and the rounds whose faces it may show;
    `titles` renames sets of photographs. None where nothing could be compared."""
    named = {(titles or {}).get(name, name): own for name, own in report["real"].items()}
    compared = {name: own for name, own in named.items() if own["attributes"]}
    if not compared:
        return None
    return {
        "image": data_uri(drift_figure(compared)),
        "alt": alternative(compared),
        "smoothing": report["method"]["smoothing"],
        "sets": [set_content(name, own, rounds) for name, own in compared.items()],
    }


def set_content(
    name: str, own: Mapping[str, Any], rounds: Mapping[str, RoundFiles]
) -> dict[str, Any]:
    """One real set: its attributes, the furthest first, and what synthetic faces lack of it."""
    return {
        "name": name,
        "num_faces": sum(source["rows"] for source in own["sources"]),
        "attributes": [
            (key, found, *(number(found[side]["median"], found) for side in ("real", "synthetic")))
            for key, found in ranked(own["attributes"])
        ],
        "not_compared": own["not_compared"],
        "lacking": [
            {**gap, "range": range_of(gap), "image": strip_of(gap["synthetic_examples"], rounds)}
            for gap in own["lacking"][:MOST_SHOWN]
        ],
        "num_lacking": len(own["lacking"]),
    }


def ranked(attributes: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """By D(real || synthetic), falling."""
    return sorted(attributes.items(), key=lambda item: -item[1]["kl_real_synthetic"]["value"])


def range_of(gap: Mapping[str, Any]) -> str:
    """A bin in words."""
    low, high = (None if gap[end] is None else f"{gap[end]:,.4g}" for end in ("low", "high"))
    span = f"below {high}" if low is None else f"from {low}" if high is None else f"{low} to {high}"
    text = f"{gap['attribute']} {span} {gap['unit']}"
    return text[0].upper() + text[1:]


def number(value: float, found: Mapping[str, Any]) -> str:
    """A value of an attribute with as many digits as its bins ask for."""
    edges = found["edges"]
    return f"{value:,.{1 if edges[-1] - edges[0] > 2 else 2}f}"


def strip_of(face_ids: Sequence[str], rounds: Mapping[str, RoundFiles]) -> str | None:
    """The faces of the round that has most of them, of rounds that a generator made."""
    wanted = np.array([int(name) for name in face_ids if name.lstrip("-").isdigit()], np.int64)
    most, image = 0, None
    for files in rounds.values():
        manifest = showable(files)
        here = wanted if manifest is None else wanted[np.isin(wanted, manifest.face_id)]
        if manifest is not None and len(here) > most:
            most = len(here)
            image = face_strip(files.faces, row_of(manifest, here), FACES_SHOWN)
    return image


def alternative(real: Mapping[str, Mapping[str, Any]]) -> str:
    """The figure in words."""
    told = []
    for name, own in real.items():
        parts = [
            f"{attribute}, median {number(found['real']['median'], found)} against "
            f"{number(found['synthetic']['median'], found)} {found['unit']}"
            for attribute, found in ranked(own["attributes"])[:FURTHEST]
        ]
        told.append(f"{name} and the synthetic faces differ most in {'; then in '.join(parts)}.")
    names = dict.fromkeys(name for own in real.values() for name in own["attributes"])
    return f"Histograms of {', '.join(names)}. {' '.join(told)}"


def drift_figure(real: Mapping[str, Mapping[str, Any]]) -> Figure:
    """`real`: of drift.json, {set: {attributes: {name: histograms}}}. The share of the faces in
    each bin, of synthetic faces as an area, of real ones as lines."""
    names = list(dict.fromkeys(name for own in real.values() for name in own["attributes"]))
    rows = (len(names) + COLUMNS) // COLUMNS  # one place more, for the legend
    figure = canvas(ROW_HEIGHT * rows)
    places = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axes, name in zip(places, names, strict=False):
        found = {
            key: own["attributes"][name] for key, own in real.items() if name in own["attributes"]
        }
        _draw(axes, name, found)
    for axes in places[len(names) :]:
        axes.set_axis_off()
    _name_sets(places[len(names)], list(real))
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
    axes.set_xlim(edges[0], edges[-1])
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    framed(axes, size=8).set_xlabel(first["unit"], color=MUTED, fontsize=8.5)


def _name_sets(axes: Axes, names: Sequence[str]) -> None:
    axes.fill_between([], [], color=STUDENT, alpha=0.35, label="synthetic faces")
    for style, name in zip(LINES, names, strict=False):
        axes.plot([], [], linewidth=1.7, label=f"{name} (real)", **style)
    legend(axes, "center left")
