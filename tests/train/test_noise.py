"""Student noise: nothing where it is switched off, reproducible, and mirrored as a mirror is."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from manifests.params import Noise, load_params
from pipeline.frames import ARCFACE112, WIDE, to_frame
from tests.conftest import ROOT
from train.draws import Draws
from train.noise import student_views

SILENT = Noise(
    **{field.name: 0.0 for field in fields(Noise) if field.type == "float"},
    randaugment=0,
    strongest=16,
)
KINDS = [field.name for field in fields(Noise) if field.type == "float"]
STORED, SEEN = WIDE.at(96), ARCFACE112.at(64)


@pytest.fixture
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (6, 96, 96, 3), generator=generator, dtype=torch.uint8)


def views(images: torch.Tensor, noise: Noise, seed: int = 0, flip: bool = False) -> torch.Tensor:
    flips = torch.full((len(images),), flip)
    draws = Draws(torch.Generator().manual_seed(seed), len(images))
    return student_views(images, flips, STORED, SEEN, noise, draws)


def plain(images: torch.Tensor) -> torch.Tensor:
    return to_frame(images.permute(0, 3, 1, 2).float(), STORED, SEEN)


def test_without_noise_a_view_is_the_fixed_warp(images: torch.Tensor) -> None:
    torch.testing.assert_close(views(images, SILENT), plain(images), atol=0.02, rtol=0)


def test_a_flipped_view_is_the_mirrored_crop(images: torch.Tensor) -> None:
    flipped = views(images, SILENT, flip=True)
    torch.testing.assert_close(flipped, plain(images).flip(3), atol=0.02, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_noise_changes_the_picture(images: torch.Tensor, kind: str) -> None:
    noisy = views(images, replace(SILENT, **{kind: 2.0 if kind == "blur" else 0.5}))
    assert (noisy - views(images, SILENT)).abs().mean() > 0.5


def test_default_noise_is_a_function_of_the_seed_and_stays_in_range(images: torch.Tensor) -> None:
    noise = load_params(ROOT / "params.yaml").train.noise
    one, again, other = (views(images, noise, seed) for seed in (3, 3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.min() >= 0 and one.max() <= 255
