"""GAN-Control checkpoints: names, the mapping of each chunk, and attributes of each row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from manifests.core.errors import InputError
from pipeline.generators import load_generator
from pipeline.generators.base import Generator
from pipeline.generators.gan_control import GanControl
from pipeline.generators.stylegan import rosinality
from pipeline.generators.stylegan.rosinality import official_names
from tests.contracts import GeneratorContract
from tests.gan_control import checkpoint, style_by_hand, write, z_of

TENSORS = checkpoint()
VARIED = slice(128, 384)  # expression, orientation, illumination, age


def load(path: Path) -> GanControl:
    generator = load_generator(f"gan-control:{path}", Path("weights"))
    assert isinstance(generator, GanControl)
    return generator


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> GanControl:
    path = tmp_path_factory.mktemp("control") / "control.pt"
    parallel = {f"module.{name}": value for name, value in TENSORS.items()}
    return load(write(path, {"g_ema": parallel, "g_optim": {"state": {}}}))


class TestGanControl(GeneratorContract):
    @pytest.fixture
    def generator(self, control: GanControl) -> Generator:
        return control


def test_every_tensor_has_its_official_name() -> None:
    names = official_names(Path("a.pt"), TENSORS)
    kernels = sum(name.endswith("kernel") for name in TENSORS)
    assert len(names) == len(TENSORS) - kernels
    pairs = {
        "convs.0.conv.weight": "synthesis.b8.conv0.weight",
        "convs.1.noise.weight": "synthesis.b8.conv1.noise_strength",
        "conv1.activate.bias": "synthesis.b4.conv1.bias",
        "to_rgb1.conv.modulation.bias": "synthesis.b4.torgb.affine.bias",
        "to_rgbs.0.bias": "synthesis.b8.torgb.bias",
        "noises.noise_0": "synthesis.b4.conv1.noise_const",
        "noises.noise_1": "synthesis.b8.conv0.noise_const",
        "noises.noise_2": "synthesis.b8.conv1.noise_const",
        "input.input": "synthesis.b4.const",
        "style.age.1.weight": "mapping.age.fc0.weight",
        "style.age.8.bias": "mapping.age.fc7.bias",
    }
    for own, official in pairs.items():
        assert torch.equal(names[official].flatten(), TENSORS[own].flatten()), own


def test_each_chunk_of_w_comes_from_the_same_chunk_of_z(control: GanControl) -> None:
    in_w = control.in_space("w", 1.0)
    torch.testing.assert_close(in_w.map(z_of(3)), style_by_hand(TENSORS, z_of(3)))
    other = z_of(3)
    other[:, 320:384] += 1.0  # age
    moved = (in_w.map(z_of(3)) != in_w.map(other)).any(dim=0)
    assert moved[320:384].all() and moved.sum() == 64


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_attributes_are_drawn_and_identity_is_kept(control: GanControl, space: str) -> None:
    generator = control.in_space(space, 1.0)
    latents, draws = generator.map(z_of(4)), z_of(4, seed=1)
    found = generator.with_attributes(latents, draws)
    wanted = latents.clone().reshape(4, -1, 512)
    wanted[..., VARIED] = generator.map(draws).reshape(4, -1, 512)[..., VARIED]
    assert torch.equal(found.reshape(4, -1, 512), wanted)
    assert (generator.render(found) != generator.render(latents)).any()


def test_truncation_is_towards_the_mean_over_fixed_draws(
    control: GanControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    rosinality.mean_of_w.cache_clear()
    monkeypatch.setattr(rosinality, "MEAN_DRAWS", 256)
    mean = control.w_mean()
    in_w = control.in_space("w", 1.0)
    # Within five standard errors of the mean over other draws.
    assert ((mean - in_w.map(z_of(256)).mean(dim=0)).abs() < 5 * (2 / 256) ** 0.5).all()
    w = in_w.map(z_of(3))
    torch.testing.assert_close(control.in_space("w", 0.7).map(z_of(3)), mean + 0.7 * (w - mean))
    rosinality.mean_of_w.cache_clear()


NAN = TENSORS["conv1.conv.weight"].clone()
NAN[0, 0, 0, 0, 0] = float("nan")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"g": {}}, "no g_ema in it; expected a checkpoint of rosinality's StyleGAN2"),
        ([1, 2], "no g_ema in it"),
        ({"g_ema": {"a": 1}}, "g_ema: a is no tensor"),
        ({"g_ema": {"to_rgbs.weight": torch.zeros(1)}}, r"to_rgbs\.weight is of no known layer"),
        ({"g_ema": {"style.0.weight": torch.zeros(1)}}, r"style\.0\.weight is of no known layer"),
        ({"g_ema": {}}, r"lacks mapping\.age\.fc0\.bias, .*\(4 pixels\)"),
        (
            {"g_ema": {"convs.30.conv.weight": torch.zeros(1)}},
            "262144 pixels, at most 1024",
        ),
        (
            {"g_ema": TENSORS | {"convs.0.conv.blur.kernel": torch.ones(4, 4)}},
            r"convs\.0\.conv\.blur\.kernel is another filter",
        ),
        ({"g_ema": TENSORS | {"conv1.conv.weight": NAN}}, r"b4\.conv1\.weight holds NaN"),
        (
            {"g_ema": TENSORS | {"style.id.1.weight": torch.zeros(256, 64)}},
            r"mapping\.id\.fc0\.weight is \[256, 64\].*make it \[256, 128\]",
        ),
    ],
    ids=lambda value: str(value)[:24] if isinstance(value, str) else "",
)
def test_other_checkpoints_are_refused_by_name(tmp_path: Path, content: Any, message: str) -> None:
    path = write(tmp_path / "a.pt", content)
    with pytest.raises(InputError, match=rf"^{path}: .*{message}"):
        load(path)


def test_a_command_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    path = write(tmp_path / "a.pt", {"g_ema": {}, "args": Attack()})
    with pytest.raises(InputError, match=r"a\.pt: not a checkpoint of tensors"):
        load(path)
    assert not (tmp_path / "ran").exists()
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"a\.pt: not a checkpoint of tensors"):
        load(path)
