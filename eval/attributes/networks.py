"""Attribute heads: a small network from a teacher's embedding to yes or no, attribute by attribute.

`mac` is the Massive Attribute Classifier of MAAD-Face (Terhörst et al. 2021): two shared layers
and a branch of its own for every attribute, each layer FC - ReLU - BatchNorm - Dropout(0.5), the
last one FC 2 - softmax. Published re-implementations disagree on the second shared width: 512
(`mac`) or 256 (`mac-256`). `linear` is a logistic regression an attribute, for small tables.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from manifests.core.errors import pick
from pipeline.arrays.numerics import in_fixed_batches

BRANCH, DROPOUT = 128, 0.5
ANSWERS = 2  # no, yes
SHARED: dict[str, tuple[int, ...]] = {"mac": (512, 512), "mac-256": (512, 256), "linear": ()}


def layer(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs), nn.ReLU(), nn.BatchNorm1d(outputs), nn.Dropout(DROPOUT)]


class Heads(nn.Module):
    """Raw embeddings "batch width" -> logits of no and yes, "batch attribute 2"."""

    centre: Tensor
    spread: Tensor

    def __init__(self, architecture: str, width: int, num_attributes: int) -> None:
        super().__init__()
        widths = pick("architecture of heads", architecture, SHARED)
        self.num_attributes = num_attributes
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("spread", torch.ones(()))
        shared: list[nn.Module] = []
        for outputs in widths:
            shared += layer(width, outputs)
            width = outputs
        self.shared = nn.Sequential(*shared)
        # The branches' first layers stand side by side in one: no two of them share a weight.
        branches = layer(width, num_attributes * BRANCH) if widths else []
        self.branches = nn.Sequential(*branches)
        self.last = nn.Parameter(torch.empty(num_attributes, BRANCH if widths else width, ANSWERS))
        self.bias = nn.Parameter(torch.zeros(num_attributes, ANSWERS))
        nn.init.normal_(self.last, std=self.last.shape[1] ** -0.5)

    def forward(
        self, embeddings: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch attribute 2"]:
        shared = self.shared((embeddings - self.centre) / self.spread)
        rows: Tensor = self.branches(shared)
        if len(self.branches):
            rows = rows.view(len(rows), self.num_attributes, BRANCH)
            return torch.einsum("bai,aio->bao", rows, self.last) + self.bias
        return torch.einsum("bi,aio->bao", rows, self.last) + self.bias


def probabilities(
    heads: Heads, embeddings: Float[np.ndarray, "face width"]
) -> Float[np.ndarray, "face attribute"]:
    """That each face has each attribute; NaN where its embedding is."""
    known: Bool[np.ndarray, " face"] = np.isfinite(embeddings).all(axis=1)
    rows = torch.from_numpy(np.where(known[:, None], embeddings, 0.0).astype(np.float32))
    found = in_fixed_batches(lambda batch: heads(batch).softmax(dim=2)[..., 1], rows).numpy()
    found[~known] = np.nan
    return found
