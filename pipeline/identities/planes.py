"""Solvers: planes in latent space that part labelled neighbours. Each is a name in params.yaml.

A solver is prepared once for the latents that all references share, and then called with the
labels of as many references at a time as fit into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import DTypeLike
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from manifests.core.errors import InputError
from manifests.core.progress import Bar
from manifests.settings.params import BoundaryParams
from manifests.stores.latents import DISSIMILAR, SIMILAR
from pipeline.identities.labels import BLOCK_ROWS


@dataclass(frozen=True)
class Planes:
    """weights @ x + offset is positive on the dissimilar side; x = latent / scale."""

    weights: Float[np.ndarray, "reference width"]
    offsets: Float[np.ndarray, " reference"]


Solve = Callable[[Float[np.ndarray, "fit reference"]], Planes]


def scale_of(
    latents: Float[np.ndarray, "face width"], rows: Int[np.ndarray, " fit"], space: str
) -> Float[np.ndarray, " width"]:
    """The units of the coordinates: 1 in z, which is standard normal; in w and w+ each
    coordinate's standard deviation (1 where a coordinate never moves)."""
    if space == "z":
        return np.ones(latents.shape[1])
    total, squares = np.zeros(latents.shape[1]), np.zeros(latents.shape[1])
    for _, x in _blocks(latents, rows, np.ones(latents.shape[1])):
        total += x.sum(axis=0)
    for _, x in _blocks(latents, rows, np.ones(latents.shape[1])):
        squares += ((x - total / len(rows)) ** 2).sum(axis=0)
    spread = np.sqrt(squares / len(rows))
    return np.where(spread > 0, spread, 1.0)


def between_ends(
    latents: Float[np.ndarray, "face width"], rows: Int[np.ndarray, " neighbour"]
) -> tuple[Float[np.ndarray, "face width"], Float[np.ndarray, " width"]]:
    """The latents about the middle of each coordinate's range over the neighbours, and half of
    that range (1 where a coordinate never moves): divided by it, they lie between -1 and 1, as the
    released code of ExFaceGAN has them when it fits."""
    low, high = latents[rows].min(axis=0), latents[rows].max(axis=0)
    half = (high - low).astype(np.float64) / 2
    return latents - (low + high) / 2, np.where(half > 0, half, 1.0)


@dataclass(frozen=True)
class Design:
    """Rows of one latent matrix, centred, with the factor of their ridge normal equations. The
    latents are read block by block, and never copied as a whole."""

    latents: Float[np.ndarray, "face width"]
    rows: Int[np.ndarray, " fit"]
    scale: Float[np.ndarray, " width"]
    total: Float[np.ndarray, " width"]  # sum of the rows
    factor: tuple[np.ndarray, bool]  # as scipy.linalg.cho_factor gives it

    @classmethod
    def of(
        cls,
        latents: Float[np.ndarray, "face width"],
        rows: Int[np.ndarray, " fit"],
        scale: Float[np.ndarray, " width"],
        penalty: float,
    ) -> Design:
        """Sums the Gram matrix in float64 and factorises it, once for all references.

        Raises InputError where the latents do not determine a plane (penalty 0, few rows).
        """
        total, gram = np.zeros(len(scale)), np.zeros((len(scale), len(scale)))
        for _, x in _blocks(latents, rows, scale):
            total += x.sum(axis=0)
            gram += x.T @ x
        gram -= np.outer(total, total / len(rows))
        gram[np.diag_indices_from(gram)] += penalty * np.trace(gram) / len(gram)
        try:
            return cls(latents, rows, scale, total, cho_factor(gram, overwrite_a=True))
        except LinAlgError:
            raise InputError(
                f"{len(rows)} neighbours do not determine a plane in {len(scale)} coordinates; "
                "raise boundaries.penalty or boundaries.neighbours"
            ) from None

    def products(self, targets: Float[np.ndarray, "fit target"]) -> np.ndarray:
        """Sums of latents weighted by each target, shape (width, target). A block is summed in
        the targets' precision, and blocks in float64."""
        found = np.zeros((len(self.scale), targets.shape[1]))
        for part, x in _blocks(self.latents, self.rows, self.scale, targets.dtype):
            found += x.T @ targets[part]
        return found

    def weights(
        self, products: Float[np.ndarray, "width target"], mean: Float[np.ndarray, " target"]
    ) -> Float[np.ndarray, "width target"]:
        """Least-squares weights of targets with a free offset, from their products and mean."""
        return cho_solve(self.factor, products - np.outer(self.total, mean))


def response(
    latents: Float[np.ndarray, "face width"],
    rows: Int[np.ndarray, " fit"],
    scale: Float[np.ndarray, " width"],
    embeddings: Float[np.ndarray, "face embedding"],
    penalty: float,
) -> Float[np.ndarray, "width embedding"]:
    """How the teacher's embedding moves with the latent, to first order: its ridge regression
    on the latents."""
    targets = embeddings[rows]
    design = Design.of(latents, rows, scale, penalty)
    return design.weights(design.products(targets), targets.mean(axis=0, dtype=np.float64))


def moments(
    latents: Float[np.ndarray, "face width"],
    rows: Int[np.ndarray, " fit"],
    scale: Float[np.ndarray, " width"],
    response: Float[np.ndarray, "width embedding"],
) -> tuple[Float[np.ndarray, " width"], float]:
    """Mean of the latents in units of their scale, and the mean square of the response to what
    differs from it. In w and w+ the coordinates are correlated and lie about a mean of their
    own."""
    total, squares = np.zeros(len(scale)), 0.0
    for _, x in _blocks(latents, rows, scale):
        total += x.sum(axis=0)
    mean = total / len(rows)
    for _, x in _blocks(latents, rows, scale):
        squares += float((((x - mean) @ response) ** 2).sum())
    return mean, squares / len(rows)


def ridge(
    latents: Float[np.ndarray, "face width"],
    rows: Int[np.ndarray, " fit"],
    scale: Float[np.ndarray, " width"],
    settings: BoundaryParams,
) -> Solve:
    """Least-squares planes of all references from one factorisation (`Design.of`).

    The offset puts a plane midway between its two sides' means, which is the least-squares one
    where the sides are of equal size.
    """
    design = Design.of(latents, rows, scale, settings.penalty)

    def solve(labels: Float[np.ndarray, "fit reference"]) -> Planes:
        products, level = design.products(labels), labels.mean(axis=0, dtype=np.float64)
        weights = design.weights(products, level).T
        with np.errstate(divide="ignore", invalid="ignore"):  # one side is empty: refused later
            far, near = (
                (design.total[:, None] + side * products) / (len(rows) * (1.0 + side * level))
                for side in (DISSIMILAR, SIMILAR)
            )
        return Planes(weights, -0.5 * np.einsum("rw,wr->r", weights, far + near))

    return solve


def linear_svc(
    latents: Float[np.ndarray, "face width"],
    rows: Int[np.ndarray, " fit"],
    scale: Float[np.ndarray, " width"],
    settings: BoundaryParams,
) -> Solve:
    """The published solver (squared hinge, C = 1), one reference after the other. Its plane lies
    in the coordinates that it is used in; the released code fits scaled ones and does not undo
    the scaling."""
    from sklearn.svm import LinearSVC  # over a second that stages with other solvers need not wait

    x = latents[rows].astype(np.float64) / scale

    def solve(labels: Float[np.ndarray, "fit reference"]) -> Planes:
        weights, offsets = np.zeros((labels.shape[1], x.shape[1])), np.zeros(labels.shape[1])
        columns = enumerate(Bar(labels.T, desc="linear_svc", unit="boundary", leave=False))
        for at, column in columns:
            if abs(column.mean()) < 1.0:
                svc = LinearSVC(dual=False, class_weight="balanced", random_state=settings.seed)
                svc.fit(x, column)
                weights[at], offsets[at] = svc.coef_[0], svc.intercept_[0]
        return Planes(weights, offsets)

    return solve


SOLVERS = {"ridge": ridge, "linear_svc": linear_svc}


def held_out_accuracy(
    planes: Planes,
    latents: Float[np.ndarray, "face width"],
    rows: Int[np.ndarray, " held"],
    scale: Float[np.ndarray, " width"],
    labels: Float[np.ndarray, "held reference"],
) -> Float[np.ndarray, " reference"]:
    """Share of held-out neighbours that lie on their side of each plane, the mean of the two
    sides' shares; 0 where one side has no neighbours."""
    right = np.zeros((2, labels.shape[1]))
    weights = planes.weights.T.astype(labels.dtype)
    for part, x in _blocks(latents, rows, scale, labels.dtype):
        far = x @ weights + planes.offsets > 0
        right += [((labels[part] == side) & (far == (side > 0))).sum(axis=0) for side in SIDES]
    of = np.stack([(labels == side).sum(axis=0) for side in SIDES])
    shares = np.divide(right, of, out=np.zeros_like(right), where=of > 0)
    return np.where((of > 0).all(axis=0), shares.mean(axis=0), 0.0)


SIDES = (SIMILAR, DISSIMILAR)


def _blocks(
    latents: np.ndarray, rows: np.ndarray, scale: np.ndarray, dtype: DTypeLike = np.float64
) -> Iterator[tuple[slice, np.ndarray]]:
    for at in range(0, len(rows), BLOCK_ROWS):
        part = slice(at, at + BLOCK_ROWS)
        yield part, latents[rows[part]].astype(dtype, copy=False) / scale.astype(dtype)
