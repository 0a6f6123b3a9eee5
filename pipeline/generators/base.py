"""What a generator promises. A backend is a file here with `load(weights) -> Generator`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.frames import Frame


class Generator(ABC):
    """Latents in, pictures out; each row's picture depends on its own latent alone."""

    name: str
    weights_sha256: str
    latent_width: int
    latent_space: str  # z, w or w+
    frame: Frame | None  # declared: the pictures are already aligned so; None: detect
    licence: str

    @abstractmethod
    def render(
        self, latents: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """RGB pictures, whole numbers in [0, 255]."""

    @abstractmethod
    def to(self, device: torch.device) -> None:
        """Moves the network to a device; results come back from there."""

    def identity(self) -> dict[str, Any]:
        """What must be equal for two rounds to come from one generator."""
        return {
            "name": self.name,
            "weights_sha256": self.weights_sha256,
            "latent_width": self.latent_width,
            "latent_space": self.latent_space,
            "frame": asdict(self.frame) if self.frame else None,
        }
