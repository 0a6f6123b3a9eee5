"""Slow, obvious twins of what competitions count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def average(values: Sequence[float]) -> float:
    total = 0.0
    for value in values:
        total += value
    return total / len(values)


def population_deviation(values: Sequence[float]) -> float:
    mean = average(values)
    return average([(value - mean) ** 2 for value in values]) ** 0.5


def most_right(scores: Sequence[float], same: Sequence[bool]) -> int:
    """The most right decisions that any threshold can make; accepted is what lies above it."""
    best = 0
    for threshold in [min(scores) - 1, *scores]:
        right = 0
        for score, label in zip(scores, same, strict=True):
            right += (score > threshold) == label
        best = max(best, right)
    return best


def borda_points(figures: Mapping[str, Mapping[str, float]], sets: Sequence[str]) -> dict:
    """Competitor against competitor: a point for each that it beats, half of one for an equal."""
    points = {}
    for one in figures:
        points[one] = 0.0
        for other in figures:
            for own in sets:
                if other != one and figures[one][own] > figures[other][own]:
                    points[one] += 1.0
                if other != one and figures[one][own] == figures[other][own]:
                    points[one] += 0.5
    return points
