"""How far every set of faces lies from every other, both ways.

Neto et al. (FG 2024) hold two real training sets and two synthetic ones against each other: how
far two real sets differ is the base line that a synthetic one is read against. All sets are drawn
down to as many faces, so that every place of the matrix is of histograms that are equally rough;
the diagonal is of two such draws of one set, which is what no difference looks like. Each draw of
a set serves its whole row and column, so that differences between places are paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float

from eval.attributes.divergence import QUANTILES, kl_divergence, smoothed
from eval.studies.attribute_drift.explanation import NEITHER, REAL, SYNTHETIC, Coded
from manifests.studies.attribute_drift import Kind

NUM_DRAWS = 300
MOST_FACES = 10_000  # of a draw: more make a histogram hardly finer
BLOCKS: tuple[tuple[Kind, Kind], ...] = (
    ("real", "real"), ("synthetic", "real"), ("real", "synthetic"), ("synthetic", "synthetic"),
)  # fmt: skip
Weights = Float[np.ndarray, "row column attribute"] | None
Shares = Sequence[Float[np.ndarray, "draw _"]]  # attribute by attribute


@dataclass(frozen=True)
class Drawn:
    """Divergences D(row || column) of draws, attribute by attribute, in nats."""

    plain: Float[np.ndarray, "row column draw attribute"]  # without replacement; its mean counts
    again: Float[np.ndarray, "row column draw attribute"]  # over people, for intervals
    num_faces: int

    @classmethod
    def of(cls, sets: Sequence[Coded], rng: np.random.Generator, num: int) -> Drawn:
        """Of at least two sets with the same bins."""
        if len({own.num_bins for own in sets}) > 1:
            raise ValueError("histograms of unlike bins")
        num_faces = min(MOST_FACES, *(len(own.person) for own in sets))
        plain, again, other = (
            [[*map(smoothed, own.draws(num_faces, num, rng, again=redrawn))] for own in sets]
            for redrawn in (False, True, True)
        )
        redrawn = _all_ways(again, again)
        for at, (one, two) in enumerate(zip(again, other, strict=True)):
            redrawn[at, at] = _divergences(one, two)
        once = _all_ways(plain, plain)
        once[range(len(sets)), range(len(sets))] = redrawn[range(len(sets)), range(len(sets))]
        return cls(once, redrawn, num_faces)

    def told(self, weights: Float[np.ndarray, "row column attribute"]) -> dict[str, Any]:
        """A weighted sum of divergences: a percentile interval, moved by what drawing again adds
        on average, as in `explanation`."""
        axes = ((0, 1, 3), (0, 1, 2))
        value = float(np.tensordot(self.plain, weights, axes).mean())
        drawn = np.tensordot(self.again, weights, axes)
        low, high = map(float, np.quantile(drawn, QUANTILES) + (value - drawn.mean()))
        return {"value": value, "ci95": [low, high]}


def _all_ways(
    rows: Sequence[Shares], columns: Sequence[Shares]
) -> Float[np.ndarray, "row column draw attribute"]:
    return np.array([[_divergences(one, other) for other in columns] for one in rows])


def _divergences(one: Shares, other: Shares) -> Float[np.ndarray, "draw attribute"]:
    return np.stack([kl_divergence(p, q) for p, q in zip(one, other, strict=True)], axis=1)


def matrix(
    sets: Sequence[Coded], kinds: Sequence[Kind], names: Sequence[str], rng: np.random.Generator
) -> dict[str, Any]:
    """Sums over all attributes and each one's divergence, place by place; means over the places
    of each two kinds, by how much they are above those of two real sets, and which kind explains
    the other. `names`: of the attributes."""
    drawn = Drawn.of(sets, rng, NUM_DRAWS)
    every, count = np.ones(len(names)), len(sets)
    places = list(product(range(count), range(count)))
    return {
        "num_faces": drawn.num_faces,
        "draws": NUM_DRAWS,
        "all": _table(drawn, every),
        "attributes": {
            name: {"kl": _table(drawn, own), "blocks": _blocks(drawn, places, kinds, own)}
            for name, own in zip(names, np.eye(len(names)), strict=True)
        },
        "blocks": _blocks(drawn, places, kinds, every),
    }


def _table(drawn: Drawn, attributes: Float[np.ndarray, " attribute"]) -> list[list[dict[str, Any]]]:
    count = len(drawn.plain)
    one = np.eye(count * count).reshape(count, count, count, count)
    return [
        [drawn.told(one[row, column][..., None] * attributes) for column in range(count)]
        for row in range(count)
    ]


def _blocks(
    drawn: Drawn,
    places: Sequence[tuple[int, int]],
    kinds: Sequence[Kind],
    attributes: Float[np.ndarray, " attribute"],
) -> dict[str, Any]:
    """By "P || Q" of two kinds; None where there are no such two sets."""
    means = {
        block: _mean([at for at in places if at[0] != at[1] and _kinds(at, kinds) == block], kinds)
        for block in BLOCKS
    }
    weights = {
        block: None if mean is None else mean[..., None] * attributes
        for block, mean in means.items()
    }
    found = {" || ".join(block): _block(drawn, own, weights[BLOCKS[0]])
             for block, own in weights.items()}  # fmt: skip
    return found | {"difference": _difference(drawn, weights[BLOCKS[1]], weights[BLOCKS[2]])}


def _block(drawn: Drawn, own: Weights, base: Weights) -> dict[str, Any] | None:
    if own is None:
        return None
    above = None if base is None or own is base else drawn.told(own - base)
    return drawn.told(own) | {"above_real": above}


def _difference(drawn: Drawn, by_real: Weights, by_synthetic: Weights) -> dict[str, Any] | None:
    """How much worse synthetic sets explain real ones than real ones explain them."""
    if by_real is None or by_synthetic is None:
        return None
    apart = drawn.told(by_synthetic - by_real)
    low, high = apart["ci95"]
    return apart | {"verdict": REAL if low > 0 else SYNTHETIC if high < 0 else NEITHER}


def _kinds(at: tuple[int, int], kinds: Sequence[Kind]) -> tuple[Kind, Kind]:
    return kinds[at[0]], kinds[at[1]]


def _mean(places: Sequence[tuple[int, int]], kinds: Sequence[Kind]) -> np.ndarray | None:
    if not places:
        return None
    weights = np.zeros((len(kinds), len(kinds)))
    for place in places:
        weights[place] = 1 / len(places)
    return weights
