"""From boundaries to the rows of an identities round: latents, and where each comes from."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from threadpoolctl import threadpool_limits

from manifests.core.errors import InputError
from manifests.records.boundaries import Boundaries
from manifests.settings.params import Identities
from manifests.stores.latents import DISSIMILAR, SIMILAR
from pipeline.identities.planes import moments, response
from pipeline.identities.sampling_laws import LAWS, Geometry, geometry_of

OFFSETS, ORDER = 1, 2  # what a random stream is for, beside its seed


def geometry_of_pool(
    latents: Float[np.ndarray, "face width"],
    usable: Int[np.ndarray, " usable"],
    embeddings: Float[np.ndarray, "face embedding"],
    boundaries: Boundaries,
    penalty: float,
    restore_norm: bool,
) -> Geometry:
    """How the teacher's centred embeddings of the pool's usable faces move with the latents, in
    the boundaries' coordinates. `penalty`: of the ridge regression."""
    with threadpool_limits(1, user_api="blas"):  # as boundaries are drawn
        moved = response(latents, usable, boundaries.scale, embeddings, penalty)
        if boundaries.space == "z":
            return geometry_of(moved, float(np.sqrt(latents.shape[1])) if restore_norm else None)
        return geometry_of(moved, None, moments(latents, usable, boundaries.scale, moved))


def sample_identities(
    pool_ids: Int[np.ndarray, " face"],
    pool_latents: Float[np.ndarray, "face width"],
    boundaries: Boundaries,
    geometry: Geometry,
    settings: Identities,
) -> dict[str, np.ndarray]:
    """Columns of the identities round: two identities a kept boundary, `per_side` faces each.

    `geometry`: of the pool (`geometry_of_pool`). A face's offsets follow from its own `seed`
    alone; both sides of a reference use the same.
    Raises InputError where no boundary was kept, and for a reference that the pool lacks.
    """
    rows = _rows_of(pool_ids, boundaries)
    if not boundaries.kept.any():
        raise InputError("no boundary was kept; lower boundaries.min_accuracy in params.yaml")
    parts: list[dict[str, np.ndarray]] = []
    for index in np.flatnonzero(boundaries.kept).tolist():
        reference = pool_latents[rows[index]].astype(np.float64) / boundaries.scale
        parts += _two_identities(reference, boundaries, index, geometry, settings)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _two_identities(
    reference: Float[np.ndarray, " width"],
    boundaries: Boundaries,
    index: int,
    geometry: Geometry,
    settings: Identities,
) -> list[dict[str, np.ndarray]]:
    """Columns of the similar and the dissimilar side of the boundary at `index`."""
    seeds = offset_seeds(settings.seed, index, settings.per_side)
    normal = boundaries.normal[index].astype(np.float64)
    streams = [np.random.default_rng(seed) for seed in seeds]
    sides = LAWS[settings.law](reference, normal, geometry, streams, settings)
    face_id, found = int(boundaries.face_id[index]), []
    for side, latents, step in (
        (SIMILAR, sides.similar, sides.similar_step),
        (DISSIMILAR, sides.dissimilar, sides.dissimilar_step),
    ):
        columns = _identity(face_id, 2 * index + (side == DISSIMILAR), side, step, seeds)
        found.append(columns | {"latents": (latents * boundaries.scale).astype(np.float32)})
    return found


def offset_seeds(seed: int, index: int, count: int) -> Int[np.ndarray, " face"]:
    """A seed for each face of the reference at `index`, of 63 bits."""
    sequence = np.random.SeedSequence((seed, OFFSETS, index))
    return (sequence.generate_state(count, np.uint64) >> np.uint64(1)).astype(np.int64)


def _rows_of(pool_ids: np.ndarray, boundaries: Boundaries) -> np.ndarray:
    rows = np.minimum(np.searchsorted(pool_ids, boundaries.face_id), max(len(pool_ids) - 1, 0))
    strangers = pool_ids[rows] != boundaries.face_id
    if strangers.any():
        raise InputError(
            f"boundary {int(np.argmax(strangers))}: reference "
            f"{boundaries.face_id[np.argmax(strangers)]} is no face of the pool; "
            "run the boundaries stage again"
        )
    return rows


def _identity(
    reference: int, identity: int, side: int, step: np.ndarray, seeds: np.ndarray
) -> dict[str, np.ndarray]:
    count = len(step)
    return {
        "identity_id": np.full(count, identity, np.int64),
        "side": np.full(count, side, np.int8),
        "parent_id": np.full(count, reference, np.int64),
        "step": step.astype(np.float32),
        "seed": seeds,
    }


def shuffled(columns: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Rows in a seeded order, so that neighbouring rows of a store are near to independent."""
    order = np.random.default_rng((seed, ORDER)).permutation(len(columns["latents"]))
    return {name: values[order] for name, values in columns.items()}
