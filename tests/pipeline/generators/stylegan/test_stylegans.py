"""StyleGAN2 and StyleGAN3 from official files: pictures, spaces, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipeline.arrays.frames import ARCFACE112, between
from pipeline.generators.base import AUTO, Generator
from pipeline.generators.stylegan.alignment import crop_box, ffhq_frame
from tests.contracts import GeneratorContract
from tests.stylegans import (
    LICENCE,
    RADIAL,
    SMALL2,
    SMALL3,
    declare,
    flat,
    load,
    network_of,
    tensors_of,
    write_pickle,
    z_of,
)


def by_network(network: Any, w: torch.Tensor) -> torch.Tensor:
    ws = w[:, None].expand(-1, network.num_ws, -1)
    return ((network.synthesis(ws).clamp(-1, 1) + 1) * 127.5).round()


class TestStyleGan2(GeneratorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def generator(cls, style2: Path) -> Generator:
        return load(2, style2)


class TestStyleGan2InW(GeneratorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def generator(cls, style2: Path) -> Generator:
        return load(2, style2).in_space("w", 0.7)


class TestStyleGan3InWPlus(GeneratorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def generator(cls, style3: Path) -> Generator:
        return load(3, style3).in_space("w+", 0.5)


def test_left_to_choose_it_takes_w(style2: Path, style3: Path) -> None:
    for generator in (load(2, style2), load(3, style3).in_space("w+", 1.0)):
        assert generator.in_space(AUTO, 1.0).identity() == generator.in_space("w", 1.0).identity()


@pytest.mark.parametrize(
    ("kind", "given"), [(2, SMALL2), (3, SMALL3), (3, SMALL3 | RADIAL)], ids=["2", "3-T", "3-R"]
)
@pytest.mark.parametrize("protocol", [3, 4])
def test_pictures_of_a_pickle_are_those_of_its_network(
    tmp_path: Path, kind: int, given: dict[str, Any], protocol: int
) -> None:
    network = network_of(kind, given)
    path = write_pickle(tmp_path / "a.pkl", network, given, protocol=protocol)
    generator = load(kind, path)
    pictures = generator.render(z_of(5))
    assert torch.equal(pictures, by_network(network, network.mapping(z_of(5))))
    inside = (pictures > 0) & (pictures < 255)
    assert inside.float().mean() > 0.3
    assert generator.name == "a" and generator.licence == LICENCE


def test_stylegan2_ada_keeps_its_synthesis_settings_apart(tmp_path: Path) -> None:
    apart = ("channel_base", "channel_max", "num_fp16_res", "conv_clamp")
    given = {name: value for name, value in SMALL2.items() if name not in apart}
    given |= {"synthesis_kwargs": {name: SMALL2[name] for name in apart}, "conv_clamp": 256}
    network = network_of(2, SMALL2)
    pictures = load(2, write_pickle(tmp_path / "a.pkl", network, given)).render(z_of(2))
    assert torch.equal(pictures, by_network(network, network.mapping(z_of(2))))


def test_the_clamp_of_stylegan2_is_the_layers_own(tmp_path: Path) -> None:
    """Its default differs between the official releases, so that a file need not name it."""
    clamped = network_of(2, SMALL2 | {"conv_clamp": 0.5})
    made_with = {name: value for name, value in SMALL2.items() if name != "conv_clamp"}
    path = write_pickle(tmp_path / "a.pkl", clamped, made_with, inner={"conv_clamp": 0.5})
    pictures = load(2, path).render(z_of(2))
    assert torch.equal(pictures, by_network(clamped, clamped.mapping(z_of(2))))
    free = network_of(2, SMALL2)
    assert not torch.equal(pictures, by_network(free, free.mapping(z_of(2))))


@pytest.mark.parametrize(("kind", "given"), [(2, SMALL2), (3, SMALL3)])
def test_safetensors_with_settings_give_the_same_pictures(
    tmp_path: Path, kind: int, given: dict[str, Any]
) -> None:
    network = network_of(kind, given)
    pickled = load(kind, write_pickle(tmp_path / "a.pkl", network, given))
    path = tmp_path / "a.safetensors"
    save_file({name: own.clone() for name, own in tensors_of(network).items()}, path)
    named = {n: v for n, v in flat(given).items() if not n.startswith("mapping_")}
    declare(path, settings=named | {"mapping_kwargs": given["mapping_kwargs"]})
    generator = load(kind, path)
    assert torch.equal(generator.render(z_of(3)), pickled.render(z_of(3)))
    assert generator.weights_sha256 != pickled.weights_sha256


def test_w_and_z_are_two_ways_to_one_picture(style2: Path) -> None:
    in_z = load(2, style2).in_space("z", 0.6)
    in_w, in_ws = in_z.in_space("w", 0.6), in_z.in_space("w+", 0.6)
    w = in_w.map(z_of(4))
    assert (in_z.latent_width, in_w.latent_width, in_ws.latent_width) == (12, 8, 48)
    pictures = in_z.render(z_of(4))
    assert torch.equal(in_w.render(w), pictures)
    assert torch.equal(in_ws.render(in_ws.map(z_of(4))), pictures)
    assert in_z.identity() != load(2, style2).identity()  # psi is part of what z means


def test_truncation_goes_from_the_mean_of_w_to_w(style2: Path) -> None:
    generator = load(2, style2)
    network = generator.network
    w, mean = network.mapping(z_of(4)), network.mapping.w_avg
    found = generator.in_space("w", 0.25).map(z_of(4))
    torch.testing.assert_close(found, mean + 0.25 * (w - mean))
    torch.testing.assert_close(generator.in_space("w", 0.0).map(z_of(4)), mean.expand(4, -1))
    assert torch.equal(generator.in_space("w", 1.0).map(z_of(4)), w)


def test_layers_of_w_plus_are_the_synthesis_s_own(style2: Path) -> None:
    generator = load(2, style2).in_space("w+", 1.0)
    latents = generator.map(z_of(1)).repeat(6, 1)
    for layer in range(6):
        latents[layer, layer * 8 : layer * 8 + 8] += 1.0
    pictures = generator.render(torch.cat([generator.map(z_of(1)), latents]))
    assert len(torch.unique(pictures, dim=0)) == 7


def test_memory_is_bounded_by_rendering_few_at_a_time(
    style2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = load(2, style2)
    whole = generator.render(z_of(7))
    monkeypatch.setattr("pipeline.generators.stylegan.backend.PIXELS", 3 * 16 * 16)
    assert (generator.render(z_of(7)) - whole).abs().max() <= 1.0


@pytest.mark.parametrize(
    ("size", "box"), [(256, (21, 22, 213)), (1024, (84, 86, 858)), (512, (42, 43, 429))]
)
def test_ffhq_faces_are_cropped_as_published(size: int, box: tuple[int, int, int]) -> None:
    """SynthDistill's released code: rows 21 to 233 and columns 22 to 234 of 256 pixels."""
    assert crop_box(size) == box
    top, left, side = box
    to_source = between(ffhq_frame(size), ARCFACE112)
    first, last = to_source @ (0.0, 0.0, 1.0), to_source @ (112.0, 112.0, 1.0)
    np.testing.assert_allclose(first, (left, top), atol=1e-9)
    np.testing.assert_allclose(last, (left + side, top + side), atol=1e-9)
    eyes = np.array([[380, 480], [650, 480]]) * size / 1024
    back = between(ARCFACE112, ffhq_frame(size))
    there = np.array([back @ (*eye, 1.0) for eye in eyes])
    np.testing.assert_allclose(there, [[38.29, 51.6], [73.53, 51.6]], atol=0.6)


def test_frame_and_name_are_declared_beside_the_file(tmp_path: Path) -> None:
    path = write_pickle(tmp_path / "a.pkl", network_of(2, SMALL2), SMALL2)
    assert load(2, path).frame == ffhq_frame(16)
    declare(path, frame="detect", name="mine")
    generator = load(2, path)
    assert generator.frame is None and generator.name == "mine"
