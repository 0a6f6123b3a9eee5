"""Optimizers, schedules and the average of weights, beside their formulas."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from manifests.settings.objectives import Margin
from manifests.settings.params import load_params
from manifests.settings.training import Run, Train
from tests.conftest import ROOT
from train.engine.optimizers import (
    Average,
    learning_rate,
    make_optimizer,
    orthogonalised,
    sampled_rows,
)
from train.losses.margin_heads import MarginHead
from train.losses.objectives import Objective, Supervision


@pytest.fixture
def train() -> Train:
    return replace(load_params(ROOT / "params.yaml").train, warmup_faces=0, batch=1)


def with_engine(train: Train, **changes: Any) -> Train:
    return replace(train, engine=replace(train.engine, **changes))


def shares(train: Train, run: Run, steps: int = 100) -> np.ndarray:
    rates = [learning_rate(step, steps, run, train) for step in range(steps)]
    return np.array(rates) / train.learning_rate


def test_cosine_falls_from_one_rate_to_the_other(train: Train) -> None:
    found = shares(with_engine(train, schedule="cosine"), Run(100, 1.0, 0.2))
    assert found[0] == 1.0 and found[50] == pytest.approx(0.6)
    assert found[25] == pytest.approx(0.2 + 0.8 * (1 + math.sqrt(0.5)) / 2)
    assert (np.diff(found) < 0).all() and found[-1] == pytest.approx(0.2, abs=1e-3)


def test_step_falls_at_each_drop(train: Train) -> None:
    own = with_engine(train, schedule="step", drops=(0.5, 0.75), drop_factor=0.1)
    wanted = np.repeat([0.8, 0.08, 0.008], [50, 25, 25])
    np.testing.assert_allclose(shares(own, Run(100, 0.8, 0.0)), wanted)


def test_every_schedule_warms_up(train: Train) -> None:
    warm = replace(train, warmup_faces=10)
    for schedule in ("linear", "cosine", "step"):
        rates = shares(with_engine(warm, schedule=schedule, drops=()), Run(100, 1.0, 1.0))
        np.testing.assert_allclose(rates[:11], [*np.arange(1, 11) / 10, 1.0])


class Length(Objective):
    """Of the outputs, without parameters of its own."""

    def forward(self, embeddings: Tensor, supervision: Supervision) -> Tensor:
        return embeddings.norm()


def one_step(train: Train, gradient: float) -> float:
    """Where a weight of 1 is after one step at a rate of 0.1."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.ones_(network.weight)
    optimizer = make_optimizer(network, Length(), replace(train, weight_decay=0.5))
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    network.weight.grad = torch.full((1, 1), gradient)
    optimizer.step()
    return float(network.weight.detach())


def test_adamw_decays_the_weight_itself(train: Train) -> None:
    assert one_step(train, 3.0) == pytest.approx(1.0 * (1 - 0.1 * 0.5) - 0.1)


def test_sgd_adds_decay_to_the_gradient(train: Train) -> None:
    assert one_step(with_engine(train, optimizer="sgd"), 3.0) == pytest.approx(1 - 0.1 * (3 + 0.5))


def test_biases_and_normalisation_do_not_decay(train: Train) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    groups = make_optimizer(network, Length(), train).param_groups
    assert [len(group["params"]) for group in groups] == [1, 3]
    assert groups[0]["weight_decay"] == train.weight_decay and groups[1]["weight_decay"] == 0.0


def test_an_objectives_own_weights_are_trained_and_fixed_ones_left_alone(train: Train) -> None:
    objective = Length()
    objective.head, objective.fixed = nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False)
    groups = make_optimizer(nn.Linear(1, 1), objective, train).param_groups
    assert [len(group["params"]) for group in groups] == [2, 2]


def orthogonalised_slowly(matrix: np.ndarray) -> np.ndarray:
    """Newton-Schulz as it is written in the source, in double precision."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / np.linalg.norm(x)
    for _ in range(3):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if tall else x


@pytest.mark.parametrize("shape", [(8, 8), (40, 360), (96, 24), (1, 9), (9, 1)])
@pytest.mark.parametrize("rank", [1, 3, 100])
def test_orthogonalised_is_newton_schulz(shape: tuple[int, int], rank: int) -> None:
    rng = np.random.default_rng(0)
    inner = min(rank, *shape)
    matrix = rng.normal(size=(shape[0], inner)) @ rng.normal(size=(inner, shape[1]))
    found = orthogonalised(torch.from_numpy(matrix).float()).numpy()
    np.testing.assert_allclose(found, orthogonalised_slowly(matrix), atol=2e-3)
    assert np.linalg.svd(found, compute_uv=False).max() < 1.3


def test_nothing_to_orthogonalise_stays_nothing() -> None:
    assert not orthogonalised(torch.zeros(4, 6)).any()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_muon_steps_as_torchs_does(train: Train, layout: torch.memory_format) -> None:
    """torch's takes matrices, in bfloat16: hence the tolerance, of a step of 0.02."""
    own = replace(with_engine(train, optimizer="muon", muon_rate=4.0), weight_decay=0.0)
    network = nn.Conv2d(8, 16, 3, bias=False).to(memory_format=layout)  # type: ignore[call-overload]
    matrix = nn.Parameter(network.weight.detach().flatten(1).clone())
    theirs = torch.optim.Muon([matrix], lr=0.005 * 4.0, weight_decay=0.0, ns_steps=3)
    optimizer = make_optimizer(network, Length(), own)
    for group in optimizer.param_groups:
        group["lr"] = 0.005
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        gradient = torch.randn(16, 8, 3, 3, generator=generator)
        network.weight.grad = gradient.contiguous(memory_format=layout)
        matrix.grad = gradient.flatten(1)
        optimizer.step()
        theirs.step()
    torch.testing.assert_close(network.weight.flatten(1), matrix, atol=6e-4, rtol=0.0)


def test_muon_turns_the_filters_of_features_alone(train: Train) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Linear(8, 2)
    )
    groups = make_optimizer(network, Length(), with_engine(train, optimizer="muon")).param_groups
    (turned,) = [group["params"] for group in groups if group["filters"]]
    assert [id(each) for each in turned] == [id(network[1].weight)]
    assert sum(len(group["params"]) for group in groups) == 8


def test_muon_leaves_all_else_to_adamw(train: Train) -> None:
    assert one_step(with_engine(train, optimizer="muon"), 3.0) == pytest.approx(0.95 - 0.1)


def test_muon_decays_filters_at_the_rate_itself(train: Train) -> None:
    network = nn.Conv2d(4, 4, 1, bias=False)
    before = network.weight.detach().clone()
    own = replace(with_engine(train, optimizer="muon"), weight_decay=0.5)
    optimizer = make_optimizer(network, Length(), own)
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    network.weight.grad = torch.zeros_like(before)
    optimizer.step()
    torch.testing.assert_close(network.weight, before * 0.95)


def test_the_second_beta_is_what_params_say(train: Train) -> None:
    """Two gradients, 3 and 0: the second step is that of AdamW's formula."""
    for name in ("adamw", "muon"):
        network = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(network.weight)
        own = with_engine(train, optimizer=name, beta2=0.5)
        optimizer = make_optimizer(network, Length(), own)
        for gradient in (3.0, 0.0):
            for group in optimizer.param_groups:
                group.update(lr=0.1, weight_decay=0.0)
            network.weight.grad = torch.full((1, 1), gradient)
            optimizer.step()
        mean, square = 0.9 * 0.1 * 3 / (1 - 0.9**2), 0.5 * 0.5 * 9 / (1 - 0.5**2)
        assert float(network.weight.detach()) == pytest.approx(-0.1 - 0.1 * mean / square**0.5)


NAMES = ("adamw", "sgd", "muon")


def heads_step(
    head: MarginHead, optimizer: torch.optim.Optimizer, labels: Tensor, seed: int
) -> None:
    outputs = torch.randn(len(labels), 5, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad(set_to_none=True)
    head(outputs, labels)[0].backward()
    for group in optimizer.param_groups:
        group["lr"] = 0.01
    with sampled_rows(head, optimizer):
        optimizer.step()


def moments_of(optimizer: torch.optim.Optimizer, parameter: Tensor) -> list[Tensor]:
    state = optimizer.state[parameter]
    return [own.clone() for own in state.values() if getattr(own, "shape", ()) == parameter.shape]


@pytest.mark.parametrize("name", NAMES)
def test_prototypes_that_were_not_sampled_stay_where_they_are(train: Train, name: str) -> None:
    torch.manual_seed(0)
    head = MarginHead(Margin("arcface", sample_rate=0.25), 40, 5)
    optimizer = make_optimizer(nn.Identity(), head, with_engine(train, optimizer=name))
    for seed in range(4):
        whole = head.prototypes.detach().clone()
        before = moments_of(optimizer, head.prototypes)
        heads_step(head, optimizer, torch.tensor([3, 9, 3, -1]), seed)
        assert head.sampled is not None and head.prototypes.shape == (40, 5)
        still = torch.ones(40, dtype=torch.bool)
        still[head.sampled] = False
        after = moments_of(optimizer, head.prototypes)
        assert len(after) == {"adamw": 2, "sgd": 1, "muon": 2}[name]
        assert torch.equal(head.prototypes[still], whole[still])
        assert (head.prototypes[~still] != whole[~still]).all(dim=1).all()
        for old, new in zip(before, after, strict=False):
            assert torch.equal(old[still], new[still]) and not torch.equal(old, new)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dense", [False, True], ids=["sparse", "dense"])
def test_a_step_of_sampled_rows_is_that_of_a_matrix_of_them(
    train: Train, name: str, dense: bool
) -> None:
    """`dense`: as several processes add their gradients up."""
    own = with_engine(train, optimizer=name)
    rows, generator = torch.tensor([1, 4, 7]), torch.Generator().manual_seed(0)
    head = MarginHead(Margin("arcface", sample_rate=0.5), 9, 5)
    small = nn.Linear(5, 3, bias=False)
    small.weight.data.copy_(head.prototypes[rows])
    optimizers = [make_optimizer(each, Length(), own) for each in (head, small)]
    for _ in range(3):
        gradient = torch.randn(3, 5, generator=generator)
        small.weight.grad = gradient.clone()
        whole = torch.sparse_coo_tensor(rows[None], gradient, (9, 5), check_invariants=True)
        head.prototypes.grad, head.sampled = whole.to_dense() if dense else whole, rows
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = 0.01
        with sampled_rows(head, optimizers[0]):
            optimizers[0].step()
        optimizers[1].step()
    assert torch.equal(head.prototypes[rows], small.weight)


def test_all_rows_are_a_whole_step_to_the_bit(train: Train) -> None:
    everybody, ends = torch.arange(12), []
    for rate in (1.0, 0.5):  # the batch shows all: none is left out
        torch.manual_seed(0)
        head = MarginHead(Margin("arcface", sample_rate=rate), 12, 5)
        optimizer = make_optimizer(nn.Identity(), head, with_engine(train, optimizer="adamw"))
        for seed in range(3):
            heads_step(head, optimizer, everybody, seed)
        ends.append([head.prototypes.detach(), *moments_of(optimizer, head.prototypes)])
    assert all(torch.equal(*both) for both in zip(*ends, strict=True))


def test_a_step_that_is_not_made_leaves_the_matrix_whole(train: Train) -> None:
    head = MarginHead(Margin("arcface", sample_rate=0.25), 40, 5)
    before = head.prototypes.detach().clone()
    optimizer = make_optimizer(nn.Identity(), head, train)
    head(torch.randn(2, 5), torch.tensor([1, 2]))[0].backward()
    with pytest.raises(KeyError), sampled_rows(head, optimizer):
        raise KeyError
    assert torch.equal(head.prototypes.detach(), before)


def test_the_average_is_that_of_the_formula() -> None:
    network = nn.BatchNorm1d(1)
    average = Average(network, decay=0.5)
    wanted = {name: float(value) for name, value in network.state_dict().items()}
    for step in range(6):
        with torch.no_grad():
            network.weight.fill_(step + 2.0)
            network.running_mean.fill_(step - 7.0)
            network.num_batches_tracked.fill_(step + 1)
        average.update(network, step)
        kept = min(0.5, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            floating = value.is_floating_point()
            wanted[name] = (
                kept * wanted[name] + (1 - kept) * float(value) if floating else float(value)
            )
    found = {name: float(value) for name, value in average.network.state_dict().items()}
    assert found == pytest.approx(wanted)
    assert not any(parameter.requires_grad for parameter in average.parameters())
