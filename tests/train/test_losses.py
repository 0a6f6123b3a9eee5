"""Losses against their obvious NumPy forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from train.losses import LOSSES, cosine, standardised_mse


def pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((7, 5)), rng.standard_normal((7, 5))


@given(st.integers(0, 2**32 - 1))
def test_cosine_is_the_mean_of_one_minus_each_rows_cosine(seed: int) -> None:
    outputs, targets = pair(seed)
    rows = [
        1 - np.dot(o, t) / (np.linalg.norm(o) * np.linalg.norm(t))
        for o, t in zip(outputs, targets, strict=True)
    ]
    found = cosine(torch.from_numpy(outputs).float(), torch.from_numpy(targets).float())
    assert float(found) == pytest.approx(np.mean(rows), abs=1e-5)


@given(st.integers(0, 2**32 - 1))
def test_mse_averages_over_rows_and_coordinates(seed: int) -> None:
    outputs, targets = pair(seed)
    expected = sum((o - t) ** 2 for o, t in zip(outputs.flat, targets.flat, strict=True)) / 35
    found = standardised_mse(torch.from_numpy(outputs).float(), torch.from_numpy(targets).float())
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_zero_at_the_target_and_positive_elsewhere(name: str) -> None:
    targets = torch.from_numpy(pair(1)[1]).float()
    assert float(LOSSES[name](targets, targets)) == pytest.approx(0.0, abs=1e-6)
    assert float(LOSSES[name](targets.roll(1, 0), targets)) > 0.1


def test_cosine_does_not_see_the_length_of_an_output() -> None:
    outputs, targets = (torch.from_numpy(array).float() for array in pair(2))
    assert float(cosine(outputs * 9, targets)) == pytest.approx(float(cosine(outputs, targets)))
