"""The steps of momentum contrast: two views of every face, a line of the log each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from manifests.core.errors import pick
from manifests.studies.usynthface import Augmentation, Descent, Study
from pipeline.arrays.frames import Frame, to_frame
from train.augmentation.randaugment import rand_augment
from train.batching.batches import Batch
from train.engine.steps import step_generator
from train.studies.usynthface.margin_nce import MomentumContrast, margin_nce
from train.studies.usynthface.partners import Partners


@dataclass(frozen=True)
class Progress:
    """A line of the log."""

    faces_seen: int
    loss: float
    learning_rate: float
    found: float  # share of the batch whose positive beats every negative


def sgd(parameters: Sequence[Tensor], descent: Descent) -> torch.optim.Optimizer:
    """With momentum; weight decay on all parameters, as published."""
    return torch.optim.SGD(
        parameters, lr=0.0, momentum=descent.momentum, weight_decay=descent.weight_decay
    )


def adamw(parameters: Sequence[Tensor], descent: Descent) -> torch.optim.Optimizer:
    """As distilled students are trained; no decay on biases and normalisation."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": descent.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.99), fused=True)


OPTIMIZERS: dict[str, Callable[[Sequence[Tensor], Descent], torch.optim.Optimizer]] = {
    "sgd": sgd,
    "adamw": adamw,
}


def make_optimizer(query: nn.Module, descent: Descent) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in query.parameters() if parameter.requires_grad]
    return pick("optimizer", descent.optimizer, OPTIMIZERS)(parameters, descent)


def learning_rate(step: int, num_steps: int, descent: Descent) -> float:
    """A straight line to nothing after a warm-up from zero. The paper lowers its rate when its
    accuracy on photographs stops rising; here nothing that is trained may look at those."""
    warmup = min(1.0, (step + 1) * descent.batch / max(1, descent.warmup_faces))
    return descent.learning_rate * warmup * (1.0 - step / max(1, num_steps))


def contrast_steps(
    query: nn.Module,
    contrast: MomentumContrast,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[Batch],
    partners: Partners | None,
    *,
    stored: Frame,
    seen: Frame,
    study: Study,
    seed: int,
    steps: range,
) -> Iterator[Progress]:
    """Trains both encoders in place, one step an item; `stored`, `seen`: the frames of store and
    student. Without `partners`, both views are of one picture."""
    device = next(query.parameters()).device
    query.train()
    contrast.train()
    for step, batch in zip(steps, batches, strict=False):
        generator = step_generator(seed, step)
        others = batch.images if partners is None else partners.images(batch, generator)
        first, second = (
            views(images.to(device), stored, seen, study.augmentation, generator)
            for images in (batch.images, others)
        )
        order = torch.randperm(len(first), generator=generator).to(device)
        rate = learning_rate(step, steps.stop, study.descent)
        for group in optimizer.param_groups:
            group["lr"] = rate
        logits = contrast(query, first, second, order)
        loss = margin_nce(logits)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        found = (logits.detach().argmax(dim=1) == 0).float().mean()
        yield Progress((step + 1) * len(first), float(loss.detach()), rate, float(found))


def views(
    images: UInt8[Tensor, "batch stored stored 3"],
    source: Frame,
    target: Frame,
    augmentation: Augmentation,
    generator: torch.Generator,
) -> Float[Tensor, "batch 3 size size"]:
    """Stored crops in the student's frame, every other one mirrored, then RandAugment; 0..255."""
    pixels = to_frame(images.permute(0, 3, 1, 2).float(), source, target)
    flips = torch.rand(len(images), generator=generator).to(images.device) < 0.5
    pixels = torch.where(flips[:, None, None, None], pixels.flip(3), pixels)
    return rand_augment(
        pixels.round().clamp(0.0, 255.0).to(torch.uint8),
        generator,
        operations=augmentation.operations,
        strongest=augmentation.strongest,
    ).float()
