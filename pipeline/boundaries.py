"""Stage boundaries: pool latents and embeddings -> data/pool/boundaries.parquet.

    python -m pipeline.boundaries

For each reference face a hyperplane in latent space parts the neighbours that look more like
it than the median from the others (ExFaceGAN, IJCB 2023). All references share one design
matrix, so that one factorisation solves them all (solver `ridge`); `linear_svc` is the
published form, one support vector machine a reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from sklearn.svm import LinearSVC
from tqdm import tqdm

from manifests import layout
from manifests.boundaries import Boundaries
from manifests.costs import timed
from manifests.errors import InputError, pick, run_command
from manifests.latents import DISSIMILAR, SIMILAR
from manifests.layout import POOL
from manifests.params import BoundaryParams, Params, load_params
from manifests.rounds import open_round


@dataclass(frozen=True)
class Split:
    """Rows of the pool: references, and the neighbours that fit and that judge the planes."""

    references: Int[np.ndarray, " reference"]
    fit: Int[np.ndarray, " fit"]
    held_out: Int[np.ndarray, " held"]


def split_rows(usable: Int[np.ndarray, " face"], settings: BoundaryParams) -> Split:
    """References and neighbours drawn apart, so that no face is its own neighbour."""
    wanted = settings.references + settings.neighbours
    if len(usable) < wanted:
        raise InputError(
            f"boundaries: {wanted} usable pool faces wanted ({settings.references} references + "
            f"{settings.neighbours} neighbours), the pool has {len(usable)}; enlarge sample.pool"
        )
    drawn = np.random.default_rng(settings.seed).permutation(usable)[:wanted]
    neighbours = drawn[settings.references :]
    cut = round(len(neighbours) * settings.held_out)
    if not 0 < cut < len(neighbours):
        raise InputError(f"boundaries.held_out is {settings.held_out}; expected between 0 and 1")
    return Split(drawn[: settings.references], neighbours[cut:], neighbours[:cut])


def median_labels(
    references: Float[np.ndarray, "reference width"],
    neighbours: Float[np.ndarray, "neighbour width"],
) -> Float[np.ndarray, "neighbour reference"]:
    """-1 where a neighbour's cosine to the reference is at least the median, else +1.

    Embeddings must be centred: raw dlib embeddings of two strangers have a cosine of 0.9.
    """
    cosine = _unit(neighbours) @ _unit(references).T
    similar = cosine >= np.median(cosine, axis=0)
    return np.where(similar, float(SIMILAR), float(DISSIMILAR))


def ridge(
    latents: Float[np.ndarray, "neighbour width"],
    labels: Float[np.ndarray, "neighbour reference"],
    settings: BoundaryParams,
) -> tuple[Float[np.ndarray, "reference width"], Float[np.ndarray, " reference"]]:
    """Least-squares planes of all references from one factorisation: (weights, offsets)."""
    x = latents.astype(np.float64)
    mean = x.mean(axis=0)
    gram = (x - mean).T @ (x - mean)
    gram += settings.penalty * np.trace(gram) / len(gram) * np.eye(len(gram))
    weights = np.linalg.solve(gram, (x - mean).T @ (labels - labels.mean(axis=0))).T
    return weights, labels.mean(axis=0) - weights @ mean


def linear_svc(
    latents: Float[np.ndarray, "neighbour width"],
    labels: Float[np.ndarray, "neighbour reference"],
    settings: BoundaryParams,
) -> tuple[Float[np.ndarray, "reference width"], Float[np.ndarray, " reference"]]:
    """The published solver (squared hinge, C = 1), fitted in the latents' own coordinates."""
    planes = []
    for column in tqdm(labels.T, desc="linear_svc", unit="boundary"):
        svc = LinearSVC(dual=False, random_state=settings.seed).fit(latents, column)
        planes.append((svc.coef_[0], svc.intercept_[0]))
    weights, offsets = zip(*planes, strict=True)
    return np.stack(weights), np.array(offsets)


SOLVERS = {"ridge": ridge, "linear_svc": linear_svc}


def held_out_accuracy(
    weights: Float[np.ndarray, "reference width"],
    offsets: Float[np.ndarray, " reference"],
    latents: Float[np.ndarray, "held width"],
    labels: Float[np.ndarray, "held reference"],
) -> Float[np.ndarray, " reference"]:
    """Share of held-out neighbours on the right side of each plane."""
    predicted = np.where(latents @ weights.T + offsets > 0, DISSIMILAR, SIMILAR)
    return (predicted == labels).mean(axis=0)


def draw_boundaries(
    latents: Float[np.ndarray, "face width"],
    embeddings: Float[np.ndarray, "face embedding"],
    split: Split,
    settings: BoundaryParams,
) -> tuple[Float[np.ndarray, "reference width"], Float[np.ndarray, " reference"]]:
    """Unit normals towards the dissimilar side, and their held-out accuracy."""
    solver = pick("solver", settings.solver, SOLVERS)
    references = embeddings[split.references]
    weights, offsets = solver(
        latents[split.fit], median_labels(references, embeddings[split.fit]), settings
    )
    judged = median_labels(references, embeddings[split.held_out])
    accuracy = held_out_accuracy(weights, offsets, latents[split.held_out], judged)
    return _unit(weights), accuracy


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def boundaries_of_pool(params: Params) -> Boundaries:
    settings = params.boundaries
    files = open_round(POOL, params.teacher)
    pool, teacher = files.require_manifest(), files.teacher
    centred = teacher.embeddings()[:, 0].astype(np.float32) - teacher.centre()
    split = split_rows(np.flatnonzero(files.faces.ok()), settings)
    normals, accuracy = draw_boundaries(pool.latents, centred, split, settings)
    floor = settings.min_accuracy
    reasons = tuple("" if a >= floor else f"accuracy below {floor:g}" for a in accuracy)
    return Boundaries(
        pool.face_id[split.references],
        normals.astype(np.float32),
        accuracy.astype(np.float32),
        reasons,
        pool.recipe.latent_space,
        settings.solver,
        pool.digest,
        teacher.root,
    )


def main() -> None:
    with timed("boundaries"):
        boundaries = boundaries_of_pool(load_params())
        boundaries.write(layout.boundaries(POOL))
    kept, mean = int(boundaries.kept.sum()), float(boundaries.accuracy.mean())
    print(f"{kept} of {len(boundaries.kept)} boundaries kept, held-out accuracy {mean:.3f}")


if __name__ == "__main__":
    run_command(main)
