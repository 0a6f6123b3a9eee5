"""Teaching the block: embeddings of one person in two modalities come together, those of two
people are parted. The network behind the block stays as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional

from manifests.core.errors import InputError
from manifests.settings.adaptation import Adaptation
from train.students.prepended import Adapted

ORDER = 5  # what a random stream is for, beside its seed
CLOSEST = 1e-12  # squared distance below which a square root has no slope to follow


@dataclass(frozen=True)
class Modality:
    """All pictures of one modality, in the frame of the network, by person."""

    pictures: UInt8[Tensor, "picture 3 size size"]
    person: Int[np.ndarray, " picture"]  # 0, 1, …: the same people in both modalities


def contrastive_loss(
    gallery: Float[Tensor, "one width"],
    probes: Float[Tensor, "other width"],
    same: Bool[Tensor, "one other"],
    margin: float,
    genuine: float | None,
) -> Float[Tensor, ""]:
    """Hadsell, Chopra & LeCun (CVPR 2006, eq. 4) over all pairs of two sides' unit embeddings:
    half of D² for one person, half of max(0, margin - D)² for two, D their Euclidean distance.
    `genuine` is the weight of the first kind, the rest that of the second; None: every pair counts
    alike."""
    squared = (2.0 - 2.0 * gallery @ probes.T).clamp_min(0.0)
    short = (margin - squared.clamp_min(CLOSEST).sqrt()).clamp_min(0.0)
    each = torch.where(same, squared, short**2) / 2.0
    if genuine is None:
        return each.mean()
    return genuine * each[same].mean() + (1.0 - genuine) * each[~same].mean()


def draw(
    person: Int[np.ndarray, " picture"],
    chosen: Int[np.ndarray, " people"],
    count: int,
    rng: np.random.Generator,
) -> Int[np.ndarray, " drawn"]:
    """`count` pictures of each of the chosen people, one person after the other; with replacement
    only where somebody has fewer."""
    rows = []
    for each in chosen:
        own = np.flatnonzero(person == each)
        rows.append(rng.choice(own, count, replace=len(own) < count))
    return np.concatenate(rows)


def rate(step: int, steps: int, settings: Adaptation) -> float:
    """Up over the warm-up, then down towards nothing, both in straight lines; 1 is the first."""
    warmup = steps // settings.epochs * settings.warmup_epochs
    if step <= warmup:
        return settings.learning_rate * step / warmup
    return settings.learning_rate * (steps + 1 - step) / (steps + 1 - warmup)


def fit_block(
    adapted: Adapted, source: Modality, target: Modality, settings: Adaptation
) -> Iterator[Mapping[str, Any]]:
    """Trains the block in place, one epoch an item: its mean loss, and the mean distances of one
    person's and of two people's embeddings. All else of the network must be frozen.

    Raises InputError for a loss that is not finite.
    """
    own = list(adapted.block.parameters())
    optimizer = torch.optim.AdamW(own, lr=0.0, weight_decay=settings.weight_decay)
    gallery = embedded(adapted.network, source.pictures, next(adapted.block.parameters()).device)
    people = np.unique(target.person)
    at_once = min(settings.people, len(people))
    per_epoch, step = len(people) // at_once, 0
    for epoch in range(settings.epochs):
        rng = np.random.default_rng((settings.seed, ORDER, epoch))
        order = rng.permutation(people)[: per_epoch * at_once]
        seen = []
        for chosen in np.split(order, per_epoch):
            step += 1
            for group in optimizer.param_groups:
                group["lr"] = rate(step, per_epoch * settings.epochs, settings)
            seen.append(_step(adapted, gallery, source, target, chosen, settings, rng))
            nn.utils.clip_grad_norm_(own, settings.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        loss, same, other = np.mean(seen, axis=0).tolist()
        if not loss < float("inf"):
            raise InputError(f"adapt: loss is {loss} in epoch {epoch}; lower learning_rate")
        yield {"epoch": epoch, "loss": loss, "distance_same": same, "distance_other": other}


def _step(
    adapted: Adapted,
    gallery: Float[Tensor, "picture width"],
    source: Modality,
    target: Modality,
    chosen: Int[np.ndarray, " people"],
    settings: Adaptation,
    rng: np.random.Generator,
) -> tuple[float, float, float]:
    """Leaves gradients in the block; loss, and the mean distances."""
    one, other = (draw(side.person, chosen, settings.images, rng) for side in (source, target))
    pictures = target.pictures[torch.from_numpy(other)].to(gallery.device).float()
    probes = adapted.unit(pictures.contiguous(memory_format=torch.channels_last))
    fixed = gallery[torch.from_numpy(one).to(gallery.device)]
    same = torch.from_numpy(source.person[one][:, None] == target.person[other]).to(probes.device)
    loss = contrastive_loss(fixed, probes, same, settings.margin, settings.genuine)
    loss.backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        apart = torch.cdist(fixed, probes)
        return float(loss.detach()), float(apart[same].mean()), float(apart[~same].mean())


def embedded(
    network: nn.Module, pictures: UInt8[Tensor, "picture 3 size size"], place: torch.device
) -> Float[Tensor, "picture width"]:
    """Unit embeddings by the frozen network alone: they are the same in every step."""
    with torch.no_grad():
        parts = [
            network(part.to(place).float().contiguous(memory_format=torch.channels_last))
            for part in torch.split(pictures, 64)
        ]
    return functional.normalize(torch.cat(parts))
