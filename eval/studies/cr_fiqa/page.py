"""What the page shows of the study CR-FIQA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.reporting.style import data_uri
from eval.studies.cr_fiqa.figures import discard_curves

LEARNT = {
    "joint": "CR-FIQA",
    "on-top": "on top of a frozen network",
    "joint-released": "released ratio",
    "joint-ccs": "own cosine alone",
    "taught": "taught by the teacher as well",
}
SIMPLE = {
    "sharpness": "sharpness",
    "norm": "norm of the embedding",
    "detector": "detector's confidence",
    "random": "random",
}
STUDENTS = {
    "plain": "Every face alike",
    "weighted": "Weighed by quality",
    "quarantined": "Without the worst faces",
    "random": "Without as many at random",
}
BENCHMARKS = {"orl": "ORL", "pairs": "Photograph pairs"}
DRAWN = ("joint", "on-top", "taught")  # curves in the picture; the table has all


def content_of(found: Mapping[str, Any], strips: Mapping[str, str]) -> dict[str, Any]:
    """Content of page.html.jinja."""
    return {
        "benchmarks": [
            curve_content(name, role, own)
            for name, benchmark in found["benchmarks"].items()
            for role, own in benchmark["by"].items()
        ],
        "networks": networks(found),
        "effects": effect_rows(found),
        "faces": [
            {
                "round": name,
                **own,
                "strips": [
                    (side, strips[f"{name}/{side}"])
                    for side in ("worst", "best") if strips.get(f"{name}/{side}")
                ],
            }
            for name, own in found["faces"].items()
        ],
        "recognisers": found["recognisers"],
    }  # fmt: skip


def curve_content(name: str, role: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """One benchmark by one network that recognises."""
    titles = {key: title for key, title in (LEARNT | SIMPLE).items() if key in own["qualities"]}
    learnt = {key: LEARNT[key] for key in DRAWN}
    simple = {key: title for key, title in SIMPLE.items() if key in titles}
    rows = [
        {"title": title, "own": key == own["own"], **own["qualities"][key],
         "less": own["less"].get(key)}
        for key, title in titles.items()
    ]  # fmt: skip
    facts = ("fmr", "num_genuine", "num_impostors", "num_subjects", "threshold_rule")
    return {
        "title": BENCHMARKS[name],
        "role": role,
        "image": data_uri(discard_curves(own, learnt, simple)),
        "rows": rows,
        "verdict": verdict(titles, own),
        **{fact: own[fact] for fact in facts},
    }


def verdict(titles: Mapping[str, str], own: Mapping[str, Any]) -> dict[str, list[str]]:
    """What the joint head is better than, worse than, and not told from, by the intervals of the
    differences of areas."""
    told: dict[str, list[str]] = {"better": [], "worse": [], "open": []}
    for key, title in titles.items():
        if own["less"].get(key) is not None:
            low, high = own["less"][key]["ci95_identity"]
            told["better" if high < 0 else "worse" if low > 0 else "open"].append(title)
    return told


def networks(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The networks that learn quality."""
    names = {"backbone": "Margin alone", **LEARNT}
    return [{"title": title, **found["runs"][name]} for name, title in names.items()]


def effect_rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The distilled students, benchmark by benchmark."""
    return [
        {
            "title": BENCHMARKS[name],
            "num_pairs": own["num_pairs"],
            "num_subjects": own["num_subjects"],
            "rows": [student_row(arm, title, own, found) for arm, title in STUDENTS.items()],
        }
        for name, own in found["effects"].items()
    ]


def student_row(
    arm: str, title: str, own: Mapping[str, Any], found: Mapping[str, Any]
) -> dict[str, Any]:
    runs: Sequence[Mapping[str, Any]] = [
        facts for name, facts in found["runs"].items() if name.startswith(f"{arm}/")
    ]
    return {"title": title, "num_faces": runs[0]["num_faces"], **own["students"][arm]}
