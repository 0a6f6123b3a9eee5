"""A StyleGAN as a generator: latents of z, w or w+ in, pictures out."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from manifests.core.errors import InputError
from manifests.stores.latents import SPACES
from pipeline.arrays.frames import Frame
from pipeline.generators.base import AUTO, Generator
from pipeline.generators.stylegan.layers import StyleNetwork

PIXELS = 1 << 20  # of the pictures that are rendered together, which bounds the memory


class StyleGenerator(Generator):
    """Truncation belongs to the mapping: latents of w and w+ are rendered as they are."""

    def __init__(
        self,
        name: str,
        network: StyleNetwork,
        weights_sha256: str,
        *,
        frame: Frame | None,
        licence: str,
        space: str = "z",
        psi: float = 1.0,
    ) -> None:
        self.name, self.network, self.weights_sha256 = name, network, weights_sha256
        self.frame, self.licence = frame, licence
        self.latent_space, self.psi = space, psi
        widths = {
            "z": network.z_dim,
            "w": network.w_dim,
            "w+": network.w_dim * network.num_ws,
        }
        self.latent_width = widths[space]

    @property
    def prior_width(self) -> int:
        return self.network.z_dim

    def in_space(self, space: str, psi: float) -> StyleGenerator:
        space = "w" if space == AUTO else space
        if space not in SPACES or psi < 0.0:
            raise InputError(
                f"generator {self.name} in {space} with psi {psi}; expected {', '.join(SPACES)}, "
                "and psi from 0"
            )
        return type(self)(
            self.name,
            self.network,
            self.weights_sha256,
            frame=self.frame,
            licence=self.licence,
            space=space,
            psi=psi,
        )

    def to(self, device: torch.device) -> None:
        self.network.to(device)

    def map(self, z: Float[Tensor, "batch z"]) -> Float[Tensor, "batch latent"]:
        if self.latent_space == "z":
            return z
        w = self._w(z.to(next(self.network.parameters()).device))
        return w if self.latent_space == "w" else w.repeat(1, self.network.num_ws)

    def _w(self, z: Float[Tensor, "batch z"]) -> Float[Tensor, "batch w"]:
        w: Tensor = self.network.mapping(z)
        return w if self.psi == 1.0 else torch.lerp(self.w_mean(), w, self.psi)

    def w_mean(self) -> Float[Tensor, " w"]:
        """The centre of truncation."""
        return self.network.mapping.get_buffer("w_avg")

    def render(self, latents: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch 3 size size"]:
        latents = latents.to(next(self.network.parameters()).device)
        w = self._w(latents) if self.latent_space == "z" else latents
        ws = w.reshape(len(w), -1, self.network.w_dim).expand(-1, self.network.num_ws, -1)
        rows = max(1, PIXELS // self.network.resolution**2)
        parts = [self.network.synthesis(part) for part in torch.split(ws, rows)]
        pictures = torch.cat(parts)
        return ((pictures.clamp(-1.0, 1.0) + 1.0) * 127.5).round()

    def identity(self) -> dict[str, Any]:
        """With the noise, which is the file's own, and the truncation where it acts."""
        acting = {"psi": self.psi} if self.latent_space == "z" else {}
        return super().identity() | {"noise_mode": "const"} | acting
