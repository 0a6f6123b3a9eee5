"""Faces of earlier batches, and of other processes: more to compare a batch with."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, distributed, nn

COLUMNS = ("outputs", "targets", "labels")


def several() -> bool:
    """Do processes share the batches of this run?"""
    return distributed.is_available() and distributed.is_initialized()


def whole(rows: Float[Tensor, "share _"] | Int[Tensor, " share"]) -> Tensor:
    """A batch of which each process has a share: the rows of all, by rank, without gradient. All
    processes must come here, with equally many."""
    rows = rows.detach()
    if not several():
        return rows
    shares = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
    distributed.all_gather(shares, rows.contiguous())
    return torch.cat(shares)


class Memory(nn.Module):
    """Outputs, targets and labels of the last `batches` batches, as they were (cross-batch memory,
    Wang et al., CVPR 2020, arXiv 1912.06798: outputs drift slowly enough to be compared with)."""

    outputs: Tensor
    targets: Tensor
    labels: Tensor

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.batches = batches
        for name in COLUMNS if batches else ():
            self.register_buffer(name, torch.empty(0))

    @property
    def earlier(self) -> tuple[Tensor, Tensor, Tensor] | tuple[None, None, None]:
        """(outputs, targets, labels); nothing before the first batch."""
        if not self.batches or not len(self.labels):
            return None, None, None
        return self.outputs, self.targets, self.labels

    @torch.no_grad()
    def keep(
        self,
        outputs: Float[Tensor, "batch width"],
        targets: Float[Tensor, "batch other"],
        labels: Int[Tensor, " batch"],
    ) -> None:
        """In the place of the oldest batch."""
        columns = zip(COLUMNS, (outputs, targets, labels), self.earlier, strict=True)
        for name, share, old in columns if self.batches else ():
            new = whole(share)
            joined = new if old is None else torch.cat([new, old])
            setattr(self, name, joined[: self.batches * len(new)])

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *others: Any) -> None:
        """As many faces as were kept, which the state alone tells."""
        for name, own in list(self.named_buffers()):
            setattr(self, name, torch.empty_like(state[prefix + name], device=own.device))
        super()._load_from_state_dict(state, prefix, *others)
