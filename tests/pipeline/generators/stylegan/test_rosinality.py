"""StyleGAN2 from checkpoints of rosinality's code: names, settings, the mean of w."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from manifests.core.errors import InputError
from pipeline.generators import load_generator
from pipeline.generators.base import Generator
from pipeline.generators.stylegan.backend import StyleGenerator
from pipeline.generators.stylegan2 import settings_of
from tests.contracts import GeneratorContract
from tests.gan_control import checkpoint, layers_by_hand, plain_checkpoint, write, z_of
from tests.stylegans import declare

TENSORS = plain_checkpoint()


def load(path: Path, kind: str = "stylegan2") -> StyleGenerator:
    generator = load_generator(f"{kind}:{path}", Path("weights"))
    assert isinstance(generator, StyleGenerator)
    return generator


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> StyleGenerator:
    path = tmp_path_factory.mktemp("plain") / "plain.pt"
    return load(write(path, {"g": TENSORS, "d": {}, "g_ema": TENSORS, "g_optim": {"state": {}}}))


class TestRosinality(GeneratorContract):
    @pytest.fixture
    def generator(self, plain: StyleGenerator) -> Generator:
        return plain


def test_w_is_that_of_its_layers_by_hand(plain: StyleGenerator) -> None:
    found = plain.in_space("w", 1.0).map(z_of(3))
    torch.testing.assert_close(found, layers_by_hand(TENSORS, "style", z_of(3)))


def test_one_synthesis_draws_the_same_below_either_mapping(
    plain: StyleGenerator, tmp_path: Path
) -> None:
    control = load(write(tmp_path / "control.pt", {"g_ema": checkpoint()}), "gan-control")
    w = z_of(2)
    pictures = plain.in_space("w", 1.0).render(w)
    assert pictures.std() > 1.0
    assert torch.equal(pictures, control.in_space("w", 1.0).render(w))


def test_the_mean_of_w_is_the_files_else_that_of_draws(
    plain: StyleGenerator, tmp_path: Path
) -> None:
    kept = load(write(tmp_path / "kept.pt", {"g_ema": TENSORS, "latent_avg": z_of(1)}))
    assert torch.equal(kept.w_mean(), z_of(1)[0])
    w = plain.in_space("w", 1.0).map(z_of(4096, seed=1))
    error = w.std(dim=0) * (1 / 4096 + 1 / 16384) ** 0.5
    assert ((plain.w_mean() - w.mean(dim=0)).abs() < 5 * error).all()


@pytest.mark.parametrize("multiplier", [1, 2])
def test_channels_are_read_from_the_last_block(multiplier: int) -> None:
    def bare(*shape: int) -> Tensor:
        return torch.empty(shape, device="meta")

    tensors = {
        "mapping.fc0.weight": bare(512, 256),
        "mapping.fc1.weight": bare(512, 512),
        "synthesis.b4.const": bare(512, 4, 4),
        "synthesis.b256.torgb.weight": bare(3, 64 * multiplier, 1, 1),
    }
    found = settings_of(Path("a.pt"), tensors)
    assert (found.z_dim, found.w_dim, found.mapping_num_layers) == (256, 512, 2)
    published = {4: 512, 32: 512, 64: 256 * multiplier, 128: 128 * multiplier, 256: 64 * multiplier}
    assert {size: found.channels(size) for size in published} == published


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        ({"g_ema": checkpoint()}, "stylegan2", "a GAN-Control; name it gan-control:"),
        ({"g_ema": TENSORS}, "gan-control", "of one mapping; name it stylegan2:"),
        ({"g_ema": TENSORS, "args": argparse.Namespace()}, "stylegan2", "save .*g_ema.* alone"),
        ({"g_ema": TENSORS, "latent_avg": [0.0]}, "stylegan2", "latent_avg is no plain tensor"),
        ({"g_ema": TENSORS, "latent_avg": z_of(2)}, "stylegan2", r"w_avg is \[1024\]"),
        ({"g_ema": {}}, "stylegan2", "no layer that is mapping.fc0.weight"),
        ({"params": TENSORS}, "stylegan2", "no g_ema in it"),
    ],
)
def test_what_is_another_file_is_refused(
    content: Any, kind: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        load(write(tmp_path / "a.pt", content), kind)


FIRST, CONST = "style.1.weight", "input.input"
HUGE = torch.full((512, 512), 1e300, dtype=torch.float64)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({FIRST: torch.ones(3, 512, 512)}, "mapping.fc0.weight is"),
        ({FIRST: torch.ones(512, 0)}, "z of width 0, expected 1 to 8192"),
        ({FIRST: torch.ones(1, 1 << 20)}, "z of width 1048576, expected 1 to 8192"),
        ({FIRST: torch.ones(0, 512)}, "setting w_dim is 0"),
        ({CONST: torch.ones(1, 0, 4, 4)}, "setting channel_max is 0"),
        ({FIRST: HUGE}, "mapping.fc0.weight holds NaN or infinity"),
        ({f"module.{CONST}": TENSORS[CONST]}, f"module.{CONST} is there twice"),
        ({"convs.00.conv.weight": torch.ones(1)}, r"convs\.00\.conv\.weight is there twice"),
    ],
    ids=["axes", "no z", "wide z", "no w", "no channels", "float64", "prefix", "digits"],
)
def test_tensors_that_make_no_generator_are_refused(
    others: dict[str, Tensor], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=rf"a\.pt: .*{message}"):
        load(write(tmp_path / "a.pt", {"g_ema": TENSORS | others}))


def test_settings_beside_it_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pt", {"g_ema": TENSORS})
    declare(path, settings={"img_resolution": 8})
    with pytest.raises(InputError, match="settings are for safetensors"):
        load(path)
