"""What every generator must keep."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor

from manifests.core.digests import canonical_json
from manifests.core.errors import InputError
from manifests.stores.latents import SPACES
from pipeline.arrays.numerics import in_fixed_batches
from pipeline.generators.base import AUTO, Generator
from tests.contracts.backends import ROWS, SHA256


class GeneratorContract:
    """Needs the fixture `generator`."""

    @pytest.fixture
    def z(self, generator: Generator) -> Tensor:
        rng = np.random.default_rng(0)
        return torch.from_numpy(rng.standard_normal((ROWS, generator.prior_width), np.float32))

    @pytest.fixture
    def latents(self, generator: Generator, z: Tensor) -> Tensor:
        return in_fixed_batches(generator.map, z)

    @pytest.fixture
    def pictures(self, generator: Generator, latents: Tensor) -> Tensor:
        return in_fixed_batches(generator.render, latents)

    def test_the_prior_has_latents_of_the_stated_width(
        self, generator: Generator, latents: Tensor
    ) -> None:
        assert latents.dtype == torch.float32
        assert latents.shape == (ROWS, generator.latent_width)
        assert latents.isfinite().all()

    def test_company_of_a_draw_changes_no_bit(
        self, generator: Generator, z: Tensor, latents: Tensor
    ) -> None:
        assert torch.equal(in_fixed_batches(generator.map, z[7:10]), latents[7:10])

    def test_attributes_of_a_row_are_its_own(
        self, generator: Generator, z: Tensor, latents: Tensor
    ) -> None:
        found = generator.with_attributes(latents, z.flip(0))
        assert found.shape == latents.shape
        assert torch.equal(generator.with_attributes(latents, z), latents)

    def test_settling_where_it_is_changes_nothing(
        self, generator: Generator, latents: Tensor, pictures: Tensor
    ) -> None:
        psi = getattr(generator, "psi", 1.0)
        same = generator.in_space(generator.latent_space, psi)
        assert same.identity() == generator.identity()
        assert torch.equal(in_fixed_batches(same.render, latents), pictures)

    def test_it_may_choose_a_space_itself(self, generator: Generator, z: Tensor) -> None:
        psi = getattr(generator, "psi", 1.0)
        chosen = generator.in_space(AUTO, psi)
        assert chosen.latent_space in SPACES
        assert in_fixed_batches(chosen.map, z).shape == (ROWS, chosen.latent_width)

    def test_an_unknown_space_is_refused(self, generator: Generator) -> None:
        with pytest.raises(InputError, match=generator.name):
            generator.in_space("x", 1.0)

    def test_pictures_are_square_float_rgb(self, pictures: Tensor) -> None:
        assert pictures.dtype == torch.float32
        assert pictures.shape == (ROWS, 3, pictures.shape[2], pictures.shape[2])

    def test_pixels_are_whole_numbers_up_to_255(self, pictures: Tensor) -> None:
        assert torch.equal(pictures, pictures.round().clamp(0, 255))
        assert pictures.max() > 1.0  # not a picture in 0..1

    def test_different_latents_give_different_pictures(self, pictures: Tensor) -> None:
        assert len(torch.unique(pictures, dim=0)) == ROWS

    def test_order_of_rows_changes_no_bit(
        self, generator: Generator, latents: Tensor, pictures: Tensor
    ) -> None:
        order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(1))
        assert torch.equal(in_fixed_batches(generator.render, latents[order]), pictures[order])

    def test_company_of_a_row_changes_no_bit(
        self, generator: Generator, latents: Tensor, pictures: Tensor
    ) -> None:
        assert torch.equal(in_fixed_batches(generator.render, latents[7:10]), pictures[7:10])

    def test_no_latents_give_no_pictures(self, generator: Generator, pictures: Tensor) -> None:
        none = in_fixed_batches(generator.render, torch.empty(0, generator.latent_width))
        assert none.shape == (0, *pictures.shape[1:])

    def test_declared_frame_has_the_size_of_the_pictures(
        self, generator: Generator, pictures: Tensor
    ) -> None:
        assert generator.frame is None or generator.frame.size == pictures.shape[2]

    def test_identity_survives_json(self, generator: Generator) -> None:
        identity = generator.identity()
        assert json.loads(canonical_json(identity)) == identity
        assert identity["name"] == generator.name
        assert SHA256.fullmatch(identity["weights_sha256"])
        assert identity["latent_width"] == generator.latent_width
        assert identity["latent_space"] in SPACES
        assert (identity["frame"] is None) == (generator.frame is None)

    def test_licence_is_stated(self, generator: Generator) -> None:
        assert generator.licence.strip()
