"""Student noise: nothing where it is switched off, reproducible, and mirrored as a mirror is."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from manifests.settings.params import load_params
from manifests.settings.training import Noise
from pipeline.arrays.frames import ARCFACE112, WIDE, to_frame
from tests.conftest import ROOT
from tests.references import noise as references
from train.augmentation.draws import Draws
from train.augmentation.noise import GROUP, blurred, coarsened, student_views, turned
from train.augmentation.randaugment import rand_augment

KINDS = [field.name for field in fields(Noise) if field.name not in ("randaugment", "strongest")]
SILENT = Noise(
    **dict.fromkeys(KINDS, 0.0),
    randaugment=0,
    strongest=16,
)
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


@pytest.mark.parametrize(
    "changed", [{}, {"hue": 0.3, "crop": 0.7}, {"gamma": 0.0}, {"gamma": 1.5}, {"grey": 1.0}]
)
def test_views_are_those_of_one_disturbance_after_the_other(changed: dict[str, float]) -> None:
    """To a hundredth of a value in 0..255, for more faces than are disturbed at a time."""
    count = 2 * GROUP + 3
    generator = torch.Generator().manual_seed(1)
    shape = (count, 96, 96, 3)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    images[0] = 0
    noise = replace(load_params(ROOT / "params.yaml").train.noise, **changed)
    flips = torch.arange(count) % 2 == 0
    found, wanted = (
        make(images, flips, STORED, SEEN, noise, Draws(torch.Generator().manual_seed(7), count))
        for make in (student_views, references.student_views)
    )
    few = 0.05 if noise.gamma > 1.0 else 0.01  # such a power enlarges what the warps differ by
    torch.testing.assert_close(found, wanted, atol=few, rtol=0)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_views_lie_in_memory_as_asked(images: torch.Tensor, layout: torch.memory_format) -> None:
    flips, draws = torch.zeros(6, dtype=torch.bool), Draws(torch.Generator().manual_seed(0), 6)
    found = student_views(images, flips, STORED, SEEN, SILENT, draws, layout)
    assert found.is_contiguous(memory_format=layout)
    assert torch.equal(found, views(images, SILENT))


def test_a_blur_is_the_gaussian_of_its_width() -> None:
    point = torch.zeros(2, 3, 33, 33)
    point[:, :, 16, 16] = 1.0
    found = blurred(point, torch.tensor([0.0, 2.0]))
    assert torch.equal(found[0], point[0])
    away = np.exp(-(np.arange(-16, 17) ** 2) / 8.0)
    wanted = np.outer(away, away) / away.sum() ** 2
    np.testing.assert_allclose(found[1, 0].numpy(), wanted, atol=1e-6)


def test_a_blur_keeps_flat_pictures_to_their_edges() -> None:
    flat = torch.full((1, 3, 20, 20), 0.3)
    torch.testing.assert_close(blurred(flat, torch.tensor([3.0])), flat)


def test_colours_turn_about_grey() -> None:
    third, other = turned(torch.tensor([2.0 * np.pi / 3.0, 1.0]))
    red, green = torch.eye(3)[:2]
    torch.testing.assert_close(third @ red, green, atol=1e-6, rtol=0)
    torch.testing.assert_close(other @ torch.ones(3), torch.ones(3))


def test_low_resolution_loses_detail_and_keeps_light() -> None:
    noise = torch.rand(32, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    found = coarsened(noise, 0.5, Draws(torch.Generator().manual_seed(2), 32))
    changed = (found != noise).flatten(1).any(1)
    assert 8 <= int(changed.sum()) <= 24
    assert (found[changed].var((2, 3)) < 0.9 * noise[changed].var((2, 3))).float().mean() > 0.9
    torch.testing.assert_close(found.mean((2, 3)), noise.mean((2, 3)), atol=0.02, rtol=0)


def test_a_crop_shows_a_box_of_the_picture() -> None:
    """A ramp stays a ramp: its slope says how large the box is, its ends where it lies."""
    ramp = torch.arange(96.0).expand(40, 96, 96)
    images = ramp[..., None].expand(40, 96, 96, 3).to(torch.uint8)
    found = views(images, replace(SILENT, crop=1.0))[:, 0]
    slope = (found[:, 32, 60] - found[:, 32, 3]) / 57
    whole = views(images, SILENT)[0, 0]
    full = (whole[32, 60] - whole[32, 3]) / 57
    assert (slope > 0.59 * full).all() and (slope < 1.01 * full).all()
    assert slope.min() < 0.7 * full and slope.max() > 0.9 * full
    assert (found[:, 32, 0] > whole[32, 0] - 0.5).all()
    assert (found[:, 32, 63] < whole[32, 63] + 0.5).all()


def test_randaugment_acts_on_what_the_student_sees(images: torch.Tensor) -> None:
    plain_views = views(images, SILENT).round().to(torch.uint8)
    generator = torch.Generator().manual_seed(0)
    torch.randn(4, 6, generator=generator)  # what comes before it
    torch.randn(6, 6, generator=generator), torch.rand(2, 6, generator=generator)
    torch.rand(2, 6, generator=generator)
    wanted = rand_augment(plain_views, generator, operations=4, strongest=16)
    found = views(images, replace(SILENT, randaugment=4))
    assert torch.equal(found, wanted.float())
    assert not torch.equal(wanted, plain_views)


def test_a_share_of_a_batch_gets_the_noise_of_the_whole(images: torch.Tensor) -> None:
    every = {kind: 0.5 for kind in KINDS}
    noise, flips = Noise(**every, randaugment=2, strongest=16), torch.arange(6) % 2 == 0
    parts = []
    for rows in (slice(None), slice(0, 2), slice(2, 6)):
        draws = Draws(torch.Generator().manual_seed(3), 6, rows)
        parts.append(student_views(images[rows], flips[rows], STORED, SEEN, noise, draws))
    torch.testing.assert_close(torch.cat(parts[1:]), parts[0], atol=1.0, rtol=0)
    assert ((torch.cat(parts[1:]) - parts[0]).abs() > 0.01).float().mean() < 1e-3
