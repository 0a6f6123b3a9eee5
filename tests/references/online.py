"""A slow, obvious twin of SynthDistill's loop: the order of its released code, face by face."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor


def synthdistill(
    student: Callable[[Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    *,
    draws: Iterator[np.ndarray],
    show: Callable[[np.ndarray], Tensor],
    teach: Callable[[np.ndarray], Tensor],
    eps: Callable[[int], np.ndarray],
    batch: int,
    coefficient: float,
    iterations: int,
) -> list[tuple[float, float]]:
    """Trains in place: (loss, mean cosine) of each step, a static and a dynamic one in turn.

    `draws`: latents; `show`, `teach`: the student's picture and the teacher's embedding of one;
    `student`: raw embeddings of pictures; `eps`: noise of a step, a row a face.
    """

    def step(latents: list[np.ndarray]) -> tuple[float, list[float]]:
        ours = student(torch.stack([show(latent) for latent in latents]))
        theirs = torch.stack([teach(latent) for latent in latents])
        cosines = [
            float(one @ other / (one.norm() * other.norm()))
            for one, other in zip(ours.detach(), theirs, strict=True)
        ]
        loss = ((ours - theirs) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return float(loss.detach()), cosines

    told = []
    for iteration in range(iterations):
        latents = [next(draws) for _ in range(batch)]
        loss, cosines = step(latents)
        told.append((loss, float(np.mean(cosines))))
        moved = []
        for latent, cosine, noise in zip(latents, cosines, eps(2 * iteration + 1), strict=True):
            agreement = (cosine + 1) / 2
            moved.append((latent + coefficient * agreement * noise).astype(np.float32))
        loss, cosines = step(moved)
        told.append((loss, float(np.mean(cosines))))
    return told
