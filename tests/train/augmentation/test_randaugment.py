"""RandAugment agrees with Pillow, picture by picture, and draws what the paper says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.references import augmented
from train.augmentation.randaugment import OPERATIONS, rand_augment

# Pillow counts in fixed point: a place just between two pixels may take the other, by whole rows.
BETWEEN_PIXELS = {"rotate", "shear-x"}
ROUNDED = {"autocontrast", "brightness", "color", "contrast", "sharpness"}
SIZE = 24


def picture(seed: int, kind: str) -> np.ndarray:
    """A smooth, a noisy, a flat or a two-coloured picture."""
    rng = np.random.default_rng(seed)
    if kind == "flat":
        return np.full((SIZE, SIZE, 3), rng.integers(256, size=3), np.uint8)
    if kind == "two":
        return rng.choice([10, 200], size=(SIZE, SIZE, 3)).astype(np.uint8)
    noise = rng.integers(256, size=(SIZE, SIZE, 3))
    ramp = np.linspace(40, 180, SIZE)[None, :, None]
    return (noise if kind == "noise" else ramp + noise / 8).astype(np.uint8)


def as_batch(pictures: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("name", OPERATIONS)
@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000),
    kind=st.sampled_from(["flat", "two", "noise", "smooth"]),
    bin=st.integers(1, 30),
    sign=st.sampled_from([-1, 1]),
)
def test_each_operation_is_pillows(name: str, seed: int, kind: str, bin: int, sign: int) -> None:
    shown = [picture(seed, kind), picture(seed + 1, "noise")]
    found = OPERATIONS[name](as_batch(shown).float(), torch.tensor([sign * bin, 15]))
    wanted = as_batch([augmented(shown[0], name, bin, sign), augmented(shown[1], name, 15, 1)])
    away = (found - wanted.float()).abs()
    if name in BETWEEN_PIXELS:
        assert (away > 0).float().mean() < 0.25
        beside = [(found - wanted.float().roll(by, 3)).abs() for by in (-1, 1)]
        away = torch.stack([away, *beside]).amin(dim=0)
        assert (away > 0).float().mean() < 0.02
    else:
        assert away.max() <= (1 if name in ROUNDED else 0)


def test_operations_are_the_papers_thirteen() -> None:
    assert len(OPERATIONS) == 13
    assert not {"shear-y", "translate-y"} & set(OPERATIONS) and "grayscale" in OPERATIONS


def test_strongest_bins_are_the_papers() -> None:
    """At bin 16 of 30: 6 bits kept, inverted from 119 on, moved by 27 of 112 pixels."""
    bin = torch.tensor([16])
    ramp = torch.arange(256.0).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert OPERATIONS["posterize"](ramp, bin).unique().numel() == 64
    inverted = OPERATIONS["solarize"](ramp, bin)[0, 0].flatten()
    assert inverted[118] == 118 and inverted[119] == 136
    column = torch.zeros(1, 3, 112, 112)
    column[:, :, :, 60] = 255.0
    assert OPERATIONS["translate-x"](column, bin)[0, 0, 0].argmax() == 60 - 27


def test_draws_depend_on_the_generator_alone() -> None:
    images = as_batch([picture(seed, "noise") for seed in range(6)])
    first, second = (rand_augment(images, torch.Generator().manual_seed(3)) for _ in "ab")
    assert torch.equal(first, second)
    other = rand_augment(images, torch.Generator().manual_seed(4))
    assert not torch.equal(first, other)


def test_as_many_draws_for_any_content() -> None:
    ends = []
    for kind in ("flat", "noise"):
        generator = torch.Generator().manual_seed(3)
        rand_augment(as_batch([picture(1, kind)]), generator)
        ends.append(torch.rand(1, generator=generator))
    assert torch.equal(*ends)


def test_all_operations_and_bins_are_drawn_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[int]] = {name: [] for name in OPERATIONS}
    for name in OPERATIONS:

        def note(images: torch.Tensor, bins: torch.Tensor, name: str = name) -> torch.Tensor:
            seen[name] += bins.tolist()
            return images

        monkeypatch.setitem(OPERATIONS, name, note)
    rand_augment(torch.zeros(2600, 3, 2, 2, dtype=torch.uint8), torch.Generator().manual_seed(1))
    assert sum(map(len, seen.values())) == 4 * 2600
    assert all(abs(len(each) - 800) < 120 for each in seen.values())
    assert set(itertools.chain(*seen.values())) == {*range(-16, 0), *range(1, 17)}
