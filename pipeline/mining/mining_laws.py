"""Laws: how a child's latent follows from a hard parent's. Each is a name in params.yaml.

A law keeps a Gaussian z Gaussian where its parents are; in w and w+ it moves in units of the
pool's standard deviation of each coordinate, since no law is known there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from manifests.settings.params import Mine


@dataclass(frozen=True)
class Parents:
    """One row a child: its parent, and what the laws need to know of it."""

    latents: Float[np.ndarray, "child width"]
    gap: Float[np.ndarray, " child"]  # 1 - cosine of student and teacher, 0..2
    mates: Float[np.ndarray, "child width"]  # another hard face of the parent's region
    normals: Float[np.ndarray, "child width"]  # unit, towards faces unlike the parent
    scale: Float[np.ndarray, " width"]  # the pool's standard deviation by coordinate
    gaussian: bool  # latents are standard normal: the space is z


@dataclass(frozen=True)
class Children:
    latents: Float[np.ndarray, "child width"]
    step: Float[np.ndarray, " child"]


def dynamic(parents: Parents, rng: np.random.Generator, settings: Mine) -> Children:
    """SynthDistill's dynamic sampling (IJCB 2023): w' = w + step * eps, eps standard normal,
    step = c * (cos + 1) / 2. Where student and teacher agree the child lies far, where they
    differ it lies near."""
    step = settings.coefficient * (2.0 - parents.gap) / 2.0
    return Children(_jitter(parents, step, rng), step)


def hard_near(parents: Parents, rng: np.random.Generator, settings: Mine) -> Children:
    """A small step, of the same length for all, about every parent."""
    step = np.full(len(parents.gap), settings.near_step)
    return Children(_jitter(parents, step, rng), step)


def boundary_walk(parents: Parents, rng: np.random.Generator, settings: Mine) -> Children:
    """Along the normal of the parent's own identity boundary (ExFaceGAN), to either side by
    chance; the step is uniform up to `walk_step` and negative towards faces like the parent."""
    step = rng.uniform(0.0, settings.walk_step, len(parents.gap))
    step *= rng.choice([-1.0, 1.0], len(step))
    shift = step[:, None] * parents.normals
    if not parents.gaussian:
        return Children(parents.latents + shift * parents.scale, step)
    norms = np.linalg.norm(parents.latents, axis=1, keepdims=True)
    moved = parents.latents + shift
    return Children(moved * norms / np.linalg.norm(moved, axis=1, keepdims=True), step)


def interpolate(parents: Parents, rng: np.random.Generator, settings: Mine) -> Children:
    """Between two hard faces of one region, a share `step` in 0.25..0.75 of the way: along the
    great circle in z (Shoemake 1985), on the straight line in w."""
    step = rng.uniform(0.25, 0.75, len(parents.gap))
    one, other, share = parents.latents, parents.mates, step[:, None]
    if not parents.gaussian:
        return Children((1.0 - share) * one + share * other, step)
    norms = [np.linalg.norm(rows, axis=1, keepdims=True) for rows in (one, other)]
    cosine = (one * other).sum(axis=1, keepdims=True) / (norms[0] * norms[1])
    # A parent without a mate is its own: an angle of 0, where the weights' limits are the shares.
    angle = np.maximum(np.arccos(np.clip(cosine, -1.0, 1.0)), 1e-6)
    sine = np.maximum(np.sin(angle), 1e-9)
    weights = [np.sin((1.0 - share) * angle) / sine, np.sin(share * angle) / sine]
    direction = weights[0] * one / norms[0] + weights[1] * other / norms[1]
    return Children(direction * ((1.0 - share) * norms[0] + share * norms[1]), step)


Law = Callable[[Parents, np.random.Generator, Mine], Children]
LAWS: dict[str, Law] = {
    "dynamic": dynamic,
    "hard-near": hard_near,
    "boundary-walk": boundary_walk,
    "interpolate": interpolate,
}
PRIOR = "prior"  # the control: independent draws, without parents
AS_PUBLISHED = "dynamic-as-published"  # of every face one child, in whatever region it lies


def dynamic_as_published(
    latents: Float[np.ndarray, "face width"],
    cosine: Float[np.ndarray, " face"],
    coefficient: float,
    rng: np.random.Generator,
) -> Children:
    """SynthDistill's released code: w' = w + c (cos + 1) / 2 · eps, in the latents' own units, with
    nothing that keeps them among the generator's. `cosine`: of student and teacher."""
    step = coefficient * (cosine + 1.0) / 2.0
    return Children(latents + step[:, None] * rng.standard_normal(latents.shape), step)


def _jitter(
    parents: Parents, step: Float[np.ndarray, " child"], rng: np.random.Generator
) -> Float[np.ndarray, "child width"]:
    """z' = (z + step * eps) / sqrt(1 + step^2): still Gaussian where z is; w' = w + step * eps,
    in units of the pool's spread."""
    eps = rng.standard_normal(parents.latents.shape)
    scaled = step[:, None]
    if not parents.gaussian:
        return parents.latents + scaled * eps * parents.scale
    return (parents.latents + scaled * eps) / np.sqrt(1.0 + scaled**2)
