"""Margin heads of many identities: sampled prototypes (PartialFC) against all of them, and how
large GKD's primary group is while a student aligns.

    python -m tests.bench heads

Memory is the peak of a process of its own, above what it had before the head was made: prototypes,
gradient, AdamW's moments and what a step holds; a step's cost is processor time, which neighbours
change little. What a sample costs in exactness is said at the same prototypes: the loss, and the
cosine of its gradient at the embeddings to that of all.
"""

from __future__ import annotations

import resource
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import pairwise
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from manifests.settings.objectives import Grouped, Margin
from manifests.settings.params import load_params
from tests.references.losses import aligned_logits, released_group_size
from train.engine.optimizers import make_optimizer, sampled_rows
from train.losses.grouped import group_size
from train.losses.margin_heads import MarginHead

IDENTITIES, WIDTH, BATCH = 100_000, 512, 256
RATES = (1.0, 0.3, 0.1)
STEPS = 3
LEARNT = 2000  # identities of the students that are trained to the end
PASSES, SPREAD, PIXELS = 12, 1.0, 256  # over them; of a face about its identity; numbers it has
GKD_IDENTITIES = 85_742
ALIGNMENTS = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9)


def measure() -> dict[str, Any]:
    return {
        "at_100000_identities": {f"rate_{rate:g}": apart(cost, rate) for rate in RATES},
        "exactness": exactness(),
        "trained": {f"rate_{rate:g}": trained(rate) for rate in RATES},
        "gkd_group_size": {f"alignment_{own:g}": group_sizes(own) for own in ALIGNMENTS},
    }


def apart(work: Any, rate: float) -> Any:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        return executor.submit(work, rate).result()


def margin(rate: float) -> Margin:
    return Margin("cosface", margin=0.4, sample_rate=rate)


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def cost(rate: float) -> dict[str, float]:
    """Of a step of the head alone, with AdamW."""
    torch.manual_seed(0)
    train, before = load_params().train, peak_bytes()
    train = replace(train, engine=replace(train.engine, optimizer="adamw"))
    head = MarginHead(margin(rate), IDENTITIES, WIDTH)
    optimizer = make_optimizer(nn.Identity(), head, train)
    seconds = [time.process_time()]
    for _ in range(STEPS):
        outputs = torch.randn(BATCH, WIDTH, requires_grad=True)
        step(head, optimizer, outputs, torch.randint(IDENTITIES, (BATCH,)), 1e-3)
        seconds.append(time.process_time())
    return {
        "peak_mb": round((peak_bytes() - before) / 1e6),
        "cpu_seconds_a_step": round(float(np.median([b - a for a, b in pairwise(seconds)])), 3),
    }


def step(
    head: MarginHead, optimizer: torch.optim.Optimizer, outputs: Tensor, labels: Tensor, rate: float
) -> float:
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss, _ = head(outputs, labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    with sampled_rows(head, optimizer):
        optimizer.step()
    return float(loss.detach())


def exactness() -> dict[str, Any]:
    """Of embeddings at a cosine of 0.5 to their prototypes."""
    torch.manual_seed(0)
    head = MarginHead(margin(1.0), IDENTITIES, WIDTH)
    labels = torch.randperm(IDENTITIES)[:BATCH]
    own = functional.normalize(head.prototypes.detach()[labels])
    outputs = functional.normalize(own + 3**0.5 * functional.normalize(torch.randn(BATCH, WIDTH)))
    found = {}
    for rate in RATES:
        head.margin = margin(rate)
        rows = outputs.clone().requires_grad_(True)
        loss = head(rows, labels)[0]
        (gradient,) = torch.autograd.grad(loss, rows)
        found[rate] = float(loss.detach()), gradient.flatten()
    full = found[1.0][1]
    return {
        f"rate_{rate:g}": {
            "loss": round(loss, 4),
            "gradient_cosine": round(float(functional.cosine_similarity(own, full, dim=0)), 4),
        }
        for rate, (loss, own) in found.items()
    }


def trained(rate: float) -> dict[str, float]:
    """A linear student and its head, by the same faces; both ends are judged by all prototypes."""
    torch.manual_seed(1)
    people = torch.randn(LEARNT, PIXELS)
    student, head = nn.Linear(PIXELS, WIDTH, bias=False), MarginHead(margin(rate), LEARNT, WIDTH)
    train = load_params().train
    train = replace(train, engine=replace(train.engine, optimizer="adamw"), weight_decay=0.0)
    optimizer = make_optimizer(student, head, train)
    for _ in range(PASSES):
        for labels in torch.randperm(LEARNT).split(BATCH // 4):
            faces = people[labels] + SPREAD * torch.randn(len(labels), PIXELS)
            last = step(head, optimizer, student(faces), labels, 2e-3)
    head.eval()
    labels = torch.arange(LEARNT)
    with torch.no_grad():
        outputs = student(people + SPREAD * torch.randn(LEARNT, PIXELS))
        loss, _ = head(outputs, labels)
        right = head.cosines(outputs).argmax(dim=1) == labels
    return {
        "last_training_loss": round(last, 3),
        "loss_over_all": round(float(loss), 3),
        "own_identity_first": round(float(right.float().mean()), 4),
    }


def group_sizes(alignment: float) -> dict[str, int]:
    """Of 128 faces of as many identities: released, of ours, and as it was before: each row's own
    probabilities at temperature 4."""
    logits = aligned_logits(
        alignment, num_identities=GKD_IDENTITIES, batch=128, width=WIDTH, seed=0
    )
    released = Grouped("gkd", "")
    before = replace(released, grouping="row", group_temperature=4.0)
    ours, was = (group_size(torch.from_numpy(logits), own) for own in (released, before))
    return {
        "released": released_group_size(logits, 0.93, 100, 1.0),
        "default": ours,
        "row_at_temperature_4": was,
    }
