"""Slow, obvious NumPy twins of the fast functions; one loop a sum."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
from scipy import stats


def warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Bilinear samples of a (channel, height, width) picture; outside, the edge is repeated."""
    channels, height, width = image.shape
    out = np.zeros((channels, size, size))
    for row in range(size):
        for column in range(size):
            # A pixel's centre lies at its index + 0.5.
            x, y = matrix @ (column + 0.5, row + 0.5, 1.0) - 0.5
            x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
            left, top = int(np.floor(x)), int(np.floor(y))
            right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
            a, b = x - left, y - top
            upper = (1 - a) * image[:, top, left] + a * image[:, top, right]
            lower = (1 - a) * image[:, bottom, left] + a * image[:, bottom, right]
            out[:, row, column] = (1 - b) * upper + b * lower
    return out


def merkle_root(leaves: Mapping[str, str]) -> str:
    """Pairs are hashed level by level; a node without a partner moves up as it is."""
    nodes = [_sha256(f"leaf:{path}:{leaves[path]}") for path in sorted(leaves)]
    if not nodes:
        return _sha256("")
    while len(nodes) > 1:
        above = []
        while len(nodes) >= 2:
            above.append(_sha256(f"node:{nodes.pop(0)}:{nodes.pop(0)}"))
        nodes = above + nodes
    return nodes[0]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def ridge(latents: np.ndarray, labels: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Each reference on its own: normal equations of the weights and a free offset."""
    count, width = latents.shape
    scatter = np.cov(latents.T, bias=True) * count
    strength = penalty * np.trace(scatter) / width
    design = np.column_stack([latents, np.ones(count)])
    system = design.T @ design + np.diag([strength] * width + [0.0])
    planes = [np.linalg.solve(system, design.T @ column) for column in labels.T]
    return np.array([p[:-1] for p in planes]), np.array([p[-1] for p in planes])


def median_labels(references: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """-1 for the half of the neighbours that is most alike to a reference, +1 for the rest."""
    labels = np.empty((len(neighbours), len(references)))
    for r, reference in enumerate(references):
        cosines = [
            n @ reference / (np.linalg.norm(n) * np.linalg.norm(reference)) for n in neighbours
        ]
        middle = np.median(cosines)
        for n, cosine in enumerate(cosines):
            labels[n, r] = -1.0 if cosine >= middle else +1.0
    return labels


def near_duplicates(vectors: np.ndarray, first: int, least_cosine: float) -> set[int]:
    """Indices from `first` on that repeat an earlier, unmarked vector of unit length."""
    marked: set[int] = set()
    for index in range(first, len(vectors)):
        for before in range(index):
            if before not in marked and vectors[index] @ vectors[before] > least_cosine:
                marked.add(index)
    return marked


# Attributes of faces


def head_pose(
    landmarks: np.ndarray, model: np.ndarray, deviations: tuple[float, float, float]
) -> tuple[int, int]:
    """(yaw, pitch) in degrees of five points, by trying whole degrees and many noses;
    `deviations` of a landmark, of noses, and of pitch in degrees."""
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
        shaped = model + np.array([[0, 0, 0]] * 4 + [[0, longer, 0]])
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


# Figures over scored pairs (higher: more alike). Loops over pairs; nothing is sorted.


def operating_points(scores: np.ndarray, same: np.ndarray) -> list[tuple[float, float, float]]:
    """(far, tar, threshold) of accepting scores above each threshold, FAR rising."""
    points = []
    for threshold in sorted({*scores.tolist(), -np.inf}, reverse=True):
        accepted = [score > threshold for score in scores]
        false = sum(a and not s for a, s in zip(accepted, same, strict=True))
        true = sum(a and s for a, s in zip(accepted, same, strict=True))
        points.append((false / sum(~same), true / sum(same), threshold))
    return points


def auc(scores: np.ndarray, same: np.ndarray) -> float:
    """The share of (genuine, impostor) couples in the right order; ties count half."""
    wins = [
        1.0 if genuine > impostor else 0.5 if genuine == impostor else 0.0
        for genuine in scores[same]
        for impostor in scores[~same]
    ]
    return sum(wins) / len(wins)


def insightface_folds(scores: np.ndarray, same: np.ndarray, fold: np.ndarray) -> list[float]:
    """Fold by fold, threshold by threshold, of cosine scores."""
    accuracies = []
    for number in range(fold.max() + 1):
        best, chosen = -1, 0.0
        for step in range(400):
            right = 0
            for score, label, home in zip(scores, same, fold, strict=True):
                right += home != number and ((2 - 2 * score) < step * 0.01) == label
            if right > best:
                best, chosen = right, step * 0.01
        held = [
            ((2 - 2 * s) < chosen) == label
            for s, label, home in zip(scores, same, fold, strict=True)
            if home == number
        ]
        accuracies.append(float(np.mean(held)))
    return accuracies


def facexzoo_folds(scores: np.ndarray, same: np.ndarray, fold: np.ndarray) -> list[float]:
    accuracies = []
    for number in range(fold.max() + 1):
        train = fold != number
        best, chosen = -np.inf, 0.0
        for threshold in np.linspace(scores[train].min(), scores[train].max(), 1000):
            tpr = np.mean([s > threshold for s in scores[train & same]])
            fpr = np.mean([s > threshold for s in scores[train & ~same]])
            if tpr - fpr > best:
                best, chosen = tpr - fpr, threshold
        held = [
            (s > chosen) == label
            for s, label, home in zip(scores, same, fold, strict=True)
            if home == number
        ]
        accuracies.append(float(np.mean(held)))
    return accuracies


def repeated_pairs(left: np.ndarray, right: np.ndarray, multiplicity: np.ndarray) -> list[int]:
    """Row of each pair as often as it occurs among people of whom some occur several times."""
    rows = []
    for row, (a, b) in enumerate(zip(left, right, strict=True)):
        for first in range(multiplicity[a]):
            for second in range(multiplicity[b]):
                if a != b or first == second:
                    rows.append(row)
    return rows


def similarity(probe: np.ndarray, face: np.ndarray, metric: str) -> float:
    return float(probe @ face if metric == "cosine" else -np.linalg.norm(probe - face))


def mate_ranks(
    probes: np.ndarray, probe_subject: np.ndarray, gallery: np.ndarray, subject: np.ndarray,
    metric: str, *, itself: bool,
) -> list[int]:  # fmt: skip
    """1 + how many faces of other people score at least as high as the best mate; 0 without."""
    ranks = []
    for row, probe in enumerate(probes):
        scores = [similarity(probe, face, metric) for face in gallery]
        others = [place for place in range(len(gallery)) if not (itself and place == row)]
        mates = [scores[place] for place in others if subject[place] == probe_subject[row]]
        strangers = [scores[place] for place in others if subject[place] != probe_subject[row]]
        ranks.append(1 + sum(s >= max(mates) for s in strangers) if mates else 0)
    return ranks


def nearest_rows(rows: np.ndarray, k: int) -> list[list[int]]:
    """Each row's k best other rows by inner product, ties by number."""
    found = []
    for at, row in enumerate(rows):
        others = [other for other in range(len(rows)) if other != at]
        found.append(sorted(others, key=lambda other: (-float(row @ rows[other]), other))[:k])
    return found


def fnmr_after_discarding(
    scores: np.ndarray, same: np.ndarray, quality: np.ndarray, threshold: float, number: int
) -> float:
    """FNMR without the `number` pairs of lowest quality (no two alike)."""
    worst = sorted(range(len(scores)), key=lambda pair: quality[pair])[:number]
    left = [pair for pair in range(len(scores)) if pair not in worst and same[pair]]
    return sum(scores[pair] <= threshold for pair in left) / len(left)


def gini_coefficient(rates: np.ndarray) -> float:
    count = len(rates)
    differences = sum(abs(a - b) for a in rates for b in rates)
    return count / (count - 1) * differences / (2 * count**2 * (sum(rates) / count))


# Template protocols


def pool_media(
    members: list[tuple[str, str, str]], embedding: Mapping[str, np.ndarray], unit: bool
) -> dict[str, np.ndarray]:
    """(template, medium, image) rows: the mean of each medium's images, then of the media."""

    def length_one(row: np.ndarray) -> np.ndarray:
        return row.astype(float) / np.linalg.norm(row.astype(float)) if unit else row.astype(float)

    pooled = {}
    for template in {row[0] for row in members}:
        media: dict[str, list[np.ndarray]] = {}
        for name, medium, image in members:
            if name == template:
                media.setdefault(medium, []).append(length_one(embedding[image]))
        means = [sum(images) / len(images) for images in media.values()]
        pooled[template] = length_one(sum(means) / len(means))
    return pooled


# Mining.


def apportion(weights: Sequence[float], limits: Sequence[int], total: int) -> list[int]:
    """Largest remainder by fractions; what a full part cannot take is shared out again."""
    shares = [0] * len(weights)
    while sum(shares) < total:
        open_parts = [i for i, w in enumerate(weights) if w > 0 and shares[i] < limits[i]]
        if not open_parts:
            break
        left, whole = total - sum(shares), sum(Fraction(weights[i]) for i in open_parts)
        exact = {i: Fraction(weights[i]) / whole * left for i in open_parts}
        more = {i: int(exact[i]) for i in open_parts}
        by_remainder = sorted(open_parts, key=lambda i: more[i] - exact[i])
        for i in by_remainder[: left - sum(more.values())]:
            more[i] += 1
        for i in open_parts:
            shares[i] = min(shares[i] + more[i], limits[i])
    return shares


def jitter(
    latents: np.ndarray, step: np.ndarray, scale: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    """z' = (z + step * eps) / sqrt(1 + step^2), w' = w + step * eps * scale; the same eps."""
    children = []
    for latent, s in zip(latents, step, strict=True):
        eps = rng.standard_normal(len(latent))
        moved = (
            (latent + s * eps) / np.sqrt(1 + s * s) if scale is None else latent + s * eps * scale
        )
        children.append(moved)
    return np.array(children)


def angle(one: np.ndarray, other: np.ndarray) -> float:
    cosine = one @ other / (np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.arccos(np.clip(cosine, -1.0, 1.0)))


def regions(
    gap: np.ndarray, region: np.ndarray, count: int, shrinkage: float
) -> tuple[list[float], list[float], list[float]]:
    """(mean gaps, shrunken gaps, halves of their 95 % intervals)."""
    overall = sum(gap) / len(gap)
    spread = np.std(gap, ddof=1) if len(gap) > 1 else 0.0
    means, shrunken, halves = [], [], []
    for number in range(count):
        mine = [g for g, r in zip(gap, region, strict=True) if r == number]
        means.append(sum(mine) / len(mine) if mine else overall)
        believed = list(mine) + [overall] * int(shrinkage)  # as if so many faces more had it
        shrunken.append(sum(believed) / len(believed) if believed else overall)
        halves.append(1.96 * spread / np.sqrt(max(len(believed), 1)))
    return means, shrunken, halves


def welch_p_value(ours: np.ndarray, others: np.ndarray) -> float:
    """Chance of a larger t where both means are equal (Welch 1947), by the textbook."""
    parts = [np.var(group, ddof=1) / len(group) for group in (ours, others)]
    t = (np.mean(ours) - np.mean(others)) / np.sqrt(sum(parts))
    degrees = sum(parts) ** 2 / sum(
        part**2 / (len(group) - 1) for part, group in zip(parts, (ours, others), strict=True)
    )
    return float(stats.t.sf(t, degrees))


def discoveries(p_values: Sequence[float], rate: float) -> list[bool]:
    """All hypotheses up to the last one, by p-value, that is at most its share of `rate`."""
    ranked = sorted(p_values)
    passed = [p for k, p in enumerate(ranked, 1) if p <= rate * k / len(ranked)]
    return [bool(passed) and p <= max(passed) for p in p_values]


def far_enough(
    children: np.ndarray, pool: np.ndarray, least: float, scale: np.ndarray
) -> list[bool]:
    """A child against every pool latent and every earlier child."""
    known, kept = [latent / scale for latent in pool], []
    unit = np.sqrt(2 * pool.shape[1])
    for child in children / scale:
        kept.append(all(np.linalg.norm(child - other) / unit >= least for other in known))
        known.append(child)
    return kept


def nearest(base: np.ndarray, query: np.ndarray, count: int) -> list[int]:
    distances = [((row - query) ** 2).sum() for row in base]
    return sorted(range(len(base)), key=lambda row: (distances[row], row))[:count]


def disagreement(left: np.ndarray, right: np.ndarray, count: int) -> list[float]:
    """Share of the neighbours by `left` that are none by `right`, face by face."""
    count, shares = min(count, len(left) - 1), []
    for row in range(len(left)):
        others = [at for at in range(len(left)) if at != row]
        mine, theirs = (
            {others[at] for at in nearest(rows[others], rows[row], count)} for rows in (left, right)
        )
        shares.append(len(mine - theirs) / count)
    return shares
