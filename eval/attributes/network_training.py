"""Training attribute heads on the embeddings of labelled faces."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int8
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from eval.attributes.networks import Heads
from manifests.studies.attribute_drift import HeadSettings


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
    for epoch in tqdm(range(settings.epochs), desc="heads", unit="epoch", leave=False):
        order = np.random.default_rng([settings.seed, epoch]).permutation(len(labels))
        for rows in map(torch.from_numpy, np.array_split(order, steps)):
            optimizer.zero_grad()
            loss = masked_loss(heads(embeddings[rows]), labels[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
