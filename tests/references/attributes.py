"""Slow, obvious twins of measured attributes and drift."""

from __future__ import annotations

import numpy as np


def head_pose(
    landmarks: np.ndarray,
    model: np.ndarray,
    lower: np.ndarray,
    deviations: tuple[float, float, float],
) -> tuple[int, int]:
    """(yaw, pitch) in degrees of five points, by trying whole degrees and many noses; `lower`:
    how far each point comes down with a longer one; `deviations` of a landmark, of noses, and of
    pitch in degrees."""
    landmark_sd, nose_sd, pitch_sd = deviations
    size = np.linalg.norm(landmarks - landmarks.mean(axis=0))
    points = (landmarks - landmarks.mean(axis=0)) * np.linalg.norm(model[:, :2]) / size

    def turned(yaw: float, pitch: float, longer: float) -> np.ndarray:
        about_y = np.array(
            [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
        )
        about_x = np.array(
            [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
        )
        shaped = model + np.array([[0, longer * own, 0] for own in lower])
        return (about_x @ about_y @ shaped.T).T[:, :2]

    def misfit(yaw: int, pitch: int, longer: float) -> float:
        # a similarity: x' = a x - b y + c, y' = b x + a y + d
        rows, right = [], []
        places = turned(np.radians(yaw), np.radians(pitch), longer)
        for (x, y), (u, v) in zip(places, points, strict=True):
            rows += [[x, -y, 1, 0], [y, x, 0, 1]]
            right += [u, v]
        solution = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
        rest = ((np.array(rows) @ solution - right) ** 2).sum()
        return float(rest / landmark_sd**2 + (longer / nose_sd) ** 2 + (pitch / pitch_sd) ** 2)

    noses = np.linspace(-0.08, 0.08, 17)
    tried = [
        (yaw, pitch, longer)
        for yaw in range(-44, 45, 2)
        for pitch in range(-28, 33, 2)
        for longer in noses
    ]
    yaw, pitch, _ = min(tried, key=lambda state: misfit(*state))
    return yaw, pitch


def lab(red: int, green: int, blue: int) -> tuple[float, float, float]:
    """CIELAB of one sRGB pixel, by the published formulas (D65)."""

    def linear(level: int) -> float:
        share = level / 255
        return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4

    def curve(ratio: float) -> float:
        return ratio ** (1 / 3) if ratio > 216 / 24389 else (24389 / 27 * ratio + 16) / 116

    r, g, b = linear(red), linear(green), linear(blue)
    x = (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    z = (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089
    return 116 * curve(y) - 16, 500 * (curve(x) - curve(y)), 200 * (curve(y) - curve(z))


def sharpness(image: np.ndarray) -> float:
    """Variance of the Laplacian of one picture, pixel by pixel."""
    grey = [[0.299 * r + 0.587 * g + 0.114 * b for r, g, b in row] for row in image.tolist()]
    found = [
        grey[y - 1][x] + grey[y + 1][x] + grey[y][x - 1] + grey[y][x + 1] - 4 * grey[y][x]
        for y in range(1, len(grey) - 1)
        for x in range(1, len(grey[0]) - 1)
    ]
    mean = sum(found) / len(found)
    return sum((value - mean) ** 2 for value in found) / len(found)


def histogram(values: np.ndarray, edges: list[float]) -> list[int]:
    """Counts below the first edge, in every bin, and beyond the last edge."""
    counts = [0] * (len(edges) + 1)
    for value in values:
        if not np.isnan(value):
            passed = sum(value >= edge for edge in edges[:-1]) + (value > edges[-1])
            counts[passed] += 1
    return counts


def kl_divergence(first: list[int], second: list[int], added: float) -> float:
    """D(first || second) of counts to each of which `added` was added."""
    one, other = sum(first) + added * len(first), sum(second) + added * len(second)
    total = 0.0
    for a, b in zip(first, second, strict=True):
        p, q = (a + added) / one, (b + added) / other
        total += p * (np.log(p) - np.log(q))
    return total


def person_bootstrap(
    bins: list[int], subject: list[str], num_bins: int, rng: np.random.Generator
) -> list[int]:
    """One bootstrap histogram: people drawn with replacement, each with all faces."""
    people = sorted(set(subject))
    counts = [0] * num_bins
    for person in rng.choice(people, len(people)):
        for number, owner in zip(bins, subject, strict=True):
            if owner == person:
                counts[number] += 1
    return counts


def groups_by(rows: dict[int, list[float]], owner: list[int], people: int) -> list[str]:
    """Of rows of (Asian, Black, White, Male, skin angle), by the likeliest of the first three, by
    the fourth, and by the fifth cut at 0.5."""
    found = []
    for person in range(people):
        own = [row for at, row in rows.items() if owner[at] == person and row[0] == row[0]]
        if not own:
            found.append("")
            continue
        asian, black, white, male, angle = (sum(each) / len(own) for each in zip(*own, strict=True))
        likeliest = max((asian, "Asian"), (black, "Black"), (white, "White"))
        sex = "Male" if male >= 0.5 else "not Male"
        skin = "skin angle below 0.5" if angle < 0.5 else "skin angle from 0.5"
        found.append(f"{likeliest[1]}, {sex}, {skin}" if likeliest[0] >= 0.5 else "")
    return found
