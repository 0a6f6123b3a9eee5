"""Layers of StyleGAN2 and StyleGAN3 against slow twins, and networks against published sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pipeline.generators.stylegan.resampling import binomial, lowpass, resample
from pipeline.generators.stylegan.style2 import Style2Network, Style2Settings, StyledConvolution
from pipeline.generators.stylegan.style3 import (
    AliasFreeLayer,
    FourierFeatures,
    Style3Network,
    Style3Settings,
    bands,
)
from tests import references
from tests.stylegans import SMALL3, flat, randomised

SQUARE = np.outer(binomial(), binomial())


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=25)
@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(-2, 3), st.integers(-2, 3),
    st.integers(5, 7), st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_resampling_is_zeros_a_filter_and_every_nth_pixel(
    up: int, down: int, before: int, after: int, size: int, separable: bool, seed: int
) -> None:
    x, taps = drawn(2, 3, size, size, seed=seed), drawn(3, seed=seed + 1)
    if size * up + before + after < 3:
        return
    kernel = taps if separable else drawn(3, 3, seed=seed + 1)
    found = resample(x, kernel, up=up, down=down, padding=(before, after)).numpy()
    square = np.outer(taps, taps) if separable else kernel.numpy()
    for row in range(2):
        for channel in range(3):
            image = x[row, channel].numpy()
            wanted = references.upfirdn(image, square * up**2, up, down, before, after)
            np.testing.assert_allclose(found[row, channel], wanted, rtol=1e-4, atol=1e-4)


def test_a_constant_keeps_its_value_when_it_is_enlarged() -> None:
    larger = resample(torch.full((1, 1, 8, 8), 0.7), binomial(), up=2, padding=(2, 1))
    assert larger.shape == (1, 1, 16, 16)
    np.testing.assert_allclose(larger[..., 2:-2, 2:-2], 0.7, rtol=1e-6)


def response(kernel: torch.Tensor, frequency: float, rate: float) -> float:
    """Magnitude for a wave along one axis, cycles a picture."""
    taps = kernel.double().numpy() if kernel.ndim == 1 else kernel.double().numpy().sum(axis=0)
    turns = np.arange(len(taps)) * frequency / rate
    return float(abs((taps * np.exp(-2j * np.pi * turns)).sum()))


@pytest.mark.parametrize("radial", [False, True])
def test_designed_filters_pass_what_is_below_the_cutoff_and_stop_what_is_above(
    radial: bool,
) -> None:
    cutoff, half_width, rate = 12.0, 6.0, 64.0
    kernel = lowpass(24, cutoff, 2 * half_width, rate, radial=radial)
    assert kernel is not None and kernel.shape == ((24, 24) if radial else (24,))
    assert response(kernel, 0.0, rate) == pytest.approx(1.0, abs=1e-6)
    assert response(kernel, cutoff - half_width, rate) > 0.95
    assert response(kernel, cutoff, rate) == pytest.approx(0.5, abs=0.04)
    assert response(kernel, cutoff + half_width, rate) < 0.05
    assert torch.allclose(kernel, kernel.flip(0), atol=1e-7)
    if radial:  # the same in every direction: far above the band, diagonals are stopped, too
        assert torch.allclose(kernel, kernel.T, atol=1e-7)
        assert torch.allclose(kernel, kernel.rot90(), atol=1e-7)


def test_one_tap_is_no_filter() -> None:
    assert lowpass(1, 1.0, 1.0, 4.0) is None


@pytest.mark.parametrize("up", [False, True])
def test_styled_convolutions_are_those_of_weights_of_their_own(up: bool) -> None:
    given_settings = Style2Settings(8, w_dim=4, conv_clamp=0.8)
    layer = randomised(StyledConvolution(3, 2, 8, given_settings, up=up))
    x, w = drawn(2, 3, 4 if up else 8, 4 if up else 8), drawn(2, 4, seed=1)
    found = layer(x, w).numpy()
    styles = layer.affine(w).numpy()
    for row in range(2):
        weight = references.modulated(layer.weight.numpy().astype(float), styles[row])
        maps = x[row].numpy().astype(float)
        if up:
            spaced = np.array([references.spread(image, 2)[:-1, :-1] for image in maps])
            full = references.convolve_layer(spaced, weight)
            y = np.array([references.upfirdn(image, SQUARE * 4, 1, 1, 1, 1) for image in full])
        else:
            full = references.convolve_layer(maps, weight[:, :, ::-1, ::-1])  # it correlates
            y = full[:, 1:-1, 1:-1]
        y = y + (layer.noise_const * layer.noise_strength).numpy()
        wanted = references.leaky_relu(y + layer.bias.numpy()[:, None, None], 0.8)
        np.testing.assert_allclose(found[row], wanted, rtol=1e-4, atol=1e-5)
    assert (abs(found) == np.float32(0.8)).any() and (abs(found) < 0.8).any()


@pytest.mark.parametrize("radial", [False, True])
@pytest.mark.parametrize("index", [1, 2, 5])
def test_alias_free_layers_are_filters_around_a_leaky_relu(index: int, radial: bool) -> None:
    changes = {"use_radial_filters": radial, "conv_kernel": 1 if radial else 3, "conv_clamp": 2.0}
    given_settings = Style3Settings(**{**flat(SMALL3), "channel_max": 3, **changes})
    found_bands = bands(given_settings)
    source, target = found_bands[index - 1], found_bands[index]
    critical = index >= given_settings.num_layers - 2
    layer = randomised(AliasFreeLayer(source, target, given_settings, critical=critical))
    x, w = drawn(2, source.channels, source.size, source.size), drawn(2, 8, seed=1)
    found = layer(x, w).numpy()
    assert found.shape == (2, target.channels, target.size, target.size)
    up, down = (
        np.outer(own, own) if own is not None and own.ndim == 1 else own
        for own in (layer.up_filter, layer.down_filter)
    )
    up, down = (np.ones((1, 1)) if own is None else np.asarray(own) for own in (up, down))
    styles = layer.affine(w).numpy()
    weight = references.modulated(layer.weight.numpy().astype(float), styles[1])
    full = references.convolve_layer(x[1].numpy().astype(float), weight[:, :, ::-1, ::-1])
    full = full / np.sqrt(layer.magnitude_ema.item()) + layer.bias.numpy()[:, None, None]
    for channel, image in enumerate(full):
        y = references.upfirdn(image, up * layer.up**2, layer.up, 1, *layer.padding)
        wanted = references.upfirdn(references.leaky_relu(y, 2.0), down, 1, layer.down, 0, 0)
        np.testing.assert_allclose(found[1, channel], wanted, rtol=1e-3, atol=1e-4)


def test_fourier_features_are_turned_and_shifted_waves() -> None:
    band = bands(Style3Settings(**flat(SMALL3)))[0]
    layer = randomised(FourierFeatures(band, 8))
    layer.freqs.mul_(band.cutoff / 2)
    layer.transform.copy_(torch.eye(3))
    layer.transform[0, 2] = 0.1
    w = drawn(2, 8)
    found = layer(w).numpy()
    cos, sin, x, y = layer.affine(w).numpy()[1] / np.hypot(*layer.affine(w).numpy()[1, :2])
    turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    shift = np.array([[1.0, 0.0, -x], [0.0, 1.0, -y], [0.0, 0.0, 1.0]])
    moves = turn @ shift @ layer.transform.numpy()
    waves = np.array(
        [
            references.fourier_feature(frequency, phase, moves, band.size, band.rate)
            * np.clip(
                1 - (np.linalg.norm(frequency @ moves[:2, :2]) - band.cutoff)
                / (band.rate / 2 - band.cutoff), 0, 1,
            )
            for frequency, phase in zip(layer.freqs.numpy(), layer.phases.numpy(), strict=True)
        ]
    )  # fmt: skip
    wanted = np.einsum("oi,ihw->ohw", layer.weight.numpy() / np.sqrt(len(waves)), waves)
    np.testing.assert_allclose(found[1], wanted, rtol=1e-3, atol=1e-3)


def count(network: nn.Module) -> int:
    return sum(own.numel() for own in network.parameters())


@pytest.mark.parametrize(
    ("pixels", "channel_base", "parameters"),
    [
        # 1024: "Total 30370060", printed by the published TensorFlow code for config F. 256: its
        # layers up to there; the smaller one has the channels of ADA's paper256.
        (1024, 32768, 30_370_060),
        (256, 32768, 30_034_338),
        (256, 16384, 24_767_458),
    ],
)
def test_stylegan2_has_the_published_number_of_parameters(
    pixels: int, channel_base: int, parameters: int
) -> None:
    with torch.device("meta"):
        network = Style2Network(Style2Settings(pixels, channel_base=channel_base))
    assert count(network) == parameters
    assert count(network.mapping) == 8 * (512 * 512 + 512)
    assert network.num_ws == {1024: 18, 256: 14}[pixels]


# name: (parameters of the style, own parameters, numbers in buffers), as the official training
# code prints them for config R at 128 pixels (NVlabs/stylegan3, issue 40).
PRINTED = {
    "L8_84_1024": (525312, 1049600, 157),
    "L9_148_1024": (525312, 1049600, 169),
    "L10_148_912": (525312, 934800, 157),
    "L11_148_683": (467856, 623579, 157),
    "L12_148_512": (350379, 350208, 25),
    "L13_128_512": (262656, 262656, 25),
    "L14_128_3": (262656, 1539, 1),
}
CONFIG_R = {
    "channel_base": 65536, "channel_max": 1024, "conv_kernel": 1, "use_radial_filters": True,
}  # fmt: skip


def test_stylegan3_has_the_layers_that_the_official_code_prints() -> None:
    with torch.device("meta"):
        synthesis = Style3Network(Style3Settings(128, **CONFIG_R)).synthesis
    found = {}
    for name, layer in synthesis.named_children():
        style = count(layer.affine)
        buffers = sum(own.numel() for own in layer.buffers())
        found[name] = (style, count(layer) - style, buffers)
    assert found["input"] == (2052, 1048576, 3081)
    assert {name: found[name] for name in PRINTED} == PRINTED
    assert list(found)[-len(PRINTED) :] == list(PRINTED)


@pytest.mark.parametrize(
    ("changes", "parameters", "names"),
    [
        ({}, 22_313_167, ["L0_36_512", "L5_148_512", "L13_1024_32", "L14_1024_3"]),
        (CONFIG_R, 15_093_151, ["L0_36_1024", "L9_532_256", "L14_1024_3"]),
    ],
    ids=["T", "R"],
)
def test_stylegan3_at_1024_pixels_has_its_size(
    changes: dict[str, object], parameters: int, names: list[str]
) -> None:
    with torch.device("meta"):
        network = Style3Network(Style3Settings(1024, **changes))
    assert round(count(network), -5) == round(parameters, -5)
    assert count(network) == parameters
    assert set(names) <= {name for name, _ in network.synthesis.named_children()}
    assert network.num_ws == 16
