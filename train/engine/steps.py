"""The arithmetic of training: one step, what is trained in it, and the loss of supervised ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from manifests.core.digests import sha256_text
from manifests.settings.training import Run, Train
from pipeline.arrays.frames import Frame
from pipeline.arrays.numerics import computing_in, precision_of
from train.augmentation.draws import Draws
from train.augmentation.noise import student_views
from train.batching.batches import Batch
from train.engine.optimizers import Average, learning_rate, make_optimizer, sampled_rows
from train.engine.processes import ALONE, Processes
from train.losses.objectives import Objective, Supervision

FLIPPED = 0.5  # share of faces that are shown mirrored

# The loss of a step by its number and batch, and figures of it that the log keeps by name.
StepLoss = Callable[[int, Batch], tuple[Tensor, Mapping[str, float]]]


@dataclass(frozen=True)
class Progress:
    """A line of the log."""

    faces_seen: int
    loss: float
    learning_rate: float
    figures: Mapping[str, float] = field(default_factory=dict)  # of this kind of run, beside

    def line(self) -> dict[str, int | float]:
        own = {"faces_seen": self.faces_seen, "loss": self.loss}
        return {**own, "learning_rate": self.learning_rate, **self.figures}


class NotFinite(Exception):
    """`what` of a step (its loss, or the norm of its gradient) was no finite number."""

    def __init__(
        self, what: str, progress: Progress, face_ids: list[int], before: list[int]
    ) -> None:
        super().__init__(what, progress)
        self.what, self.progress = what, progress
        self.face_ids, self.before = face_ids, before


@dataclass(frozen=True)
class Learner:
    """All that changes in training."""

    network: nn.Module
    objective: nn.Module  # with whatever is trained or kept beside the network
    optimizer: torch.optim.Optimizer
    average: Average | None  # of the network's weights; if there is one, it is the student

    @property
    def trains_network(self) -> bool:
        return any(parameter.requires_grad for parameter in self.network.parameters())

    @property
    def student(self) -> nn.Module:
        return self.network if self.average is None else self.average.network


def step_generator(seed: int, step: int) -> torch.Generator:
    """Random draws that depend on seed and step alone."""
    mixed = int(sha256_text(f"{seed}:{step}")[:15], 16)
    return torch.Generator().manual_seed(mixed)


def make_learner(network: nn.Module, objective: nn.Module, train: Train) -> Learner:
    average = Average(network, train.engine.ema) if train.engine.ema else None
    return Learner(network, objective, make_optimizer(network, objective, train), average)


def train_steps(
    learner: Learner,
    batches: Iterator[Batch],
    loss_of: StepLoss,
    *,
    train: Train,
    run: Run,
    steps: range,
    processes: Processes = ALONE,
) -> Iterator[Progress]:
    """Trains in place, one step an item. Raises NotFinite before a step that would spoil the
    student."""
    parameters = [p for group in learner.optimizer.param_groups for p in group["params"]]
    _begin(learner, train.engine.batch_norm)
    before: list[int] = []
    for step, batch in zip(steps, batches, strict=False):
        loss, figures = loss_of(step, batch)
        mean = processes.mean(loss.detach().clone())
        rate = learning_rate(step, steps.stop, run, train)
        progress = Progress((step + 1) * train.batch, mean, rate, figures)
        face_ids = batch.face_ids.tolist()
        if not math.isfinite(mean):
            raise NotFinite(f"loss is {mean}", progress, face_ids, before)
        learner.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        with sampled_rows(learner.objective, learner.optimizer):
            norm = clip(parameters, train.engine.clip_norm)
            if not math.isfinite(norm):
                raise NotFinite(f"the gradient's norm is {norm}", progress, face_ids, before)
            for group in learner.optimizer.param_groups:
                group["lr"] = rate
            learner.optimizer.step()
        if learner.average is not None:
            learner.average.update(learner.network, step)
        before = face_ids
        yield progress


def _begin(learner: Learner, batch_norm: str) -> None:
    learner.network.train(learner.trains_network)
    learner.objective.train()
    if batch_norm == "frozen":
        for module in learner.network.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def clip(parameters: list[nn.Parameter], most: float) -> float:
    """The norm of all gradients, which are scaled down to `most` where it is above (0: never)."""
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if most:
        nn.utils.clip_grads_with_norm_(parameters, most, norm)
    return norm.item()


def compiled_for_this_cpu(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """torch.compile, told how wide the CPU's vectors are.

    torch keeps compiled code between runs without asking for which vectors it was made: where
    ATEN_CPU_CAPABILITY or another machine narrowed them since, it would write past its arrays.
    """
    bits = {"AVX2": 256, "AVX512": 512}.get(torch.backends.cpu.get_cpu_capability())
    return torch.compile(network, options={"cpp.simdlen": bits} if bits else None)


class WithLoss(nn.Module):
    """A network with its objective, from pictures to the loss: what several processes share."""

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        precision: str,
        compiled: bool,
    ) -> None:
        super().__init__()
        self.network, self.objective, self.precision = network, objective, precision
        self.run = compiled_for_this_cpu(network) if compiled else network

    def forward(self, views: Tensor, supervision: Supervision) -> Tensor:
        with computing_in(self.precision, views.device):
            embeddings = self.run(views)
        loss: Tensor = self.objective(embeddings.float(), supervision)
        return loss


def supervised_loss(
    network: nn.Module,
    objective: Objective,
    *,
    stored: Frame,
    seen: Frame,
    train: Train,
    seed: int,
    num_faces: int,
    processes: Processes = ALONE,
) -> StepLoss:
    """`stored`, `seen`: the frames of store and student; `num_faces`: of an epoch."""
    engine, device = train.engine, next(network.parameters()).device
    precision = precision_of(engine.precision, device.type, network)
    whole = WithLoss(network, objective, precision, compiled=engine.compile)
    joined = processes.joined(whole, device)

    def loss_of(step: int, batch: Batch) -> tuple[Tensor, Mapping[str, float]]:
        generator = step_generator(seed, step)
        # What the network itself draws, dropout's, comes of torch's global generator.
        torch.manual_seed(generator.initial_seed() + processes.rank)
        draws = Draws(generator, len(batch), processes.rows(len(batch)))
        epoch = step * train.batch // num_faces
        return joined(*shown(batch, draws, stored, seen, train, device, epoch=epoch)), {}

    return loss_of


def shown(
    batch: Batch,
    draws: Draws,
    stored: Frame,
    seen: Frame,
    train: Train,
    device: torch.device,
    *,
    epoch: int,
) -> tuple[Tensor, Supervision]:
    """This process's share of a batch, as the student sees it, and what the loss is told of it."""
    rows = draws.rows
    flips = torch.rand(draws.count, generator=draws.generator)[rows] < FLIPPED
    places = torch.arange(draws.count)[rows]
    # A mirrored face is taught with the mirrored view's own embedding.
    targets = {
        name: stored_views[places, flips.long()].to(device, torch.float32)
        for name, stored_views in batch.targets.items()
    }
    images = batch.images[rows].to(device)
    layout = torch.channels_last if train.engine.channels_last else torch.contiguous_format
    views = student_views(images, flips, stored, seen, train.noise, draws, layout)
    labels, face_ids = (each[rows].to(device) for each in (batch.labels, batch.face_ids))
    supervision = Supervision(targets, labels, epoch, face_ids)
    return views.contiguous(memory_format=layout), supervision
