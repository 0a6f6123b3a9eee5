"""What the page shows of the study fair-distillation, from its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.reporting.style import data_uri
from eval.studies.fair_distillation.figures import Point, fairness_figure

Grid = Sequence[Mapping[str, Any]]  # facts of every place, as the grid first names them
NAMES = {"orl": "ORL", "pairs": "Photograph pairs", "rfw": "RFW"}


def content_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """Content of page.html.jinja."""
    trained = [cell for cell in found["grid"] if not cell["why_not"]]
    return {
        "losses": list(dict.fromkeys(cell["loss"] for cell in trained if cell["loss"])),
        "num_seeds": len(found["seeds"]),
        "num_models": sum(len(cell["students"]) for cell in trained),
        "num_cells": len(trained),
        "faces_seen": trained[0]["students"][0]["faces_seen"] if trained else 0,
        "sets": data_sets(found["grid"]),
        "empty": empty_places(found["grid"]),
        "real": sorted({words for cell in trained for words in real_words(cell)}),
        "benchmarks": {
            name: benchmark_content(name, own, found["grid"])
            for name, own in found["benchmarks"].items()
        },
    }


def data_sets(grid: Grid) -> list[dict[str, Any]]:
    """What each data set holds: {round: faces, identities}."""
    found: dict[str, dict[str, Any]] = {}
    for cell in grid:
        own = found.setdefault(cell["data"], {"name": cell["data"], "rounds": {}, "faces": 0})
        for student in cell["students"][:1]:
            own["rounds"] = student["rounds"]
            own["faces"] = sum(each["faces"] for each in student["rounds"].values())
    return list(found.values())


def empty_places(grid: Grid) -> list[tuple[str, list[str]]]:
    """(reason, places) of what was not trained."""
    reasons: dict[str, list[str]] = {}
    for cell in grid:
        if cell["why_not"]:
            reasons.setdefault(cell["why_not"], []).append(cell["name"])
    return list(reasons.items())


def real_words(cell: Mapping[str, Any]) -> list[str]:
    """What cards say of real faces."""
    words = (
        student["training"].partition("; trained on real faces: ")[2]
        for student in cell["students"]
    )
    return [each for each in words if each]


def label(cell: Mapping[str, Any]) -> str:
    """What taught a student."""
    taught = [cell["loss"] or ""] + (["KD"] if cell["distilled"] else [])
    return " + ".join(filter(None, taught))


def benchmark_content(name: str, own: Mapping[str, Any], grid: Grid) -> dict[str, Any]:
    rows = [
        {
            "data": cell["data"],
            "student": cell["student"],
            "label": label(cell),
            "why_not": cell["why_not"],
            "figures": own["cells"].get(cell["name"]),
        }
        for cell in grid
    ]
    points = [
        Point(
            cell["data"],
            cell["student"],
            cell["loss"],
            cell["distilled"],
            own["cells"].get(cell["name"]),
        )
        for cell in grid
    ]
    return {
        "name": NAMES[name],
        "basis": own["basis"],
        "groups": {group["title"]: group for group in own["groups"]},
        "fmr": own["fmr"],
        "rows": sorted(rows, key=lambda row: order(row, grid)),
        "teacher": own["teacher"],
        "kd": [row for row in own["kd"] if any(row["less"].values())],
        "gaps": gap_rows(own["gaps"]),
        "image": data_uri(fairness_figure(points, own["teacher"])),
    }


def order(row: Mapping[str, Any], grid: Grid) -> tuple[int, int]:
    """Data sets, and students within them, as the grid first names them."""
    data = list(dict.fromkeys(cell["data"] for cell in grid))
    students = list(dict.fromkeys(cell["student"] for cell in grid))
    return data.index(row["data"]), students.index(row["student"])


def gap_rows(gaps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Without and with distillation side by side, for each data set, student and loss."""
    found: dict[tuple[str, str, str | None], dict[str, Any]] = {}
    for gap in gaps:
        key = gap["data"], gap["student"], gap["loss"]
        row = found.setdefault(key, {"data": key[0], "student": key[1], "loss": key[2]})
        row["taught" if gap["distilled"] else "alone"] = gap
    return [{"taught": None, "alone": None, **row} for row in found.values()]
