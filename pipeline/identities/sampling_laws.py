"""Laws: how the faces of two identities follow from one reference. Each is a name in params.yaml.

`strength` is a law's own measure: the largest offset (exfacegan-uniform), the offsets' standard
deviation (exfacegan-normal), the longest step (along-normal), the distinctness of an identity's
centre (even). docs/IDENTITIES.md compares them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from manifests.settings.params import Identities
from manifests.stores.latents import DISSIMILAR, SIMILAR

LEAST_WEIGHT = 0.01  # of the largest: below it a direction's weight is mostly noise
LONGEST_STEP, STEPS_TRIED = 4.0, 401  # of a search along the normal, in norms of a latent


@dataclass(frozen=True)
class Geometry:
    """What all references of a round share. Latents are in units of each coordinate's spread."""

    directions: Float[np.ndarray, "width width"]  # columns, those that identity is in first
    weights: Float[np.ndarray, " width"]  # the embedding's response to each; sum 1 in z
    norm: float | None  # that every latent is brought to; None: left as it is
    mean: Float[np.ndarray, " width"]  # of the prior; 0 in z

    def restored(self, latents: Float[np.ndarray, "*rows width"]) -> np.ndarray:
        if self.norm is None:
            return latents
        return latents * (self.norm / np.linalg.norm(latents, axis=-1, keepdims=True))

    def distinctness(self, latents: Float[np.ndarray, "row width"]) -> Float[np.ndarray, " row"]:
        """Length of the teacher's centred embedding of latents, to first order: 1 for an average
        latent of the prior.

        Faces with little of it resemble the mean face, and a small move changes whom they
        resemble: the cosine between children of one latent rises with it (correlation 0.79).
        """
        return self.seen(self.restored(latents) - self.mean)

    def seen(self, shift: Float[np.ndarray, "row width"]) -> Float[np.ndarray, " row"]:
        """Length of what the teacher sees of shifts of latents, in the unit of distinctness."""
        return np.sqrt(((shift @ self.directions) ** 2) @ self.weights)

    def decorrelated(
        self, normal: Float[np.ndarray, " width"], power: float
    ) -> Float[np.ndarray, " width"]:
        """The normal with directions weakened that the normals share, at length 1.

        Normals crowd in the directions that the embedding answers to most (of 100 directions in
        dcgan-digiface's z ten hold 92 % of them), so that identities pushed along them become
        alike. Power 0 leaves the normal, 1 gives the directions equal parts.
        """
        known = self.weights + LEAST_WEIGHT * self.weights.max()
        own = (normal @ self.directions) * known ** (-0.5 * power) @ self.directions.T
        return own / np.linalg.norm(own)


def geometry_of(
    response: Float[np.ndarray, "width embedding"],
    norm: float | None,
    moments: tuple[Float[np.ndarray, " width"], float] | None = None,
) -> Geometry:
    """The directions of identity: those that the teacher's embedding responds to, first the
    strongest (`pipeline.identities.planes.response`).

    `moments`: the prior's mean, and the mean square of the response to what differs from it
    (`pipeline.identities.planes.moments`). None for a standard normal prior, where they are 0
    and the sum of the response's squares.
    """
    directions, singular, _ = np.linalg.svd(response, full_matrices=True)
    squares = np.zeros(len(directions))
    squares[: len(singular)] = singular**2
    mean, square = moments or (np.zeros(len(directions)), squares.sum())
    return Geometry(directions, squares / square, norm, mean)


@dataclass(frozen=True)
class Sides:
    """Latents of a reference's two identities; the same offsets serve both.

    A step is how far a face was moved along the law's normal, before any norm is restored;
    positive is away from the reference, to its own side.
    """

    similar: Float[np.ndarray, "face width"]
    dissimilar: Float[np.ndarray, "face width"]
    similar_step: Float[np.ndarray, " face"]
    dissimilar_step: Float[np.ndarray, " face"]


Law = Callable[
    [
        Float[np.ndarray, " width"],  # reference
        Float[np.ndarray, " width"],  # unit normal, towards the dissimilar side
        Geometry,
        list[np.random.Generator],  # one a face
        Identities,
    ],
    Sides,
]


def exfacegan_uniform(
    reference: np.ndarray, normal: np.ndarray, geometry: Geometry,
    streams: list[np.random.Generator], settings: Identities,
) -> Sides:  # fmt: skip
    """The released code of ExFaceGAN (IJCB 2023): an offset for every coordinate on its own,
    uniform from 0 to `strength`, times the normal's coordinate."""
    offsets = np.stack([rng.uniform(0.0, settings.strength, len(normal)) for rng in streams])
    return _walked(reference, offsets * normal, offsets @ normal**2, geometry)


def exfacegan_normal(
    reference: np.ndarray, normal: np.ndarray, geometry: Geometry,
    streams: list[np.random.Generator], settings: Identities,
) -> Sides:  # fmt: skip
    """As ExFaceGAN's figure writes it: offsets of standard deviation `strength` about 0. The two
    sides are then one distribution, that of a jitter; kept to be compared with."""
    offsets = np.stack([rng.normal(0.0, settings.strength, len(normal)) for rng in streams])
    return _walked(reference, offsets * normal, offsets @ normal**2, geometry)


def along_normal(
    reference: np.ndarray, normal: np.ndarray, geometry: Geometry,
    streams: list[np.random.Generator], settings: Identities,
) -> Sides:  # fmt: skip
    """On the line along the normal, a step uniform from 0 to `strength`."""
    steps = np.array([rng.uniform(0.0, settings.strength) for rng in streams])
    return _walked(reference, steps[:, None] * normal, steps, geometry)


def even(
    reference: np.ndarray, normal: np.ndarray, geometry: Geometry,
    streams: list[np.random.Generator], settings: Identities,
) -> Sides:  # fmt: skip
    """Identities of one distinctness, and jitter that identity is shielded from.

    Both centres lie on the line along the normal, where distinctness first stays above
    `strength`: with equal steps some identities are vague, and their faces unlike each other.
    Where a reference is distinct enough by itself, both go on until they are two people
    (`parted_steps`).
    About its centre a face has a Gaussian jitter of standard deviation `jitter` a coordinate,
    less of it in the directions of identity (`shielding`). The line is along the normal made
    unlike the others' (`Geometry.decorrelated`).
    """
    normal = geometry.decorrelated(normal, settings.decorrelation)
    shrink = shielding(geometry.weights, settings.protection)
    noise = np.stack([rng.standard_normal(len(normal)) for rng in streams])
    jitter = settings.jitter * (noise * shrink) @ geometry.directions.T
    sides, steps = [], []
    walked = parted_steps(reference, normal, geometry, settings.strength)
    for side, step in zip(SIDES, walked, strict=True):
        centre = geometry.restored(reference + side * step * normal)
        sides.append(geometry.restored(centre + jitter))
        steps.append(np.full(len(jitter), step))
    return Sides(sides[0], sides[1], steps[0], steps[1])


def shielding(
    weights: Float[np.ndarray, " width"], protection: float
) -> Float[np.ndarray, " width"]:
    """Factors of a jitter in each direction, of mean square 1: smaller where identity is.

    1 / sqrt(1 + protection * weight / mean weight): 0 leaves the jitter alike in all directions.
    """
    factors = 1.0 / np.sqrt(1.0 + protection * weights / weights.mean())
    return factors / np.sqrt((factors**2).mean())


def even_step(
    reference: Float[np.ndarray, " width"],
    direction: Float[np.ndarray, " width"],
    geometry: Geometry,
    distinctness: float,
) -> float:
    """The least step beyond which latents stay as distinct as wanted; where none do, the step
    of the most distinct one."""
    steps = steps_tried(len(reference))
    found = geometry.distinctness(reference + steps[:, None] * direction)
    vague = np.flatnonzero(found < distinctness)
    if not len(vague):
        return 0.0
    if vague[-1] == len(steps) - 1:
        return float(steps[np.argmax(found)])
    return float(steps[vague[-1] + 1])


def parted_steps(
    reference: Float[np.ndarray, " width"],
    normal: Float[np.ndarray, " width"],
    geometry: Geometry,
    distinctness: float,
) -> tuple[float, float]:
    """Steps to the centres of the similar and the dissimilar side, which are never one: each is
    the least (`even_step`) and the same way further, until the teacher sees the centres further
    from each other than the wanted distinctness, which each has from the mean face: at that
    distinctness a cosine below 0.5. Where they never are, to where they are furthest apart.
    """
    least = [even_step(reference, side * normal, geometry, distinctness) for side in SIDES]
    further = steps_tried(len(reference))
    similar, dissimilar = (
        geometry.restored(reference + (side * (step + further))[:, None] * normal)
        for side, step in zip(SIDES, least, strict=True)
    )
    apart = geometry.seen(dissimilar - similar)
    parted = np.flatnonzero(apart > distinctness)
    more = further[parted[0] if len(parted) else 1 + np.argmax(apart[1:])]
    return float(least[0] + more), float(least[1] + more)


def steps_tried(width: int) -> Float[np.ndarray, " step"]:
    """Of a search along a normal, from 0."""
    return np.linspace(0.0, LONGEST_STEP * np.sqrt(width), STEPS_TRIED)


def _walked(
    reference: np.ndarray, shift: np.ndarray, steps: np.ndarray, geometry: Geometry
) -> Sides:
    similar, dissimilar = (geometry.restored(reference + side * shift) for side in SIDES)
    return Sides(similar, dissimilar, steps, steps)


SIDES = (SIMILAR, DISSIMILAR)
LAWS: dict[str, Law] = {
    "exfacegan-uniform": exfacegan_uniform,
    "exfacegan-normal": exfacegan_normal,
    "along-normal": along_normal,
    "even": even,
}
