"""The loss of a step of momentum contrast: two views of every face.

The second picture of a face may be another face of the same identity.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from manifests.stores.reading import CHUNK_ROWS
from manifests.studies.usynthface import Augmentation
from pipeline.arrays.frames import Frame, to_frame
from train.augmentation.randaugment import rand_augment
from train.batching.batches import Batch
from train.batching.sources import NO_IDENTITY, Source, identity_labels
from train.engine.steps import StepLoss, step_generator
from train.studies.usynthface.margin_nce import MomentumContrast, margin_nce

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


def contrastive_loss(
    query: nn.Module,
    contrast: MomentumContrast,
    partners: Partners | None,
    *,
    stored: Frame,
    seen: Frame,
    augmentation: Augmentation,
    seed: int,
) -> StepLoss:
    """`stored`, `seen`: the frames of store and student. Without `partners`, both views are of one
    picture. The figure `found`: the share of the batch whose positive beats every negative."""
    device = next(query.parameters()).device

    def loss_of(step: int, batch: Batch) -> tuple[Tensor, Mapping[str, float]]:
        generator = step_generator(seed, step)
        others = batch.images if partners is None else partners.images(batch, generator)
        first, second = (
            views(images.to(device), stored, seen, augmentation, generator)
            for images in (batch.images, others)
        )
        order = torch.randperm(len(first), generator=generator).to(device)
        logits = contrast(query, first, second, order)
        found = (logits.detach().argmax(dim=1) == 0).float().mean()
        return margin_nce(logits), {"found": float(found)}

    return loss_of


def views(
    images: UInt8[Tensor, "batch stored stored 3"],
    source: Frame,
    target: Frame,
    augmentation: Augmentation,
    generator: torch.Generator,
) -> Float[Tensor, "batch 3 size size"]:
    """Stored crops in the student's frame, every other one mirrored, then RandAugment; 0..255."""
    pixels = to_frame(images.permute(0, 3, 1, 2).float(), source, target)
    flips = torch.rand(len(images), generator=generator).to(images.device) < 0.5
    pixels = torch.where(flips[:, None, None, None], pixels.flip(3), pixels)
    return rand_augment(
        pixels.round().clamp(0.0, 255.0).to(torch.uint8),
        generator,
        operations=augmentation.operations,
        strongest=augmentation.strongest,
    ).float()
