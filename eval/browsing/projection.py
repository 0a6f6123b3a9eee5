"""The teacher's space as a map: t-SNE (van der Maaten & Hinton, JMLR 2008) of its first principal
components, and the order of the faces along it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

COMPONENTS = 32  # of 128 those hold most of what differs, and halve the time
PERPLEXITY = 30.0
ITERATIONS = 500
FEWEST = 8  # faces that t-SNE makes a map of; fewer lie in a row
CELLS = 1 << 10  # a side of the grid along which faces are put in order


def project(vectors: Float[np.ndarray, "face width"]) -> Float[np.ndarray, "face 2"]:
    """Places in 0…1, neighbours close together; directions and distances farther away mean little.

    One thread: on several the sums, and so the map, depend on how many.
    """
    if len(vectors) < FEWEST:
        return np.stack([np.linspace(0.1, 0.9, len(vectors)), np.full(len(vectors), 0.5)], 1)
    with threadpool_limits(1):
        count = min(COMPONENTS, *vectors.shape)
        flat = PCA(count, svd_solver="full").fit_transform(vectors.astype(np.float64))
        perplexity = min(PERPLEXITY, (len(flat) - 1) / 3)
        tsne = TSNE(
            2, init="pca", perplexity=perplexity, max_iter=ITERATIONS, random_state=0, n_jobs=1
        )
        places = tsne.fit_transform(flat.astype(np.float32))
    low, high = places.min(axis=0), places.max(axis=0)
    return ((places - low) / np.maximum(high - low, 1e-12)).astype(np.float64)


def along(places: Float[np.ndarray, "face 2"]) -> Int[np.ndarray, " face"]:
    """The faces in an order by which those close on the map are close (Morton's, 1966): a part
    of the map then lies on few sheets."""
    cells = np.minimum(places * CELLS, CELLS - 1).astype(np.int64)
    code = np.zeros(len(places), np.int64)
    for bit in range(CELLS.bit_length() - 1):
        for axis in (0, 1):
            code |= ((cells[:, axis] >> bit) & 1) << (2 * bit + axis)
    return np.argsort(code, kind="stable")
