"""The resumable state of an unfinished run: everything that going on needs, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from manifests.core.files import replacing
from train.engine.steps import Learner

STATE = "state.safetensors"


@dataclass
class State:
    """What changes while a run goes on, beside what is trained; random draws are a function of
    the step."""

    step: int
    history: list[dict[str, int | float]]
    seconds: float


def save_state(path: Path, learner: Learner, state: State) -> None:
    tensors = {
        f"{kind}.{name}": tensor.contiguous()
        for kind, module in _modules(learner)
        for name, tensor in module.state_dict().items()
    }
    for index, moments in learner.optimizer.state_dict()["state"].items():
        for name, value in moments.items():
            if value is not None:  # the momentum of no step
                tensors[f"optimizer.{index}.{name}"] = value.contiguous()
    with replacing(path) as scratch:
        save_file(tensors, scratch, {"progress": json.dumps(asdict(state))})


def load_state(path: Path, learner: Learner) -> State:
    """Restores the learner that `save_state` wrote."""
    with safe_open(path, framework="pt") as opened:
        state = State(**json.loads(opened.metadata()["progress"]))
    tensors, optimizer = load_file(path), learner.optimizer
    for kind, module in _modules(learner):
        prefix = f"{kind}."
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        module.load_state_dict(own)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            moments.setdefault(int(index), {})[key] = _like(parameters[int(index)], tensor)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    return state


def _modules(learner: Learner) -> Iterator[tuple[str, nn.Module]]:
    yield "network", learner.network
    yield "objective", learner.objective
    if learner.average is not None:
        yield "average", learner.average


def _like(parameter: Tensor, moment: Tensor) -> Tensor:
    """A moment in its parameter's memory layout, which the fused optimizer takes for granted."""
    if moment.shape != parameter.shape:
        return moment
    return torch.empty_like(parameter).copy_(moment)
