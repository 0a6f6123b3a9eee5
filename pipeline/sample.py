"""Stage sample: params -> manifests/rounds/ROUND.parquet and its summary.

python -m pipeline.sample ROUND           a round of the generator's prior
python -m pipeline.sample identities      from the boundaries of the pool
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from manifests import layout
from manifests.boundaries import Boundaries
from manifests.costs import timed
from manifests.digests import canonical_json
from manifests.errors import InputError, Parser, pick, run_command
from manifests.files import write_json
from manifests.latents import DISSIMILAR, SIMILAR, LatentManifest, Recipe, build
from manifests.layout import IDENTITIES, POOL
from manifests.params import Identities, Params, PriorRound, load_params
from pipeline.generators import load_generator


def prior(count: int, width: int, round: str, seed: int) -> Float[np.ndarray, "count width"]:
    """Independent standard normal latents. The round's name is part of the seed: two rounds
    never share a latent, whatever their seeds."""
    rng = np.random.default_rng([seed, *round.encode()])
    return rng.standard_normal((count, width), dtype=np.float32)


def uniform_offsets(rng: np.random.Generator, shape: tuple[int, ...], limit: float) -> np.ndarray:
    """The law of ExFaceGAN's released code: every coordinate of the offset on its own."""
    return rng.uniform(0.0, limit, shape)


def along_normal(rng: np.random.Generator, shape: tuple[int, ...], limit: float) -> np.ndarray:
    """One step length for all coordinates: the latent moves on a line along the normal."""
    return np.broadcast_to(rng.uniform(0.0, limit, (*shape[:-1], 1)), shape)


OFFSETS, ORDER = 1, 2  # what a random stream is for, beside its seed
LAWS = {"exfacegan-uniform": uniform_offsets, "along-normal": along_normal}


def walk(
    reference: Float[np.ndarray, " width"],
    normal: Float[np.ndarray, " width"],
    offsets: Float[np.ndarray, "face width"],
) -> tuple[Float[np.ndarray, "face width"], Float[np.ndarray, "face width"]]:
    """Latents of the similar and of the dissimilar side: reference -/+ offset * normal.

    Element-wise product, then the norm of a Gaussian z (sqrt of the width) is restored
    (ExFaceGAN, sampling in Z). The same offsets serve both sides.
    """
    shift = offsets * normal
    return _restored(reference - shift), _restored(reference + shift)


def _restored(latents: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(latents, axis=1, keepdims=True)
    return latents * (np.sqrt(latents.shape[1]) / norms)


def sample_identities(
    pool_ids: Int[np.ndarray, " face"],
    pool_latents: Float[np.ndarray, "face width"],
    boundaries: Boundaries,
    settings: Identities,
) -> dict[str, np.ndarray]:
    """Columns of the identities round: two identities a kept boundary, `per_side` faces each."""
    law = pick("sampling law", settings.law, LAWS)
    rows = np.searchsorted(pool_ids, boundaries.face_id)
    parts: list[dict[str, np.ndarray]] = []
    for index in np.flatnonzero(boundaries.kept):
        rng = np.random.default_rng((settings.seed, OFFSETS, int(index)))
        shape = (settings.per_side, pool_latents.shape[1])
        offsets = law(rng, shape, settings.max_offset)
        sides = walk(pool_latents[rows[index]], boundaries.normal[index], offsets)
        for side, latents in zip((SIMILAR, DISSIMILAR), sides, strict=True):
            reference = int(boundaries.face_id[index])
            parts.append(_identity(reference, int(index), side, latents, offsets))
    if not parts:
        raise InputError("no boundary was kept; lower boundaries.min_accuracy in params.yaml")
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _identity(
    reference: int, index: int, side: int, latents: np.ndarray, offsets: np.ndarray
) -> dict[str, np.ndarray]:
    count = len(latents)
    return {
        "latents": latents.astype(np.float32),
        "identity_id": np.full(count, 2 * index + (side == DISSIMILAR), np.int64),
        "side": np.full(count, side, np.int8),
        "parent_id": np.full(count, reference, np.int64),
        "step": offsets.mean(axis=1).astype(np.float32),
    }


def shuffled(columns: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Rows in a seeded order, so that neighbouring rows of a store are near to independent."""
    order = np.random.default_rng((seed, ORDER)).permutation(len(columns["latents"]))
    return {name: values[order] for name, values in columns.items()}


def summary(manifest: LatentManifest) -> dict[str, object]:
    """What a reviewer wants to see of a manifest without opening it."""
    norms = np.linalg.norm(manifest.latents.astype(np.float64), axis=1)
    edges = np.linspace(0.0, 2.0 * np.sqrt(manifest.recipe.latent_width), 21)
    return {
        **asdict(manifest.recipe),
        "rows": len(manifest),
        "digest": manifest.digest,
        "origins": _counts(manifest.table["origin"]),
        "laws": _counts(manifest.table["law"]),
        "num_identities": len(manifest.table["identity_id"].drop_null().unique()),
        "num_parents": len(manifest.table["parent_id"].drop_null().unique()),
        "latent_norm_histogram": {
            "edges": np.round(edges, 3).tolist(),
            "counts": np.histogram(norms, edges)[0].tolist(),
        },
    }


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    pairs = column.drop_null().value_counts().to_pylist()
    return {pair["values"]: pair["counts"] for pair in pairs}


def save(manifest: LatentManifest) -> None:
    """Writes a round's manifest and its summary."""
    manifest.write(layout.manifest(manifest.recipe.round))
    write_json(layout.manifest_summary(manifest.recipe.round), summary(manifest))


def recipe_for(round: str, params: Params) -> Recipe:
    generator = load_generator(params.generator, layout.WEIGHTS)
    return Recipe(
        round,
        generator.name,
        generator.weights_sha256,
        generator.latent_width,
        generator.latent_space,
    )


def sample_prior(round: str, settings: PriorRound, params: Params) -> LatentManifest:
    recipe = recipe_for(round, params)
    latents = prior(settings.count, recipe.latent_width, round, settings.seed)
    return build(recipe, latents, origin="prior", key=canonical_json(asdict(settings)))


def sample_from_boundaries(params: Params) -> LatentManifest:
    boundaries = Boundaries.read(layout.boundaries(POOL))
    pool = LatentManifest.read(layout.manifest(POOL), expect=boundaries.manifest_digest)
    settings = params.identities
    columns = sample_identities(pool.face_id, pool.latents, boundaries, settings)
    columns = shuffled(columns, settings.seed)
    key = canonical_json({**asdict(settings), "boundaries": boundaries.digest})
    recipe = recipe_for(IDENTITIES, params)
    return build(
        recipe, columns.pop("latents"), origin="boundary", law=settings.law, key=key, **columns
    )


def main() -> None:
    parser = Parser(description="Sample the latents of a round.")
    parser.add_argument("round", help=f"a key of `sample` in params.yaml, or {IDENTITIES}")
    args = parser.parse_args()
    with timed(f"sample@{args.round}"):
        params = load_params()
        if args.round == IDENTITIES:
            save(sample_from_boundaries(params))
        else:
            save(sample_prior(args.round, pick("round", args.round, params.sample), params))


if __name__ == "__main__":
    run_command(main)
