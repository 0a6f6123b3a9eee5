"""Sample a round's latents into manifests/rounds/ROUND.parquet.

    facestill sample ROUND           a round of the generator's prior
    facestill sample identities      from the boundaries of the pool
    facestill sample NAME --preset exfacegan --boundaries FILE
                                     from others, by a preset's parameters, for a study

Beside it lies ROUND.summary.json. How many, by which law and seed: sample and identities in
params.yaml.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float

from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.digests import canonical_json
from manifests.core.errors import InputError, Parser, conclude, pick, run_command
from manifests.core.files import write_json
from manifests.core.layout import IDENTITIES, POOL
from manifests.core.locks import writing
from manifests.records.boundaries import Boundaries
from manifests.settings.params import Params, PriorRound
from manifests.settings.presets import params_by
from manifests.stores.latents import LatentManifest, Recipe, build
from manifests.stores.rounds import open_round
from pipeline.arrays.numerics import in_fixed_batches
from pipeline.generators import load_generator
from pipeline.generators.base import Generator
from pipeline.identities.labels import usable_rows
from pipeline.identities.sampling import (
    geometry_of_pool,
    sample_identities,
    shuffled,
)

ATTRIBUTES = 3  # what a random stream is for, beside its seed


def prior(count: int, width: int, round: str, seed: int) -> Float[np.ndarray, "count width"]:
    """Independent standard normal latents. The round's name is part of the seed: two rounds
    never share a latent, whatever their seeds."""
    rng = np.random.default_rng([seed, *round.encode()])
    return rng.standard_normal((count, width), dtype=np.float32)


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


def save(manifest: LatentManifest, *, force: bool = False) -> None:
    """Writes a round's manifest and its summary."""
    name = manifest.recipe.round
    with writing(layout.manifest(name)):
        check_replaced(manifest, force=force)
        manifest.write(layout.manifest(name))
        write_json(layout.manifest_summary(name), summary(manifest))


def check_replaced(manifest: LatentManifest, *, force: bool) -> None:
    """Raises InputError where another manifest lies under the round's name, of which stores may
    be there, unless `force` says that it may be lost."""
    path = layout.manifest(manifest.recipe.round)
    if not force and path.exists() and LatentManifest.read(path).digest != manifest.digest:
        raise InputError(
            f"{path}: holds other faces than params.yaml asks for now; run the stage through "
            "`dvc repro`, name another round, or replace it with --force"
        )


def open_generator(params: Params) -> Generator:
    """The generator of this checkout, for latents of the space that it works in."""
    generator = load_generator(params.generator, layout.WEIGHTS)
    return generator.in_space(params.latent_space, params.psi)


def recipe_for(round: str, params: Params, generator: Generator | None = None) -> Recipe:
    generator = generator or open_generator(params)
    return Recipe(
        round,
        generator.name,
        generator.weights_sha256,
        generator.latent_width,
        generator.latent_space,
        params.psi,
    )


def mapped(generator: Generator, z: Float[np.ndarray, "face z"]) -> Float[np.ndarray, "face width"]:
    """Draws of the prior as latents of the generator's space."""
    return in_fixed_batches(generator.map, torch.from_numpy(z)).cpu().numpy()


def prior_of(generator: Generator) -> Callable[[np.random.Generator, int], np.ndarray]:
    """Draws that many latents of the generator's prior, in its space."""

    def draw(rng: np.random.Generator, count: int) -> np.ndarray:
        z = rng.standard_normal((count, generator.prior_width))
        return mapped(generator, z.astype(np.float32))

    return draw


def with_drawn_attributes(
    generator: Generator, latents: Float[np.ndarray, "face width"], seed: int
) -> Float[np.ndarray, "face width"]:
    """Each row with attributes of its own, where the generator keeps them apart from identity.
    The latent is what is stored and rendered: it holds what was drawn."""
    rng = np.random.default_rng((seed, ATTRIBUTES))
    z = rng.standard_normal((len(latents), generator.prior_width), dtype=np.float32)
    both = torch.from_numpy(np.concatenate([latents, z], axis=1))
    width = latents.shape[1]

    def draw(rows: torch.Tensor) -> torch.Tensor:
        return generator.with_attributes(rows[:, :width], rows[:, width:])

    return in_fixed_batches(draw, both).cpu().numpy()


def sample_prior(round: str, settings: PriorRound, params: Params) -> LatentManifest:
    generator = open_generator(params)
    recipe = recipe_for(round, params, generator)
    latents = mapped(generator, prior(settings.count, generator.prior_width, round, settings.seed))
    return build(recipe, latents, origin="prior", key=canonical_json(asdict(settings)))


def require_recipe(pool: Recipe, own: Recipe) -> None:
    """Raises InputError where the pool's latents are not of the generator, weights, space and
    truncation of this checkout: what is made of them would bear a false name."""
    have, wanted = asdict(pool), asdict(own)
    for name in have:
        if name != "round" and have[name] != wanted[name]:
            raise InputError(
                f"{layout.manifest(POOL)}: {name} {have[name]}, but params.yaml and the weights "
                f"at hand say {wanted[name]}; change them back, or run the stages from sample@pool"
            )


def require_links(boundaries: Boundaries, pool: LatentManifest, teacher_root: str) -> None:
    """Raises InputError for boundaries that were not drawn from this pool and its embeddings."""
    for name, have, drawn in (
        ("manifest", pool.digest, boundaries.manifest_digest),
        ("teacher store", teacher_root, boundaries.teacher_root),
    ):
        if have != drawn:
            raise InputError(
                f"{layout.boundaries(POOL)}: drawn from {name} {drawn[:12]}, at hand is "
                f"{have[:12]}; run the boundaries stage again"
            )


def sample_from_boundaries(
    params: Params, name: str = IDENTITIES, path: Path | None = None
) -> LatentManifest:
    """Round `name`, from the boundaries at `path`, by default the pool's."""
    settings = params.identities
    boundaries = Boundaries.read(path or layout.boundaries(POOL))
    files = open_round(POOL, params.teacher)
    pool, generator = files.require_manifest(), open_generator(params)
    recipe = recipe_for(name, params, generator)
    require_recipe(pool.recipe, recipe)
    require_links(boundaries, pool, files.teacher.root)
    latents = pool.latents
    usable = usable_rows(files.faces.ok(), latents)
    centred = files.teacher.embeddings()[:, 0].astype(np.float32) - files.teacher.centre()
    penalty, restore = params.boundaries.penalty, settings.restore_norm
    geometry = geometry_of_pool(latents, usable, centred, boundaries, penalty, restore)
    columns = sample_identities(pool.face_id, latents, boundaries, geometry, settings)
    columns = shuffled(columns, settings.seed)
    key = canonical_json({**asdict(settings), "boundaries": boundaries.digest})
    latents = with_drawn_attributes(generator, columns.pop("latents"), settings.seed)
    return build(recipe, latents, origin="boundary", law=settings.law, key=key, **columns)


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument(
        "round", type=layout.round_name, help=f"a key of `sample` in params.yaml, or {IDENTITIES}"
    )
    parser.add_argument("--boundaries", type=Path, metavar="FILE", help="of `facestill boundaries`")
    parser.add_argument("--preset", help="of params/, merged into the parameters for this once")
    parser.add_force()
    args = parser.parse_args()
    with timed(f"sample@{args.round}"):
        params = params_by(args.preset)
        if args.round == IDENTITIES or args.boundaries:
            manifest = sample_from_boundaries(params, args.round, args.boundaries)
        else:
            manifest = sample_prior(args.round, pick("round", args.round, params.sample), params)
        save(manifest, force=args.force)
    people = manifest.table["identity_id"].drop_null().unique()
    of = f"{len(people):,} identities" if len(people) else "the prior"
    found = f"{len(manifest):,} latents of {of}, digest {manifest.digest[:12]}"
    conclude(layout.manifest(args.round), found, f"facestill render {args.round}")


if __name__ == "__main__":
    run_command(main)
