from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from manifests.core.errors import InputError
from manifests.settings.params import Detection
from pipeline.arrays.frames import ARCFACE112, WIDE, Frame, to_frame
from pipeline.building.faces import render_faces
from pipeline.generators import load_generator
from pipeline.generators.base import Generator
from pipeline.render import aligner_for
from tests.contracts import FileContract, GeneratorContract


class AlignedToy(Generator):
    """Waves whose directions are the latent; declares that its pictures are aligned."""

    name = "aligned-toy"
    weights_sha256 = "0" * 64
    latent_width = 2
    latent_space = "z"
    frame: Frame | None = ARCFACE112.at(32)
    licence = "CC0-1.0"

    def to(self, device: torch.device) -> None:
        assert device.type == "cpu"  # it has no weights to move

    def render(self, latents: torch.Tensor) -> torch.Tensor:
        places = torch.linspace(-3.0, 3.0, 32)
        x, y = latents[:, 0, None, None] * places, latents[:, 1, None, None] * places[:, None]
        waves = torch.stack([torch.sin(x + y), torch.cos(x - y), torch.sin(x * 2 - y)], dim=1)
        return ((waves + 1.0) * 127.5).round()


class TestDcganDigiface(GeneratorContract, FileContract):
    @pytest.fixture
    def generator(self, dcgan: Generator) -> Generator:
        return dcgan

    @pytest.fixture
    def backend(self, dcgan: Generator) -> Generator:
        return dcgan


class TestAlignedToy(GeneratorContract):
    @pytest.fixture
    def generator(self) -> Generator:
        return AlignedToy()


def test_declared_frame_needs_no_aligner(tmp_path: Path) -> None:
    assert aligner_for(AlignedToy(), "dlib", tmp_path) is None  # whose weights are not here
    latents = np.random.default_rng(0).standard_normal((70, 2), np.float32)
    stored = WIDE.at(48)
    batches = list(render_faces(AlignedToy(), None, [Detection(96, 0.5)], latents, stored))
    assert [len(batch.ok) for batch in batches] == [64, 6]
    assert all(batch.ok.all() and np.isnan(batch.landmarks).all() for batch in batches)
    pictures = to_frame(AlignedToy().render(torch.from_numpy(latents)), ARCFACE112.at(32), stored)
    wanted = pictures.round().permute(0, 2, 3, 1).to(torch.uint8).numpy()
    assert np.array_equal(np.concatenate([batch.images for batch in batches]), wanted)


def test_weights_of_another_network_are_refused_by_name(tmp_path: Path) -> None:
    torch.save({"netG_state_dict": {"main.0.weight": torch.zeros(1)}}, tmp_path / "weights.tar")
    with pytest.raises(InputError, match=r"weights\.tar: not the weights of this DCGAN") as caught:
        load_generator("dcgan-digiface", tmp_path)
    assert "\n" not in str(caught.value)
