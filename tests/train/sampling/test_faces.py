"""Fresh faces: an endless row that can be taken up anywhere, made as those of a store are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.settings.params import PriorRound
from manifests.stores.latents import LatentManifest
from manifests.stores.rounds import open_round
from pipeline.arrays.numerics import BATCH
from pipeline.building.workers import Workers
from pipeline.embed import embed_round
from pipeline.render import render_round
from pipeline.sample import sample_prior, save
from tests.train.sampling.toys import online_params, studio_of
from train.sampling.faces import MOST_BARREN, FreshFaces, Made, Studio, joined, open_studio

SEED = (5, 0)


def numbered(latents: np.ndarray) -> Made:
    """Faces of one pixel, one view and one coordinate."""
    return Made(latents, np.zeros((len(latents), 1, 1, 3), np.uint8), latents[:, None])


class Counted(Studio):
    """Latents are numbers from 0 on; every `share`-th of them shows a face."""

    share = 3

    def draw(self, seed: object) -> np.ndarray:
        *_, chunk = tuple(seed)  # type: ignore[arg-type]
        return (np.arange(BATCH, dtype=np.float32) + BATCH * chunk)[:, None]

    def make(self, latents: np.ndarray) -> Made:
        return numbered(latents[latents[:, 0] % self.share == 0])


class Blind(Counted):
    def make(self, latents: np.ndarray) -> Made:
        return numbered(latents[:0])


@pytest.fixture
def counted(workspace: Path) -> Counted:
    return Counted(**vars(studio_of(online_params())))


def test_each_usable_face_comes_once_and_in_order(counted: Counted) -> None:
    fresh = FreshFaces(counted, SEED)
    taken = [fresh.take(count).latents[:, 0] for count in (1, 20, 21, 22, 100)]
    assert [len(each) for each in taken] == [1, 20, 21, 22, 100]
    assert np.array_equal(np.concatenate(taken), 3.0 * np.arange(164))


@pytest.mark.parametrize("before", [1, 21, 22, 23, 50])
def test_at_any_place_it_goes_on(counted: Counted, before: int) -> None:
    whole, begun = FreshFaces(counted, SEED), FreshFaces(counted, SEED)
    begun.take(before)
    again = FreshFaces(counted, SEED, *begun.place)
    assert np.array_equal(again.take(30).latents, whole.take(before + 30).latents[before:])


def test_who_never_shows_a_face_is_not_waited_for(workspace: Path) -> None:
    blind = Blind(**vars(studio_of(online_params())))
    with pytest.raises(InputError, match=f"no face was found in {MOST_BARREN * BATCH} of its pic"):
        FreshFaces(blind, SEED).take(1)


def test_draws_are_mapped_and_every_chunk_has_its_own(workspace: Path) -> None:
    studio = studio_of(online_params())
    one, same, other = (studio.draw((5, 0, chunk)) for chunk in (0, 0, 1))
    assert np.array_equal(one, same) and not np.isin(one, other).any()
    z = np.random.default_rng((5, 0, 0)).standard_normal((BATCH, 12)).astype(np.float32)
    wanted = studio.generator.map(torch.from_numpy(z))
    np.testing.assert_allclose(one, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("space", ["w", "z"])
def test_a_face_is_as_a_store_would_hold_it(workspace: Path, space: str) -> None:
    """In w of a StyleGAN, whose pictures are aligned, and in z of the default generator, in whose
    pictures faces are looked for."""
    params = online_params()
    if space == "z":
        params = replace(params, generator="dcgan-digiface", latent_space="z")
    save(sample_prior("pool", PriorRound(BATCH, 1), params))
    render_round("pool", params, workers=Workers(1))
    embed_round("pool", params.teacher, params, workers=Workers(1))
    files = open_round("pool", params.teacher)
    latents = LatentManifest.read(layout.manifest("pool")).latents
    ok, studio = files.faces.ok(), open_studio(params, mirrored=True)
    made = studio.make(np.array(latents))
    assert np.array_equal(made.latents, latents[ok])
    assert np.array_equal(made.images, files.faces.images(0, BATCH)[ok])
    stored = files.teacher.embeddings()[ok]
    assert np.array_equal(made.targets.astype(np.float16), stored)
    plain = replace(studio, mirrored=False).make(np.array(latents))
    assert np.array_equal(plain.targets, made.targets[:, :1])


def test_parts_are_joined_again() -> None:
    rows = np.arange(10, dtype=np.float32)[:, None]
    made = numbered(rows)
    again = joined([made.part(0, 3), made.part(3, 3), made.part(3, 10)])
    assert np.array_equal(again.latents, rows) and len(again) == 10
