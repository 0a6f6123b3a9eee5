"""The arithmetic of training: learning rate, optimizer and the step itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from manifests.digests import sha256_text
from manifests.params import Run, Train
from pipeline.frames import Frame
from train.batches import Batch
from train.noise import student_views
from train.objectives import Lesson, Objective


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


def make_optimizer(network: nn.Module, objective: Objective, train: Train) -> torch.optim.Optimizer:
    """AdamW; no decay on biases and normalisation."""
    parameters = [*network.parameters(), *objective.parameters()]
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
    objective: Objective,
    *,
    stored: Frame,
    seen: Frame,
    train: Train,
    run: Run,
    seed: int,
    steps: range,
    num_faces: int,
) -> Iterator[Progress]:
    """Trains in place, one step an item; `stored`, `seen`: the frames of store and student;
    `num_faces`: of an epoch."""
    device = next(network.parameters()).device
    network.train()
    for step, batch in zip(steps, batches, strict=False):
        generator = step_generator(seed, step)
        flips = torch.rand(len(batch.images), generator=generator) < 0.5
        # A mirrored face is taught with the mirrored view's own embedding.
        chosen = {
            name: targets[torch.arange(len(flips)), flips.long()].to(device)
            for name, targets in batch.targets.items()
        }
        lesson = Lesson(chosen, batch.labels.to(device), step * train.batch // num_faces)
        images = batch.images.to(device)
        views = student_views(images, flips, stored, seen, train.noise, generator)
        rate = learning_rate(step, steps.stop, run, train)
        for group in optimizer.param_groups:
            group["lr"] = rate
        outputs = network(views.contiguous(memory_format=torch.channels_last))
        loss: Tensor = objective(outputs, lesson)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield Progress((step + 1) * train.batch, float(loss.detach()), rate)
