"""Optimizers, learning rates by faces seen, and an average of the weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from manifests.settings.training import Engine, Run, Train

BETAS = (0.9, 0.99)  # of AdamW


def make_optimizer(network: nn.Module, objective: nn.Module, train: Train) -> torch.optim.Optimizer:
    """AdamW, or SGD with momentum; no decay on biases and normalisation."""
    parameters = [*network.parameters(), *objective.parameters()]
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": train.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return OPTIMIZERS[train.engine.optimizer](groups, train.engine)


def _adamw(groups: list[dict[str, object]], engine: Engine) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=0.0, betas=BETAS, fused=True)


def _sgd(groups: list[dict[str, object]], engine: Engine) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=0.0, momentum=engine.momentum, fused=True)


OPTIMIZERS = {"adamw": _adamw, "sgd": _sgd}


def learning_rate(step: int, num_steps: int, run: Run, train: Train) -> float:
    """From rate_from to rate_to of the peak, by the schedule, after a warm-up from zero."""
    share = SCHEDULES[train.engine.schedule](step / max(1, num_steps), run, train.engine)
    warmup = min(1.0, (step + 1) * train.batch / max(1, train.warmup_faces))
    return train.learning_rate * share * warmup


def _linear(done: float, run: Run, engine: Engine) -> float:
    return run.rate_from + (run.rate_to - run.rate_from) * done


def _cosine(done: float, run: Run, engine: Engine) -> float:
    """Half a cosine (Loshchilov & Hutter 2017, arXiv 1608.03983, eq. 5)."""
    return run.rate_to + (run.rate_from - run.rate_to) * (1.0 + math.cos(math.pi * done)) / 2.0


def _step(done: float, run: Run, engine: Engine) -> float:
    """From rate_from down by a factor at each drop; rate_to is of no account."""
    drops = sum(done >= place for place in engine.drops)
    return run.rate_from * engine.drop_factor**drops


SCHEDULES = {"linear": _linear, "cosine": _cosine, "step": _step}


class Average(nn.Module):
    """Exponential moving average of a network's weights and running statistics.

    The decay grows as (1 + step) / (10 + step) up to its value, so that random first weights
    are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.network, self.decay = copy.deepcopy(network).requires_grad_(False), decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """After the `step`-th step, counted from 0."""
        new = 1.0 - min(self.decay, (1.0 + step) / (10.0 + step))
        theirs: dict[str, Tensor] = network.state_dict()
        for name, own in self.network.state_dict().items():
            if own.is_floating_point():
                own.lerp_(theirs[name], new)
            else:  # the number of batches that a normalisation has seen
                own.copy_(theirs[name])
