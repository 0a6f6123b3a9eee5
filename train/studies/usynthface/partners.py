"""A second picture of the face that a batch shows: another face of the same identity."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from manifests.stores.reading import CHUNK_ROWS
from train.batching.batches import NO_IDENTITY, Batch, Source, identity_labels

CHUNKS_KEPT = 256  # decoded, 450 MB at 96 px: partners lie near those whom a batch shows


class Partners:
    """The usable faces of each identity, read as they are asked for."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources
        labels, places = [], []
        for index, (source, known) in enumerate(
            zip(sources, identity_labels(sources), strict=True)
        ):
            rows = source.usable[known[source.usable] != NO_IDENTITY]
            labels.append(known[rows])
            places.append(np.stack([np.full_like(rows, index), rows], axis=1))
        order = np.argsort(np.concatenate(labels), kind="stable")
        self.places = np.concatenate(places)[order]  # (source, row), identity after identity
        self.counts = np.bincount(np.concatenate(labels))
        self.starts = np.cumsum(self.counts) - self.counts
        self.chunks: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()

    @property
    def num_faces(self) -> int:
        """Faces that have an identity."""
        return len(self.places)

    def drawn(
        self, labels: Int[np.ndarray, " batch"], generator: torch.Generator
    ) -> Int[np.ndarray, "batch 2"]:
        """(source, row) of a face of each identity, any with the same chance, the one at hand
        too (the paper draws both with replacement); -1 where a face has no identity."""
        shares = torch.rand(len(labels), generator=generator, dtype=torch.float64).numpy()
        found = np.full((len(labels), 2), -1)
        known = labels != NO_IDENTITY
        own = labels[known]
        found[known] = self.places[
            self.starts[own] + (shares[known] * self.counts[own]).astype(int)
        ]
        return found

    def images(
        self, batch: Batch, generator: torch.Generator
    ) -> UInt8[Tensor, "batch stored stored 3"]:
        """A second picture for every one of the batch: the same where it has no identity."""
        found = batch.images.clone()
        for at, (source, row) in enumerate(self.drawn(batch.labels.numpy(), generator).tolist()):
            if row >= 0:
                found[at] = torch.from_numpy(self._image(source, row))
        return found

    def _image(self, source: int, row: int) -> np.ndarray:
        chunk = source, row // CHUNK_ROWS
        if chunk not in self.chunks:
            faces, start = self.sources[source].faces, chunk[1] * CHUNK_ROWS
            self.chunks[chunk] = faces.images(start, min(start + CHUNK_ROWS, len(faces)))
        self.chunks.move_to_end(chunk)
        if len(self.chunks) > CHUNKS_KEPT:
            self.chunks.popitem(last=False)
        return self.chunks[chunk][row % CHUNK_ROWS]
