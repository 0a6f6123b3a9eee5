"""Random numbers of a training step: a function of seed, step and face's place in the batch."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Draws:
    """Numbers for all faces of a batch, of which one process uses those of its own `rows`.

    Every process draws them all, so that a face gets the same noise for any number of processes.
    They are drawn on the CPU, so that it gets the same noise on any device.
    """

    generator: torch.Generator
    count: int  # faces of the whole batch
    rows: slice = field(default_factory=lambda: slice(None))

    def normal(self, kinds: int) -> Float[Tensor, "kind own"]:
        return torch.randn(kinds, self.count, generator=self.generator)[:, self.rows]

    def uniform(self, kinds: int) -> Float[Tensor, "kind own"]:
        """In 0..1."""
        return torch.rand(kinds, self.count, generator=self.generator)[:, self.rows]

    def integers(self, kinds: int, low: int, high: int) -> Int[Tensor, "kind own"]:
        """From `low` on, below `high`."""
        drawn = torch.randint(low, high, (kinds, self.count), generator=self.generator)
        return drawn[:, self.rows]

    def white(self, *shape: int) -> Float[Tensor, "own ..."]:
        """Normal numbers of this shape for each face."""
        return torch.randn(self.count, *shape, generator=self.generator)[self.rows]
