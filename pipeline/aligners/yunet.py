"""YuNet (libfacedetection, BSD-3-Clause): quick, and finds what others miss, but its points jitter
about three times as much as O-Net's (docs/ALIGNERS.md)."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from manifests.core.digests import sha256_file
from pipeline.aligners.networks.canvases import CanvasAligner
from pipeline.aligners.networks.yunet import WEIGHTS, YuNet, load_network
from pipeline.arrays.numerics import weights_path


class Yunet(CanvasAligner):
    name = "yunet"
    licence = "BSD-3-Clause (libfacedetection)"

    def __init__(self, network: YuNet, weights_sha256: str) -> None:
        self.network = network
        self.weights_sha256 = weights_sha256

    def to(self, device: torch.device) -> None:
        self.network.to(device)

    def candidates(
        self, canvases: Float[Tensor, "batch 3 side side"]
    ) -> Float[Tensor, "batch candidate 15"]:
        found: Tensor = self.network(canvases.to(next(self.network.parameters()).device))
        return found


def load(weights: Path) -> Yunet:
    path = weights_path(weights, WEIGHTS)
    return Yunet(load_network(path), sha256_file(path))
