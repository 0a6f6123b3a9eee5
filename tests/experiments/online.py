"""The online loop of SynthDistill (IJCB 2023), on the parts of this project: the reference that
cached stores and mining are measured against. Every face is rendered, embedded and seen once.
A jittered latent is divided by √(1 + step²), which keeps it on the prior's shell, and cosines are
of centred embeddings: the paper does neither."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from manifests.settings.params import Detection
from pipeline.aligners.base import Aligner
from pipeline.arrays.frames import ARCFACE112, Frame, to_frame
from pipeline.arrays.numerics import in_fixed_batches
from pipeline.building.embeddings import embed_faces
from pipeline.building.faces import render_faces
from pipeline.generators.base import Generator
from pipeline.teachers.base import Teacher
from train.batching.batches import Batch
from train.batching.sources import NO_IDENTITY


@dataclass
class Queue:
    """Usable faces that wait for a whole batch."""

    images: list[np.ndarray] = field(default_factory=list)
    targets: list[np.ndarray] = field(default_factory=list)
    latents: list[np.ndarray] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.images)

    def add(self, images: np.ndarray, targets: np.ndarray, latents: np.ndarray) -> None:
        self.images += list(images)
        self.targets += list(targets)
        self.latents += list(latents)

    def take(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        parts = []
        for rows in (self.images, self.targets, self.latents):
            parts.append(np.stack(rows[:count]))
            del rows[:count]
        return parts[0], parts[1], parts[2]


@dataclass(frozen=True)
class Loop:
    generator: Generator
    aligner: Aligner
    attempts: Sequence[Detection]
    teacher: Teacher
    frame: Frame  # of the crops
    centre: np.ndarray  # of the teacher's embeddings
    coefficient: float
    batch: int

    def make(self, latents: np.ndarray, queue: Queue) -> None:
        """Renders, aligns and embeds; pictures without a face are passed over."""
        found = render_faces(self.generator, self.aligner, self.attempts, latents, self.frame)
        for faces in found:
            images = faces.images[faces.ok]
            own = latents[: len(faces.ok)][faces.ok]
            queue.add(images, embed_faces(self.teacher, images, self.frame), own)

    def batches(self, network: nn.Module, size: int, seed: int) -> Iterator[Batch]:
        """A fresh batch, then, once it was trained on, one of its jittered latents, in turn.

        The jitter follows the student after that step, in evaluation mode (the paper: before the
        step, with batch statistics). Children without a face are passed over, so that fresh
        batches are somewhat more frequent.
        """
        rng = np.random.default_rng((seed, 21))
        fresh, jittered = Queue(), Queue()
        while True:
            while len(fresh) < self.batch:
                shape = (self.batch, self.generator.latent_width)
                self.make(rng.standard_normal(shape).astype(np.float32), fresh)
            images, targets, latents = fresh.take(self.batch)
            yield self.batch_of(images, targets)
            step = self.coefficient * (self.cosine(network, images, targets, size) + 1.0) / 2.0
            eps = rng.standard_normal(latents.shape)
            children = (latents + step[:, None] * eps) / np.sqrt(1.0 + step[:, None] ** 2)
            self.make(children.astype(np.float32), jittered)
            if len(jittered) >= self.batch:
                images, targets, _ = jittered.take(self.batch)
                yield self.batch_of(images, targets)

    def batch_of(self, images: np.ndarray, targets: np.ndarray) -> Batch:
        """Faces that have no identity, and no place in a manifest."""
        none = torch.full((len(images),), NO_IDENTITY)
        by_teacher = {self.teacher.name: torch.from_numpy(targets)}
        return Batch(torch.from_numpy(images), by_teacher, none, none)

    def cosine(
        self, network: nn.Module, images: np.ndarray, targets: np.ndarray, size: int
    ) -> np.ndarray:
        def embed(batch: torch.Tensor) -> torch.Tensor:
            crops = to_frame(batch.permute(0, 3, 1, 2).float(), self.frame, ARCFACE112.at(size))
            return network(crops.contiguous(memory_format=torch.channels_last))

        network.eval()
        found = in_fixed_batches(embed, torch.from_numpy(images))
        network.train()
        wanted = torch.from_numpy(targets[:, 0] - self.centre)
        return nn.functional.cosine_similarity(found, wanted).numpy().astype(np.float64)
