"""The first screen: how far a student is from its teacher, and what is known of the reasons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval.reporting.benchmarks import ROLES, Benchmarks, drawn_over, interval_of
from eval.reporting.drift_section import number, ranked
from eval.reporting.gathered import Results

MOST_TOLD = 2  # attributes
CLEAR = 2.0  # standard errors by which the last run lowered the gap, if it was still falling


def opening(
    results: Results, benchmarks: Benchmarks, regions: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Content of first.html.jinja; `regions` is the section on regions."""
    summary = results.summary
    return {
        "distances": {
            name: distance(roles, summary["behind_teacher"][name])
            for name, roles in benchmarks.items()
        },
        "shares": shares(summary["sizes"]),
        "gap": summary["gap"][results.chain[-1].name],
        "gap_on_pool": summary["gap_on_pool"],
        "falls": falls(summary["gap"]),
        "regions": regions,
        "unlike": unlike(results.drift),
    }


def distance(roles: Mapping[str, Mapping[str, Any]], behind: Mapping[str, Any]) -> dict[str, Any]:
    """Of a student and its teacher on one benchmark: both accuracies with their intervals, and how
    much the student lacks. `errors`: its errors, of the teacher's; None where that makes none."""
    wrong = [1.0 - roles[role]["accuracy"] for role in ROLES]
    return {
        "roles": {
            role: {"accuracy": own["accuracy"], "ci95": interval_of(own)}
            for role, own in roles.items()
        },
        "over": drawn_over(roles[ROLES[0]]),
        "behind": behind,
        "errors": wrong[0] / wrong[1] if wrong[1] > 0 else None,
    }


def shares(sizes: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """{parameters, multiply-adds: the student's, of its teacher's}, where both are known."""
    student, teacher = (sizes[role] for role in ROLES)
    names = {"num_params": "parameters", "macs": "multiply-adds"}
    return {
        shown: student[name] / teacher[name]
        for name, shown in names.items()
        if student[name] and teacher[name]
    }


def falls(gaps: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The probe's gap from run to run, and whether the last run still lowered it by more than
    chance; None of a single run."""
    if len(gaps) < 2:
        return None
    before, after = list(gaps.values())[-2:]
    # Of the same faces the error of the difference is smaller than that of either.
    still = before["mean"] - after["mean"] > CLEAR * after["standard_error"]
    return {"means": [own["mean"] for own in gaps.values()], "still": still}


def unlike(drift: Mapping[str, Any] | None) -> list[tuple[str, str, str, str, str]]:
    """(photographs, attribute, unit, their median, that of the faces trained on): where both lie
    further apart than halves of the photographs do, the furthest first."""
    found = []
    for name, own in (drift["real"] if drift else {}).items():
        for key, attribute in ranked(own["attributes"]):
            divergence = attribute["kl_real_synthetic"]
            if divergence["ci95"][0] > divergence["null_first"]:
                ends = (
                    number(attribute[side]["median"], attribute) for side in ("real", "synthetic")
                )
                found.append((name, key, attribute["unit"], *ends))
        if found:
            return found[:MOST_TOLD]
    return found
