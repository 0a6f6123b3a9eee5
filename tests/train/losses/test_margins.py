"""Margins against their slow twins; what each does to the own identity and to nobody else."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.references import losses as slow
from train.losses.margins import (
    adaface_logits,
    arcface_logits,
    cosface_logits,
    labelled_cross_entropy,
    norm_qualities,
)

COSINES = st.floats(-0.999, 0.999)
LABELS = torch.tensor([1])


def row(cosine: float) -> torch.Tensor:
    return torch.tensor([[0.25, cosine, -0.5]])


@given(COSINES, st.floats(0, 1), st.booleans())
def test_arcface_adds_to_the_angle_of_the_own_identity(
    cosine: float, margin: float, monotonic: bool
) -> None:
    margins = torch.tensor([margin])
    (found,) = arcface_logits(row(cosine), LABELS, margins, 64.0, monotonic=monotonic).tolist()
    expected = [16.0, slow.arcface_logit(cosine, margin, 64.0, monotonic), -32.0]
    if abs(math.acos(cosine) + margin - math.pi) > 1e-3:  # either side of where the angle ends
        assert found == pytest.approx(expected, abs=1e-2)


@given(COSINES, st.floats(0, 1))
def test_cosface_takes_from_the_cosine_of_the_own_identity(cosine: float, margin: float) -> None:
    (found,) = cosface_logits(row(cosine), LABELS, torch.tensor([margin]), 8.0).tolist()
    assert found == pytest.approx([2.0, 8.0 * (cosine - margin), -4.0], abs=1e-5)


@given(COSINES, st.floats(-1, 1))
def test_adaface_is_its_twin(cosine: float, quality: float) -> None:
    found = adaface_logits(row(cosine), LABELS, torch.tensor([quality]), 0.4, 64.0)
    expected = [16.0, slow.adaface_logit(cosine, quality, 0.4, 64.0), -32.0]
    assert found[0].tolist() == pytest.approx(expected, abs=2e-2)


@given(COSINES)
def test_adaface_lies_between_arcface_and_cosface(cosine: float) -> None:
    margin = torch.tensor([0.4])
    poor, plain = (
        adaface_logits(row(cosine), LABELS, torch.tensor([q]), 0.4, 64.0) for q in (-1.0, 0.0)
    )
    if math.acos(cosine) + 0.4 < math.pi:
        torch.testing.assert_close(
            poor, arcface_logits(row(cosine), LABELS, margin, 64.0), atol=0.05, rtol=0
        )
    torch.testing.assert_close(
        plain, cosface_logits(row(cosine), LABELS, margin, 64.0), atol=0.05, rtol=0
    )


@given(st.floats(0, 200), st.floats(1, 50), st.floats(0, 20))
def test_quality_is_the_standardised_norm(norm: float, mean: float, spread: float) -> None:
    found = norm_qualities(torch.tensor([norm]), torch.tensor(mean), torch.tensor(spread), 0.333)
    expected = slow.adaface_quality(norm, mean, spread, 0.333)
    assert float(found) == pytest.approx(expected, abs=1e-4)


def test_no_gradient_goes_through_the_quality() -> None:
    norms = torch.tensor([3.0], requires_grad=True)
    found = norm_qualities(norms, torch.tensor(2.0), torch.tensor(1.0), 0.333)
    assert not found.requires_grad


@given(st.integers(0, 2**32 - 1))
def test_cross_entropy_leaves_unlabelled_rows_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(0, 3, (6, 4)), rng.integers(-1, 4, 6)
    found = labelled_cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    expected = slow.labelled_cross_entropy(logits, labels.tolist())
    assert float(found) == pytest.approx(expected, rel=1e-6)


def margined(name: str, cosines: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    some = torch.full((len(labels),), 0.5)
    if name == "adaface":
        return adaface_logits(cosines, labels, some, 0.4, 64.0)
    return {"arcface": arcface_logits, "cosface": cosface_logits}[name](cosines, labels, some, 64.0)


@pytest.mark.parametrize("name", ["arcface", "cosface", "adaface"])
def test_a_row_without_a_label_keeps_its_cosines(name: str) -> None:
    cosines = torch.tensor([[0.1, 0.9, -0.4]])
    assert torch.equal(margined(name, cosines, torch.tensor([-1])), 64.0 * cosines)


@pytest.mark.parametrize("name", ["arcface", "cosface", "adaface"])
def test_a_margin_makes_it_harder_and_its_gradient_is_finite_everywhere(name: str) -> None:
    cosines = torch.linspace(-1, 1, 41)[:, None].repeat(1, 2).requires_grad_(True)
    labels = torch.zeros(41, dtype=torch.long)
    logits = margined(name, cosines, labels)
    assert (logits[:, 0] <= 64.0 * cosines[:, 0] + 1e-3).all()
    labelled_cross_entropy(logits, labels).backward()
    assert cosines.grad is not None and torch.isfinite(cosines.grad).all()


@pytest.mark.parametrize("name", ["arcface", "cosface"])
def test_the_own_logit_rises_with_the_cosine(name: str) -> None:
    cosines = torch.linspace(-1, 1, 201)[:, None]
    labels = torch.zeros(201, dtype=torch.long)
    own = margined(name, cosines, labels)[:, 0]
    assert (own.diff() > -1e-4).all()


def test_arcface_as_it_is_lets_off_a_face_opposite_to_its_identity() -> None:
    cosines = torch.linspace(-1, 1, 201)[:, None]
    labels = torch.zeros(201, dtype=torch.long)
    own = margined("arcface", cosines, labels)[:, 0]
    plain = arcface_logits(cosines, labels, torch.full((201,), 0.5), 64.0, monotonic=False)
    assert plain[0, 0] > own[0]
    assert plain[:, 0].argmin() > 0 and torch.equal(plain[20:, 0], own[20:])


@pytest.mark.parametrize("name", ["arcface", "cosface", "adaface"])
def test_nobody_is_moved_who_is_not_the_own_identity(name: str) -> None:
    cosines = torch.rand(3, 5) - 0.5
    labels = torch.tensor([2, -1, 0])
    found = margined(name, cosines, labels)
    others = torch.ones_like(cosines, dtype=torch.bool)
    others[0, 2] = others[2, 0] = False
    assert torch.equal(found[others], 64.0 * cosines[others])
    assert not (found == 64.0 * cosines)[~others].any()
