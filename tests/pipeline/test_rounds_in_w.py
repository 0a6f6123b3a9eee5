"""Rounds of a generator with a mapping: sampled in w, rendered as their manifests say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.settings.params import Params, PriorRound, load_params
from manifests.stores.latents import LatentManifest
from manifests.stores.reading import FaceStore
from pipeline.arrays.frames import WIDE, to_frame
from pipeline.arrays.numerics import in_fixed_batches
from pipeline.building.workers import Workers
from pipeline.generators import load_generator
from pipeline.render import render_round
from pipeline.sample import (
    open_generator,
    prior,
    prior_of,
    sample_prior,
    save,
    with_drawn_attributes,
)
from tests.gan_control import checkpoint
from tests.stylegans import SMALL2, declare, network_of, write_pickle

ROWS = 70  # more than a batch


@pytest.fixture
def in_w(workspace: Path) -> Params:
    """Parameters of this workspace that draw in w, truncated; the generator's file lies in it."""
    write_pickle(Path("small.pkl"), network_of(2, SMALL2), SMALL2)
    params = load_params()
    render = replace(params.render, frame_size=32)
    return replace(
        params, generator="stylegan2:small.pkl", latent_space="w", psi=0.7, render=render
    )


def test_a_round_in_w_holds_mapped_and_truncated_draws(in_w: Params) -> None:
    manifest = sample_prior("pool", PriorRound(ROWS, 1), in_w)
    recipe = manifest.recipe
    assert (recipe.latent_space, recipe.latent_width, recipe.psi) == ("w", 8, 0.7)
    assert (recipe.generator, recipe.noise_mode) == ("small", "const")
    z = torch.from_numpy(prior(ROWS, 12, "pool", 1))
    wanted = load_generator(in_w.generator, layout.WEIGHTS).in_space("w", 0.7).map(z)
    np.testing.assert_allclose(manifest.latents, wanted, rtol=1e-5, atol=1e-6)


def test_a_round_is_rendered_as_its_manifest_says(in_w: Params) -> None:
    save(sample_prior("pool", PriorRound(ROWS, 1), in_w))
    render_round("pool", replace(in_w, latent_space="z", psi=1.0), workers=Workers(1))
    store = FaceStore.open(layout.faces("pool"))
    assert store.ok().all()  # aligned: nothing is detected
    manifest = LatentManifest.read(layout.manifest("pool"))
    generator = open_generator(in_w)
    pictures = in_fixed_batches(generator.render, torch.from_numpy(manifest.latents))
    assert generator.frame is not None
    crops = to_frame(pictures, generator.frame, WIDE.at(32)).clamp(0, 255).round()
    wanted = crops.permute(0, 2, 3, 1).to(torch.uint8).numpy()
    np.testing.assert_array_equal(store.images(0, ROWS), wanted)
    identity = store.passport.fingerprint.identity
    assert (identity["latent_space"], identity["noise_mode"]) == ("w", "const")
    assert store.passport.lineage["generator"]["psi"] == 0.7


def test_other_weights_of_the_same_name_are_refused(in_w: Params) -> None:
    save(sample_prior("pool", PriorRound(3, 1), in_w))
    write_pickle(Path("small.pkl"), network_of(2, SMALL2, seed=1), SMALL2)
    with pytest.raises(InputError, match=r"latents of generator small \(\w+\), but the pipeline"):
        render_round("pool", in_w, workers=Workers(1))


def test_the_default_generator_has_z_alone(workspace: Path) -> None:
    params = replace(load_params(), latent_space="w")
    with pytest.raises(InputError, match=r"dcgan-digiface has latents of z alone.*found w"):
        sample_prior("pool", PriorRound(3, 1), params)


def test_mining_draws_from_the_same_prior(in_w: Params) -> None:
    generator = open_generator(in_w)
    drawn = prior_of(generator)(np.random.default_rng(3), 5)
    z = np.random.default_rng(3).standard_normal((5, 12)).astype(np.float32)
    np.testing.assert_allclose(drawn, generator.map(torch.from_numpy(z)), rtol=1e-5, atol=1e-6)


def test_each_row_has_attributes_of_its_own(tmp_path: Path) -> None:
    path = declare(tmp_path / "control.pt")
    torch.save({"g_ema": checkpoint()}, path)
    generator = load_generator(f"gan-control:{path}", Path("weights")).in_space("w", 1.0)
    latents = np.zeros((ROWS, 512), np.float32)
    found = with_drawn_attributes(generator, latents, seed=4)
    assert not found[:, :128].any() and not found[:, 384:].any()
    assert len(np.unique(found[:, 128:384], axis=0)) == ROWS
    np.testing.assert_array_equal(with_drawn_attributes(generator, latents, 4), found)
    np.testing.assert_array_equal(with_drawn_attributes(generator, latents[:3], 4), found[:3])
    assert (with_drawn_attributes(generator, latents, 5) != found).any()
