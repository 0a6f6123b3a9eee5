"""The arithmetic of training: targets, learning rate, optimizer and the step itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from manifests.digests import sha256_text
from manifests.errors import pick
from manifests.params import Run, Train
from pipeline.frames import Frame
from train.batches import Batch
from train.losses import LOSSES
from train.noise import student_views


@dataclass(frozen=True)
class Target:
    """How raw teacher embeddings become what the student must match."""

    centre: Tensor  # the teacher's mean over the pool
    spread: float  # one scalar: the angles between targets stay what they are

    def __call__(self, raw: Tensor) -> Tensor:
        return (raw - self.centre.to(raw)) / self.spread


@dataclass(frozen=True)
class Progress:
    """A line of the log."""

    faces_seen: int
    loss: float
    learning_rate: float


def learning_rate(step: int, num_steps: int, run: Run, train: Train) -> float:
    """A straight line from rate_from to rate_to of the peak, after a warm-up from zero."""
    share = run.rate_from + (run.rate_to - run.rate_from) * step / max(1, num_steps)
    warmup = min(1.0, (step + 1) * train.batch / max(1, train.warmup_faces))
    return train.learning_rate * share * warmup


def make_optimizer(network: nn.Module, train: Train) -> torch.optim.Optimizer:
    """AdamW; no decay on biases and normalisation."""
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": train.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.99), fused=True)


def step_generator(seed: int, step: int) -> torch.Generator:
    """Random draws that depend on seed and step alone."""
    mixed = int(sha256_text(f"{seed}:{step}")[:15], 16)
    return torch.Generator().manual_seed(mixed)


def train_steps(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[Batch],
    target: Target,
    *,
    stored: Frame,
    seen: Frame,
    train: Train,
    run: Run,
    seed: int,
    steps: range,
) -> Iterator[Progress]:
    """Trains in place, one step an item; `stored`, `seen`: the frames of store and student."""
    loss_of = pick("loss", train.loss, LOSSES)
    device = next(network.parameters()).device
    network.train()
    for step, batch in zip(steps, batches, strict=False):
        generator = step_generator(seed, step)
        flips = torch.rand(len(batch.images), generator=generator) < 0.5
        # A mirrored face is taught with the mirrored view's own embedding.
        raw = batch.targets[torch.arange(len(flips)), flips.long()].to(device)
        images = batch.images.to(device)
        views = student_views(images, flips, stored, seen, train.noise, generator)
        rate = learning_rate(step, steps.stop, run, train)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = loss_of(network(views.contiguous(memory_format=torch.channels_last)), target(raw))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield Progress((step + 1) * train.batch, float(loss.detach()), rate)
