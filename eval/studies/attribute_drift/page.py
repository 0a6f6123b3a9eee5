"""What the page shows of the study attribute-drift, from its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eval.attributes.maad_face import GROUPS, LABEL_QUALITY
from eval.reporting.drift_section import (
    MOST_SHOWN,
    alternative,
    drift_figure,
    number,
    range_of,
    ranked,
)
from eval.reporting.style import data_uri
from eval.studies.attribute_drift.figures import matrix_figure, rates_figure

PAIRS_SHOWN = 3


def content_of(found: Mapping[str, Any], strips: Mapping[str, str]) -> dict[str, Any]:
    """Content of page.html.jinja."""
    return {
        "annotators": [annotator_content(own, strips) for own in found["annotators"]],
        "heads": heads_content(found["heads"]),
        "smoothing": found["method"]["smoothing"],
    }


def annotator_content(own: Mapping[str, Any], strips: Mapping[str, str]) -> dict[str, Any]:
    filled = {title: finding for title, finding in own["sets"].items() if finding["attributes"]}
    binary = all(
        is_binary(a) for finding in filled.values() for a in finding["attributes"].values()
    )
    return {
        "name": own["name"],
        "binary": binary,
        "image": None if binary or not filled else data_uri(drift_figure(filled)),
        "alt": "" if binary or not filled else alternative(filled),
        "num_synthetic": sum(source["rows"] for source in own["synthetic"]),
        "sets": [
            set_content(title, finding, binary, strips, f"{own['name']}/{title}")
            for title, finding in filled.items()
        ],
        "checks": own["checks"],
        "matrix": own["matrix"] and matrix_content(own["matrix"]),
    }


def matrix_content(found: Mapping[str, Any]) -> dict[str, Any]:
    """Every set beside every other, the real ones first; attributes by how badly synthetic sets
    explain real ones, else by how far sets of one kind lie apart."""
    sets = found["sets"]
    order = sorted(range(len(sets)), key=lambda at: sets[at]["kind"] != "real")
    names = [sets[at]["name"] for at in order]
    table = [[found["all"][row][column] for column in order] for row in order]
    blocks = [name for name in found["blocks"] if name != "difference" and found["blocks"][name]]
    worst = "real || synthetic" if "real || synthetic" in blocks else blocks[0]
    rows = sorted(
        ((name, own["blocks"]) for name, own in found["attributes"].items()),
        key=lambda row: -row[1][worst]["value"],
    )
    values = np.array([[place["value"] for place in row] for row in table])
    num_real = sum(own["kind"] == "real" for own in sets)
    return {
        "names": names,
        "table": [(sets[at], row) for at, row in zip(order, table, strict=True)],
        "image": data_uri(matrix_figure(names, values, num_real)),
        "blocks": {name: found["blocks"][name] for name in blocks},
        "difference": found["blocks"]["difference"],
        "rows": rows,
        "num_faces": found["num_faces"],
        "not_compared": found["not_compared"],
    }


def is_binary(found: Mapping[str, Any]) -> bool:
    """A probability of which it is only told whether it is above one half."""
    return bool(found["edges"] == [0.0, 0.5, 1.0])


def set_content(
    title: str, finding: Mapping[str, Any], binary: bool, strips: Mapping[str, str], key: str
) -> dict[str, Any]:
    """One set of photographs: its attributes, the furthest first, and what is lacking."""
    order = ranked(finding["attributes"])
    explained = finding["explanation"]
    sides = ("real", "synthetic")
    return {
        "title": title,
        "num_faces": sum(source["rows"] for source in finding["sources"]),
        "people": max(own["real"]["people"] for own in finding["attributes"].values()),
        "rows": [
            {
                "name": name,
                "middle": [middle_of(own, side, binary) for side in sides],
                "there": own["kl_real_synthetic"],
                "back": own["kl_synthetic_real"],
                "explained": explained["attributes"][name],
            }
            for name, own in order
        ],
        "explanation": explained,
        "rates": rates_of(order) if binary else None,
        "rounds": rounds_of(order),
        "joint": finding["joint"],
        "pairs": finding["pairs"][:PAIRS_SHOWN],
        "num_lacking": len(finding["lacking"]) + len(finding["lacking_together"]),
        "lacking": [
            gap | {"range": range_of(gap), **pictures(strips, f"{key}/lacking/{at}")}
            for at, gap in enumerate(finding["lacking"][:MOST_SHOWN])
        ],
        "together": [
            gap | {"range": ranges_of(gap), **pictures(strips, f"{key}/lacking_together/{at}")}
            for at, gap in enumerate(finding["lacking_together"][:MOST_SHOWN])
        ],
    }


def pictures(strips: Mapping[str, str], key: str) -> dict[str, str | None]:
    return {side: strips.get(f"{key}/{side}") for side in ("real", "synthetic")}


def middle_of(own: Mapping[str, Any], side: str, binary: bool) -> str:
    """The median, or the share that has a binary attribute."""
    if not binary:
        return number(own[side]["median"], own)
    return f"{100 * share_of(own[side]['counts']):.1f} %"


def share_of(counts: Sequence[int]) -> float:
    """Of the upper half's bins."""
    return sum(counts[len(counts) // 2 :]) / max(1, sum(counts))


def rates_of(order: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    rates = [
        (name, share_of(own["real"]["counts"]), share_of(own["synthetic"]["counts"]))
        for name, own in order
    ]
    return data_uri(rates_figure(rates))


def rounds_of(order: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, list[float | None]]:
    """D(real || round) of each round, in the order of the attributes."""
    names = order[0][1]["kl_real_synthetic_by_source"]
    return {
        round: [own["kl_real_synthetic_by_source"].get(round) for _, own in order]
        for round in names
    }


def ranges_of(gap: Mapping[str, Any]) -> str:
    """Parts of two attributes in words."""
    parts = [
        range_of({"attribute": name, "unit": unit, "low": low, "high": high})
        for name, unit, (low, high) in zip(
            gap["attributes"], gap["units"], gap["ranges"], strict=True
        )
    ]
    return f"{parts[0]}, and {parts[1][0].lower()}{parts[1][1:]}"


def heads_content(heads: Mapping[str, Any] | None) -> dict[str, Any]:
    """MAAD-Face's attributes by group, each with its head on the people held out; empty where no
    heads were trained."""
    results = {} if heads is None else heads["held_out"]
    groups = {group: list(names) for group, names in GROUPS.items()}
    others = [name for name in results if name not in LABEL_QUALITY]
    if others:
        groups["of the table alone"] = others
    return {
        "trained": heads is not None,
        "labels": None if heads is None else heads["labels"],
        "architecture": None if heads is None else heads["architecture"],
        "floor": None if heads is None else heads["settings"]["floor"],
        "num_used": 0 if heads is None else len(heads["used"]),
        "groups": [
            (group, [(name, LABEL_QUALITY.get(name), results.get(name)) for name in names])
            for group, names in groups.items()
        ],
    }
