"""Optimizers, learning rates by faces seen, and an average of the weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from manifests.settings.training import Engine, Run, Train
from train.losses.margin_heads import MarginHead

BETA1 = 0.9  # of AdamW
MOMENTUM = 0.95  # of Muon
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # of x, x³ and x⁵: steepest at 0 (Jordan et al. 2024)
NUM_ITERATIONS = 3  # five train no better here, and take twice as long (docs/log/training.md)
COLOURS = 3  # channels of a picture: filters of so few see no features yet
Group = dict[str, Any]


def make_optimizer(network: nn.Module, objective: nn.Module, train: Train) -> torch.optim.Optimizer:
    """AdamW, SGD with momentum, or Muon on the filters and AdamW on all else; no decay on biases
    and normalisation."""
    parameters = [*network.parameters(), *objective.parameters()]
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    matrices = _filters(network) if train.engine.optimizer == "muon" else []
    chosen = set(map(id, matrices))
    rest = [parameter for parameter in parameters if id(parameter) not in chosen]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": train.weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if matrices:
        groups.append({"params": matrices, "weight_decay": train.weight_decay, "filters": True})
    return OPTIMIZERS[train.engine.optimizer](groups, train.engine)


def _filters(network: nn.Module) -> list[Tensor]:
    """Those that Muon trains: of all convolutions that mix channels of features."""
    return [
        module.weight
        for module in network.modules()
        if isinstance(module, nn.Conv2d) and module.groups == 1 and module.in_channels > COLOURS
        if module.weight.requires_grad
    ]


def _adamw(groups: list[Group], engine: Engine) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=0.0, betas=(BETA1, engine.beta2), fused=True)


def _sgd(groups: list[Group], engine: Engine) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=0.0, momentum=engine.momentum, fused=True)


def _muon(groups: list[Group], engine: Engine) -> torch.optim.Optimizer:
    groups = [{"filters": False, **group} for group in groups]
    betas = BETA1, engine.beta2
    return Muon(groups, lr=0.0, betas=betas, fused=True, times=engine.muon_rate)


class Muon(torch.optim.AdamW):
    """Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) on groups with
    `filters`, AdamW on the others.

    A filter bank "output input height width" is a matrix with a row an output. Its step is the
    nearest matrix with orthogonal rows (or columns) to the Nesterov momentum of its gradients,
    `times` the group's rate. torch.optim.Muon has the same step, but takes matrices alone, and
    bfloat16 alone, which few processors multiply natively.
    """

    def __init__(self, groups: list[Group], *, times: float, **settings: Any) -> None:
        super().__init__(groups, **settings)
        self.times = times

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group["filters"]]
        super().step(closure)
        self.param_groups = groups
        for group in groups:
            for parameter in group["params"] if group["filters"] else ():
                if parameter.grad is not None:
                    self._turn(parameter, parameter.grad, group["lr"], group["weight_decay"])

    def _turn(self, filters: Tensor, gradient: Tensor, rate: float, decay: float) -> None:
        state = self.state[filters]
        if not state:
            state["step"] = torch.zeros(())  # which AdamW looks for in whatever it restores
            state["momentum"] = torch.zeros_like(filters)
        state["step"] += 1
        momentum = state["momentum"].lerp_(gradient, 1.0 - MOMENTUM)
        matrix = orthogonalised(gradient.lerp(momentum, MOMENTUM).flatten(1))
        matrix = matrix * (self.times * math.sqrt(max(1.0, matrix.shape[0] / matrix.shape[1])))
        filters.mul_(1.0 - rate * decay).sub_(matrix.reshape(filters.shape), alpha=rate)


def orthogonalised(matrix: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
    """The matrix with its singular values brought towards 1, by a few Newton-Schulz iterations.

    Each multiplies by a polynomial of the Gram matrix, and the Gram matrix of the product follows
    from it: so all but the first and the last product are of small squares.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonalised(matrix.T).T
    wide = matrix / matrix.norm().clamp_min(1e-7)
    gram, whole = wide @ wide.T, None
    linear, cubic, quintic = NEWTON_SCHULZ
    for left in reversed(range(NUM_ITERATIONS)):
        factor = torch.addmm(gram, gram, gram, beta=cubic, alpha=quintic)
        factor.diagonal().add_(linear)
        whole = factor if whole is None else factor @ whole
        gram = factor @ gram @ factor if left else gram
    return whole @ wide


OPTIMIZERS = {"adamw": _adamw, "sgd": _sgd, "muon": _muon}


@contextmanager
def sampled_rows(objective: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Inside, gradients and steps are of those prototypes alone that a margin head sampled: all
    others stay where they are, and so do their moments. Where none was sampled, nothing changes.

    AdamW's count of steps is that of the run, as in torch.optim.SparseAdam.
    """
    heads = [module for module in objective.modules() if isinstance(module, MarginHead)]
    with ExitStack() as stack:
        for head in heads:
            if head.sampled is not None and head.prototypes.grad is not None:
                stack.enter_context(_only_rows(head.prototypes, head.sampled, optimizer))
        yield


@contextmanager
def _only_rows(
    matrix: nn.Parameter, rows: Int[Tensor, " row"], optimizer: torch.optim.Optimizer
) -> Iterator[None]:
    """A parameter is these rows of it for a while, its gradient and moments too."""
    whole, gradient, state = matrix.data, matrix.grad, optimizer.state[matrix]
    assert gradient is not None
    moments = {name: own for name, own in state.items() if _is_like(own, whole)}
    matrix.grad = None  # which torch holds to the shape of the data
    matrix.data = whole[rows]
    matrix.grad = gradient.coalesce().values() if gradient.is_sparse else gradient[rows]
    state.update({name: own[rows] for name, own in moments.items()})
    try:
        yield
    finally:
        whole[rows] = matrix.data
        for name, own in list(state.items()):
            if _is_like(own, matrix.data):
                state[name] = moments[name] if name in moments else torch.zeros_like(whole)
                state[name][rows] = own
        matrix.grad = None
        matrix.data = whole


def _is_like(moment: Any, matrix: Tensor) -> bool:
    return isinstance(moment, Tensor) and moment.shape == matrix.shape


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
