"""Find identity boundaries in latent space into data/pool/boundaries.parquet.

    facestill boundaries
    facestill boundaries --preset exfacegan --out FILE    by a preset's parameters, for a study

For each reference face a hyperplane in latent space parts the neighbours that look more like
it than the median from the others (ExFaceGAN, IJCB 2023). All references share one design
matrix, so that one factorisation solves them all (solver `ridge`); `linear_svc` is the
published form, one support vector machine a reference. A boundary that becomes no identities
keeps its row, with the reason.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from threadpoolctl import threadpool_limits

from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.core.files import require_new
from manifests.core.layout import POOL
from manifests.records.boundaries import Boundaries
from manifests.settings.params import BoundaryParams, Params
from manifests.settings.presets import params_by
from manifests.stores.rounds import open_round
from pipeline.arrays.neighbours import unit_rows
from pipeline.identities.labels import Split, label_blocks, usable_rows
from pipeline.identities.planes import SOLVERS, between_ends, held_out_accuracy, scale_of
from pipeline.screen import near_duplicates

RELEASED = "released"  # units
ONE_SIDED = "no neighbours on one side"


def split_rows(usable: Int[np.ndarray, " face"], settings: BoundaryParams) -> Split:
    """References and neighbours drawn apart, so that no face is its own neighbour."""
    wanted = settings.references + settings.neighbours
    if len(usable) < wanted:
        raise InputError(
            f"boundaries: {wanted} usable pool faces wanted ({settings.references} references + "
            f"{settings.neighbours} neighbours), the pool has {len(usable)}; enlarge sample.pool, "
            "or where most faces were not found, mend that first (docs/GENERATORS.md)"
        )
    drawn = np.random.default_rng(settings.seed).permutation(usable)[:wanted]
    neighbours = drawn[settings.references :]
    cut = round(len(neighbours) * settings.held_out)
    if not 0 < cut < len(neighbours):
        raise InputError(f"boundaries.held_out is {settings.held_out}; expected between 0 and 1")
    return Split(drawn[: settings.references], neighbours[cut:], neighbours[:cut])


def draw_boundaries(
    latents: Float[np.ndarray, "face width"],
    embeddings: Float[np.ndarray, "face embedding"],
    split: Split,
    settings: BoundaryParams,
    space: str = "z",
) -> tuple[
    Float[np.ndarray, "reference width"],
    Float[np.ndarray, " reference"],
    Float[np.ndarray, " width"],
]:
    """Unit normals towards the dissimilar side in the coordinates latents / scale, their
    held-out accuracy, and the scale (by units `released` 1, whatever they were fitted in).
    `embeddings` are unit vectors, centred.

    A normal is zero, and its accuracy 0, where all neighbours are on one side.
    """
    # Two threads add in another order than one: how many cores there are would show in a face.
    with threadpool_limits(1, user_api="blas"):
        if settings.units == RELEASED:
            latents, scale = between_ends(latents, np.concatenate([split.fit, split.held_out]))
        else:
            scale = scale_of(latents, split.fit, space)
        solve = SOLVERS[settings.solver](latents, split.fit, scale, settings)
        normals = np.zeros((len(split.references), latents.shape[1]), np.float32)
        accuracy = np.zeros(len(normals))
        for block, labels, judged in label_blocks(embeddings, split, settings.threshold):
            planes = solve(labels)
            two_sided = np.abs(labels.mean(axis=0)) < 1.0
            normals[block][two_sided] = unit_rows(planes.weights[two_sided])
            found = held_out_accuracy(planes, latents, split.held_out, scale, judged)
            accuracy[block] = np.where(two_sided, found, 0.0)
    return normals, accuracy, np.ones_like(scale) if settings.units == RELEASED else scale


def refusals(
    normals: Float[np.ndarray, "reference width"],
    accuracy: Float[np.ndarray, " reference"],
    references: Float[np.ndarray, "reference embedding"],
    settings: BoundaryParams,
) -> tuple[str, ...]:
    """Why each boundary becomes no identities; empty where it does.

    References of good boundaries that look like an earlier one (`most_alike`) go, too: their
    identities would be the earlier one's under another number.
    """
    reasons = np.full(len(accuracy), "", object)
    reasons[accuracy < settings.min_accuracy] = f"accuracy below {settings.min_accuracy:g}"
    reasons[~normals.any(axis=1)] = ONE_SIDED
    good = np.flatnonzero(reasons == "")
    if settings.most_alike < 1:
        for row, of, cosine in near_duplicates(
            references[:0], references[good], settings.most_alike
        ):
            reasons[good[row]] = f"looks like reference {good[of]} (cosine {cosine:.3f})"
    return tuple(reasons.tolist())


def boundaries_of_pool(params: Params) -> Boundaries:
    settings = params.boundaries
    files = open_round(POOL, params.teacher)
    pool, teacher = files.require_manifest(), files.teacher
    latents = pool.latents
    split = split_rows(usable_rows(files.faces.ok(), latents), settings)
    embeddings = unit_rows(teacher.embeddings()[:, 0].astype(np.float32) - teacher.centre())
    space = pool.recipe.latent_space
    normals, accuracy, scale = draw_boundaries(latents, embeddings, split, settings, space)
    return Boundaries(
        face_id=pool.face_id[split.references],
        normal=normals,
        accuracy=accuracy.astype(np.float32),
        reason=refusals(normals, accuracy, embeddings[split.references], settings),
        space=space,
        solver=settings.solver,
        manifest_digest=pool.digest,
        teacher_root=teacher.root,
        scale=scale,
    )


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--preset", help="of params/, merged into the parameters for this once")
    parser.add_argument("--out", type=Path, default=layout.boundaries(POOL))
    parser.add_force()
    args = parser.parse_args()
    if args.out != layout.boundaries(POOL):  # which the stage makes anew
        require_new(args.out, force=args.force)
    with timed("boundaries"):
        boundaries = boundaries_of_pool(params_by(args.preset))
        boundaries.write(args.out)
    kept, mean = int(boundaries.kept.sum()), float(boundaries.accuracy.mean())
    found = f"{kept} of {len(boundaries.kept)} boundaries kept, held-out accuracy {mean:.3f}"
    conclude(args.out, found, "facestill sample identities")


if __name__ == "__main__":
    run_command(main)
