"""Attribute heads: a small network from a teacher's embedding to yes or no, attribute by attribute.

`mac` is the Massive Attribute Classifier of MAAD-Face (Terhörst et al. 2021): two shared layers
and a branch of its own for every attribute, each layer FC - ReLU - BatchNorm - Dropout(0.5), the
last one FC 2 - softmax. Published re-implementations disagree on the second shared width: 512
(`mac`) or 256 (`mac-256`). `linear` is a logistic regression an attribute, for small tables.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int8
from torch import Tensor, nn
from torch.nn import functional

from manifests.core.errors import pick
from manifests.core.progress import Bar
from manifests.settings.heads import HeadSettings
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


def masked_loss(
    logits: Float[Tensor, "batch attribute 2"], labels: Int8[Tensor, "batch attribute"]
) -> Float[Tensor, ""]:
    """Cross-entropy, a mean over the labels of each attribute that are defined (not 0), then over
    the attributes of which some are. So a rare label counts as much as a common one."""
    defined = (labels != 0).to(logits.dtype)
    right = (labels > 0).long()
    losses = functional.cross_entropy(logits.flatten(0, 1), right.flatten(), reduction="none")
    sums = (losses.view_as(defined) * defined).sum(dim=0)
    count = defined.sum(dim=0)
    return (sums / count.clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)


def fit_heads(
    embeddings: Float[np.ndarray, "face width"],
    labels: Int8[np.ndarray, "face attribute"],
    settings: HeadSettings,
) -> Heads:
    """Heads trained on these faces with AdamW and a cosine schedule, in evaluation mode.

    A function of the inputs and the seed alone: the order of an epoch, the weights that training
    starts from and dropout are drawn from the seed, and the caller's generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        heads = Heads(settings.architecture, embeddings.shape[1], labels.shape[1])
        heads.centre.copy_(torch.from_numpy(embeddings.mean(axis=0, dtype=np.float64)))
        heads.spread.fill_(max(float((embeddings - heads.centre.numpy()).std()), 1e-12))
        _train(heads, torch.from_numpy(embeddings), torch.from_numpy(labels), settings)
    return heads.eval().requires_grad_(False)


def _train(heads: Heads, embeddings: Tensor, labels: Tensor, settings: HeadSettings) -> None:
    steps = max(1, len(labels) // settings.batch)  # never a batch of one: it has no variance
    optimizer = torch.optim.AdamW(
        heads.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps * settings.epochs)
    heads.train()
    for epoch in Bar(range(settings.epochs), desc="heads", unit="epoch", leave=False):
        order = np.random.default_rng([settings.seed, epoch]).permutation(len(labels))
        for rows in map(torch.from_numpy, np.array_split(order, steps)):
            optimizer.zero_grad()
            loss = masked_loss(heads(embeddings[rows]), labels[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
