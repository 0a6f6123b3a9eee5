"""StyleGAN3, configs T and R (Karras et al. 2021, arXiv 2106.12423): alias-free synthesis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from pipeline.generators.stylegan.layers import Dense, Mapping, StyleNetwork, demodulation
from pipeline.generators.stylegan.resampling import filtered_leaky_relu, lowpass


@dataclass(frozen=True)
class Style3Settings:
    """Under the names of the official code. Frequencies in cycles a picture."""

    img_resolution: int
    z_dim: int = 512
    w_dim: int = 512
    channel_base: int = 32768
    channel_max: int = 512
    num_layers: int = 14
    num_critical: int = 2
    first_cutoff: float = 2.0
    first_stopband: float = 2.0**2.1
    last_stopband_rel: float = 2.0**0.3
    margin_size: int = 10
    output_scale: float = 0.25
    conv_kernel: int = 3
    filter_size: int = 6
    lrelu_upsampling: int = 2
    use_radial_filters: bool = False
    conv_clamp: float | None = 256.0
    mapping_num_layers: int = 2
    mapping_lr_multiplier: float = 0.01


@dataclass(frozen=True)
class Band:
    """The signal between two layers."""

    channels: int
    size: int  # samples a side, the margin included
    rate: int  # samples a picture
    cutoff: float
    half_width: float  # of the transition band


def bands(settings: Style3Settings) -> list[Band]:
    """The outputs of layers 0, 1, … and of ToRGB: cutoffs and stopbands grow geometrically up to
    the critically sampled layers (section 3.2, figure 4b)."""
    last_cutoff = settings.img_resolution / 2
    last_stopband = last_cutoff * settings.last_stopband_rel
    found = []
    for index in range(settings.num_layers + 1):
        way = min(index / (settings.num_layers - settings.num_critical), 1.0)
        cutoff = settings.first_cutoff * (last_cutoff / settings.first_cutoff) ** way
        stopband = settings.first_stopband * (last_stopband / settings.first_stopband) ** way
        rate = 2 ** math.ceil(math.log2(min(2 * stopband, settings.img_resolution)))
        at_end = index >= settings.num_layers - 1
        size = settings.img_resolution if at_end else rate + 2 * settings.margin_size
        channels = round(min(settings.channel_base / 2 / cutoff, settings.channel_max))
        channels = 3 if index == settings.num_layers else channels
        found.append(Band(channels, size, rate, cutoff, max(stopband, rate / 2) - cutoff))
    return found


class FourierFeatures(nn.Module):
    """Waves, turned and shifted as w says, on a grid that is a margin wider than the picture."""

    transform: Tensor
    freqs: Tensor
    phases: Tensor

    def __init__(self, band: Band, w_dim: int) -> None:
        super().__init__()
        self.band = band
        self.weight = nn.Parameter(torch.randn(band.channels, band.channels))
        self.affine = Dense(w_dim, 4)
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("freqs", torch.randn(band.channels, 2))
        self.register_buffer("phases", torch.rand(band.channels) - 0.5)

    def forward(self, w: Float[Tensor, "batch w"]) -> Float[Tensor, "batch channel size size"]:
        moves = self._moves(w) @ self.transform
        phases = self.phases + (self.freqs @ moves[:, :2, 2:]).squeeze(2)
        waves = self.freqs @ moves[:, :2, :2]  # batch channel 2, x before y
        band = self.band
        above = waves.norm(dim=2) - band.cutoff
        loudness = (1.0 - above / (band.rate / 2 - band.cutoff)).clamp(0.0, 1.0)
        centres = torch.arange(band.size, dtype=w.dtype, device=w.device)
        places = (centres + 0.5 - band.size / 2) / band.rate
        turns = waves[:, :, :1, None] * places + waves[:, :, 1:, None] * places[:, None]
        x = torch.sin(2 * math.pi * (turns + phases[:, :, None, None]))
        x = x * loudness[:, :, None, None]
        weight = self.weight / band.channels**0.5
        return functional.conv2d(x, weight[:, :, None, None])

    def _moves(self, w: Float[Tensor, "batch w"]) -> Float[Tensor, "batch 3 3"]:
        """First a rotation of the picture, then a shift; both are inverse transforms of places."""
        t = self.affine(w)
        t = t / t[:, :2].norm(dim=1, keepdim=True)
        cos, sin, x, y = t.unbind(dim=1)
        nothing, one = torch.zeros_like(cos), torch.ones_like(cos)
        rows = [
            torch.stack([cos, -sin, sin * y - cos * x], dim=1),
            torch.stack([sin, cos, -sin * x - cos * y], dim=1),
            torch.stack([nothing, nothing, one], dim=1),
        ]
        return torch.stack(rows, dim=1)


class AliasFreeLayer(nn.Module):
    """Modulated convolution, then a leaky ReLU between an up- and a downsampling filter."""

    magnitude_ema: Tensor
    up_filter: Tensor | None
    down_filter: Tensor | None

    def __init__(
        self, source: Band, target: Band, settings: Style3Settings, *, critical: bool
    ) -> None:
        super().__init__()
        self.kernel = settings.conv_kernel
        self.clamp = settings.conv_clamp
        self.affine = Dense(settings.w_dim, source.channels)
        shape = (target.channels, source.channels, self.kernel, self.kernel)
        self.weight = nn.Parameter(torch.randn(shape))
        self.bias = nn.Parameter(torch.zeros(target.channels))
        self.register_buffer("magnitude_ema", torch.ones([]))
        rate = max(source.rate, target.rate) * settings.lrelu_upsampling
        self.up, self.down = rate // source.rate, rate // target.rate
        up_taps = settings.filter_size * self.up if self.up > 1 else 1
        down_taps = settings.filter_size * self.down if self.down > 1 else 1
        radial = settings.use_radial_filters and not critical
        self.register_buffer(
            "up_filter", lowpass(up_taps, source.cutoff, 2 * source.half_width, float(rate))
        )
        self.register_buffer(
            "down_filter",
            lowpass(down_taps, target.cutoff, 2 * target.half_width, float(rate), radial=radial),
        )
        wanted = (target.size - 1) * self.down + 1 + up_taps + down_taps - 2
        missing = wanted - (source.size + self.kernel - 1) * self.up
        # The middle of the first pixel stays in its place (appendix C.3).
        before = (missing + self.up) // 2
        self.padding = (before, missing - before)

    def forward(
        self, x: Float[Tensor, "batch in height width"], w: Float[Tensor, "batch w"]
    ) -> Float[Tensor, "batch out size size"]:
        # Unit weights and styles, each row on its own: a row does not depend on its neighbours.
        weight = self.weight * self.weight.square().mean((1, 2, 3), keepdim=True).rsqrt()
        styles = self.affine(w)
        styles = styles * styles.square().mean(1, keepdim=True).rsqrt()
        x = x * (styles * self.magnitude_ema.rsqrt())[:, :, None, None]
        x = functional.conv2d(x, weight, padding=self.kernel - 1)
        x = x * demodulation(weight, styles)[:, :, None, None] + self.bias[:, None, None]
        return filtered_leaky_relu(
            x,
            up_kernel=self.up_filter,
            down_kernel=self.down_filter,
            up=self.up,
            down=self.down,
            padding=self.padding,
            clamp=self.clamp,
        )


class ToRgb(nn.Module):
    magnitude_ema: Tensor

    def __init__(self, source: Band, settings: Style3Settings) -> None:
        super().__init__()
        self.affine = Dense(settings.w_dim, source.channels)
        self.weight = nn.Parameter(torch.randn(3, source.channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.register_buffer("magnitude_ema", torch.ones([]))
        self.clamp = settings.conv_clamp

    def forward(
        self, x: Float[Tensor, "batch in size size"], w: Float[Tensor, "batch w"]
    ) -> Float[Tensor, "batch 3 size size"]:
        styles = self.affine(w) / self.weight.shape[1] ** 0.5 * self.magnitude_ema.rsqrt()
        x = functional.conv2d(x * styles[:, :, None, None], self.weight, self.bias)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class Synthesis3(nn.Module):
    def __init__(self, settings: Style3Settings) -> None:
        super().__init__()
        found = bands(settings)
        self.output_scale = settings.output_scale
        self.input = FourierFeatures(found[0], settings.w_dim)
        self.layer_names = layer_names(found)
        for index, name in enumerate(self.layer_names):
            source, target = found[max(index - 1, 0)], found[index]
            critical = index >= settings.num_layers - settings.num_critical
            if index == settings.num_layers:
                self.add_module(name, ToRgb(source, settings))
            else:
                self.add_module(name, AliasFreeLayer(source, target, settings, critical=critical))

    def forward(self, ws: Float[Tensor, "batch layer w"]) -> Float[Tensor, "batch 3 size size"]:
        """RGB, -1 to 1 but for overshoots."""
        w = ws.unbind(dim=1)
        x = self.input(w[0])
        for index, name in enumerate(self.layer_names):
            x = self.get_submodule(name)(x, w[index + 1])
        return x * self.output_scale


def layer_names(found: Sequence[Band]) -> list[str]:
    return [f"L{index}_{band.size}_{band.channels}" for index, band in enumerate(found)]


class Style3Network(StyleNetwork):
    def __init__(self, settings: Style3Settings) -> None:
        super().__init__()
        self.resolution = settings.img_resolution
        self.z_dim, self.w_dim = settings.z_dim, settings.w_dim
        self.num_ws = settings.num_layers + 2
        widths = [settings.z_dim] + [settings.w_dim] * settings.mapping_num_layers
        self.mapping = Mapping(widths, settings.mapping_lr_multiplier)
        self.synthesis = Synthesis3(settings)
