"""Teaching a block: the loss by its twin, who is drawn, and that all behind it stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from manifests.core.errors import InputError
from manifests.settings.adaptation import Adaptation
from tests.references import prepended
from train.adapting.contrast import Modality, contrastive_loss, draw, fit_block, rate
from train.checkpoint import weights_sha256
from train.students import build_student
from train.students.prepended import Adapted, PrependedBlock

SIDE = 32
SETTINGS = Adaptation(people=4, images=3, epochs=12, warmup_epochs=1, learning_rate=1e-2)


@given(
    st.integers(0, 2**32 - 1), st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([None, 0.5, 0.9])
)
def test_the_loss_is_the_slow_twin_s(seed: int, margin: float, genuine: float | None) -> None:
    generator = torch.Generator().manual_seed(seed)
    one, other = (
        functional.normalize(torch.randn(n, 5, generator=generator, dtype=torch.float64))
        for n in (4, 6)
    )
    same = torch.rand(4, 6, generator=generator) < 0.4
    same[0, 0], same[0, 1] = True, False  # as in every step: there are pairs of both kinds
    found = float(contrastive_loss(one, other, same, margin, genuine))
    rows = one.numpy(), other.numpy(), same.numpy()
    wanted = prepended.contrastive(*rows, margin, genuine)
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_equal_embeddings_have_a_gradient_that_is_finite() -> None:
    rows = functional.normalize(torch.ones(2, 3)).requires_grad_()
    contrastive_loss(rows.detach(), rows, torch.eye(2, dtype=torch.bool), 2.0, 0.5).backward()
    assert rows.grad is not None and bool(rows.grad.isfinite().all())


def test_people_come_in_turn_and_a_picture_twice_only_where_there_are_too_few() -> None:
    person = np.repeat([0, 1, 2], [5, 2, 9])
    rows = draw(person, np.array([2, 1]), 4, np.random.default_rng(0))
    assert person[rows].tolist() == [2] * 4 + [1] * 4
    assert len(set(rows[:4].tolist())) == 4 and set(rows[4:].tolist()) <= {5, 6}


@given(st.integers(1, 50), st.integers(1, 20), st.integers(0, 19))
def test_the_rate_rises_to_its_peak_and_falls(per_epoch: int, epochs: int, warmup: int) -> None:
    settings = Adaptation(epochs=epochs, warmup_epochs=min(warmup, epochs - 1))
    steps = per_epoch * epochs
    rates = [rate(step, steps, settings) for step in range(1, steps + 1)]
    top = int(np.argmax(rates))
    assert all(0 < each <= settings.learning_rate for each in rates)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert max(rates) >= settings.learning_rate * steps / (steps + 1)


def modalities(people: int = 8, each: int = 3) -> tuple[Modality, Modality]:
    """Patches of colour, a pattern a person, and their negatives."""
    generator = torch.Generator().manual_seed(2)
    person = np.repeat(np.arange(people), each)
    coarse = torch.rand(people, 3, 4, 4, generator=generator) * 200 + 25
    pictures = functional.interpolate(coarse, SIDE)[torch.from_numpy(person)]
    noise = torch.randn(2, *pictures.shape, generator=generator) * 8
    one, other = (
        each.round().clamp(0, 255).to(torch.uint8)
        for each in (pictures + noise[0], 255 - pictures + noise[1])
    )
    return Modality(one, person), Modality(other, person)


def a_network(source: Modality) -> nn.Module:
    torch.manual_seed(3)
    network = build_student("small-resnet", input_size=SIDE, width=0.25, embedding_width=16)
    with torch.no_grad():
        for _ in range(30):  # normalisation gets to know the pictures
            network.train()(source.pictures.float())
    return network.eval().requires_grad_(False)


def taught(settings: Adaptation = SETTINGS) -> tuple[Adapted, list[float], str]:
    """With the loss of each epoch, and the digest of the network before."""
    source, target = modalities()
    network = a_network(source)
    before = weights_sha256(network)
    torch.manual_seed(settings.seed)
    adapted = Adapted(PrependedBlock(), network)
    losses = [found["loss"] for found in fit_block(adapted, source, target, settings)]
    return adapted, losses, before


def test_a_block_learns_and_the_network_behind_it_keeps_its_bits() -> None:
    adapted, losses, before = taught()
    assert len(losses) == SETTINGS.epochs and losses[-1] < losses[0]
    assert weights_sha256(adapted.network) == before
    assert all(parameter.grad is None for parameter in adapted.network.parameters())


def test_one_seed_gives_one_block_and_another_seed_another() -> None:
    short = Adaptation(people=4, images=2, epochs=2)
    first, again, other = (
        weights_sha256(taught(settings)[0].block)
        for settings in (short, short, Adaptation(people=4, images=2, epochs=2, seed=8))
    )
    assert first == again != other


def test_a_loss_that_is_not_finite_is_told() -> None:
    source, target = modalities()
    network = a_network(source)
    adapted = Adapted(PrependedBlock(), network)
    with torch.no_grad():
        adapted.block.back.weight.fill_(float("nan"))
    with pytest.raises(InputError, match="loss is nan in epoch 0; lower learning_rate"):
        list(fit_block(adapted, source, target, SETTINGS))
