"""What a generator promises. A backend is a file here with `load(weights) -> Generator`."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict
from typing import Any

from jaxtyping import Float
from torch import Tensor

from manifests.core.errors import InputError
from pipeline.arrays.frames import Frame
from pipeline.arrays.numerics import Backend

AUTO = "auto"  # the space of the generator's mapping, or its own where it has none


class Generator(Backend):
    """Latents in, pictures out; each row's picture depends on its own latent alone."""

    latent_width: int
    latent_space: str  # z, w or w+
    frame: Frame | None  # declared: the pictures are already aligned so; None: detect

    @property
    def prior_width(self) -> int:
        """Of the standard normal z that a prior is drawn as."""
        return self.latent_width

    def in_space(self, space: str, psi: float) -> Generator:
        """The same network for latents of `space`, its mapping truncated by `psi` (1: not).

        Raises InputError where it has no such space.
        """
        space = self.latent_space if space == AUTO else space
        if (space, psi) != (self.latent_space, 1.0):
            raise InputError(
                f"generator {self.name} has latents of {self.latent_space} alone, and no "
                f"truncation; found {space} with psi {psi} (latent_space and psi in params.yaml)"
            )
        return self

    def map(self, z: Float[Tensor, "batch z"]) -> Float[Tensor, "batch latent"]:
        """Latents of `latent_space` for standard normal draws; each row on its own.

        Raises InputError for a generator of another space than z that has no mapping.
        """
        if self.latent_space != "z":
            raise InputError(
                f"generator {self.name} takes latents of {self.latent_space} and has no mapping "
                "from z: its prior cannot be drawn"
            )
        return z

    def with_attributes(
        self, latents: Float[Tensor, "batch latent"], z: Float[Tensor, "batch z"]
    ) -> Float[Tensor, "batch latent"]:
        """`latents` whose attributes other than identity are those of fresh draws `z`, where
        the latent space keeps them apart; as they are where it does not."""
        return latents

    @abstractmethod
    def render(self, latents: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch 3 size size"]:
        """RGB pictures, whole numbers in [0, 255]."""

    def identity(self) -> dict[str, Any]:
        """What must be equal for two rounds to come from one generator."""
        return {
            "name": self.name,
            "weights_sha256": self.weights_sha256,
            "latent_width": self.latent_width,
            "latent_space": self.latent_space,
            "frame": asdict(self.frame) if self.frame else None,
        }
