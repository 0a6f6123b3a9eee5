"""Momentum contrast with a margin on the positive: USynthFace's objective.

Two views of one face should lie closer, by a margin, than a view of it and earlier faces. There
is neither teacher nor label. Boutros et al., FG 2023, arXiv 2211.07371; MoCo is its case of no
margin (He et al. 2020, arXiv 1911.05722).
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from manifests.studies.usynthface import Contrast

Units = Float[Tensor, "batch width"]
Queue = Float[Tensor, "key width"]


def margin_logits(
    queries: Units, keys: Units, queue: Queue, *, margin: float, temperature: float
) -> Float[Tensor, "batch logit"]:
    """The positive's logit first, then one for each key of the queue.

    All rows are of unit length. The margin is taken off before the temperature divides. Keys of
    the batch at hand are nobody's negatives: the queue is that of earlier batches.
    """
    positive = (queries * keys).sum(dim=1, keepdim=True) - margin
    return torch.cat([positive, queries @ queue.T], dim=1) / temperature


def margin_nce(logits: Float[Tensor, "batch logit"]) -> Float[Tensor, ""]:
    """Cross-entropy of finding the positive."""
    return functional.cross_entropy(logits, torch.zeros_like(logits[:, 0], dtype=torch.long))


def fifo(queue: Queue, keys: Units, enqueued: int) -> Int[Tensor, " batch"]:
    """The rows that have been in the queue for longest."""
    return (enqueued + torch.arange(len(keys), device=queue.device)) % len(queue)


def most_similar(queue: Queue, keys: Units, enqueued: int) -> Int[Tensor, " batch"]:
    """Once the queue is full, the row most similar to each key (a policy of the released code)."""
    if enqueued < len(queue):
        return fifo(queue, keys, enqueued)
    return (keys @ queue.T).argmax(dim=1)


def least_similar(queue: Queue, keys: Units, enqueued: int) -> Int[Tensor, " batch"]:
    """Once the queue is full, the row least similar to each key (a policy of the released code)."""
    if enqueued < len(queue):
        return fifo(queue, keys, enqueued)
    return (keys @ queue.T).argmin(dim=1)


REPLACEMENTS: dict[str, Callable[[Queue, Units, int], Int[Tensor, " batch"]]] = {
    "fifo": fifo,
    "most-similar": most_similar,
    "least-similar": least_similar,
}


class MomentumContrast(nn.Module):
    """What a query encoder is trained against, and never exported with it: the key encoder, which
    follows it slowly, and the queue of its keys."""

    queue: Tensor
    enqueued: Tensor

    def __init__(
        self, query: nn.Module, settings: Contrast, width: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.settings = settings
        self.replaced = REPLACEMENTS[settings.replacement]
        # A copy with running statistics of its own: momentum acts on parameters alone.
        self.key = copy.deepcopy(query).requires_grad_(False)
        rows = torch.randn(settings.queue, width, generator=generator)
        self.register_buffer("queue", functional.normalize(rows))
        self.register_buffer("enqueued", torch.zeros((), dtype=torch.long))

    def forward(
        self,
        query: nn.Module,
        first: Float[Tensor, "batch 3 size size"],
        second: Float[Tensor, "batch 3 size size"],
        order: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch logit"]:
        """Logits of one step, after which the queue holds its keys; `order`: a random one."""
        queries = functional.normalize(in_parts(query, first, self.settings.sub_batches))
        keys = self.embedded_keys(query, second, order)
        logits = margin_logits(
            queries,
            keys,
            self.queue.clone(),  # the gradient needs it as it was
            margin=self.settings.margin,
            temperature=self.settings.temperature,
        )
        self.enqueue(keys)
        return logits

    @torch.no_grad()
    def embedded_keys(self, query: nn.Module, views: Tensor, order: Tensor) -> Units:
        """By the key encoder, a step closer to `query`. Keys are normalised among other faces than
        their queries: else a batch's statistics would tell which belong together."""
        follow(self.key, query, self.settings.momentum)
        keys = in_parts(self.key, views[order], self.settings.sub_batches)
        return functional.normalize(keys[torch.argsort(order)])

    @torch.no_grad()
    def enqueue(self, keys: Units) -> None:
        rows = self.replaced(self.queue, keys, int(self.enqueued))
        for row, key in zip(rows.tolist(), keys, strict=True):  # of two keys for a row, the later
            self.queue[row] = key
        self.enqueued += len(keys)


def in_parts(network: nn.Module, views: Tensor, parts: int) -> Float[Tensor, "batch width"]:
    """The network's outputs, each part normalised by statistics of its own."""
    shown = (part.contiguous(memory_format=torch.channels_last) for part in views.chunk(parts))
    return torch.cat([network(part) for part in shown])


@torch.no_grad()
def follow(key: nn.Module, query: nn.Module, momentum: float) -> None:
    """The exponential moving average of parameters; running statistics are left alone."""
    for own, other in zip(key.parameters(), query.parameters(), strict=True):
        if other.requires_grad:
            own.mul_(momentum).add_(other, alpha=1.0 - momentum)
