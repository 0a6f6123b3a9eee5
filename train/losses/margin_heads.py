"""Margin heads: one prototype an identity, trained with the student and never exported with it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from manifests.core.digests import canonical_json
from manifests.core.errors import InputError
from manifests.core.files import replacing
from manifests.core.parsing import parse_fields
from manifests.settings.objectives import Margin
from train.losses.margins import (
    NORMS,
    adaface_logits,
    arcface_logits,
    cosface_logits,
    labelled_cross_entropy,
    norm_qualities,
)

HEAD = "head.safetensors"
INITIAL_SPREAD = 0.01  # of a prototype's coordinates
UNKNOWN = float("nan")  # a running figure before the first batch


class MarginHead(nn.Module):
    """Prototypes of the identities, and the running figures that a margin needs.

    An elastic margin is a function of the head's seed and of the number of batches so far, both
    of which are in its state: training goes on with the same draws.
    """

    prototypes: nn.Parameter
    seed: Tensor
    batches: Tensor
    norms: Tensor

    def __init__(self, margin: Margin, num_identities: int, width: int) -> None:
        super().__init__()
        self.margin = margin
        self.prototypes = nn.Parameter(torch.randn(num_identities, width) * INITIAL_SPREAD)
        self.register_buffer("seed", torch.randint(1 << 31, ()))
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))
        self.register_buffer("norms", torch.full((2,), UNKNOWN))  # mean, standard deviation

    def cosines(self, outputs: Float[Tensor, "batch width"]) -> Float[Tensor, "batch identity"]:
        """To the prototypes, without scale and margin."""
        return functional.linear(
            functional.normalize(outputs), functional.normalize(self.prototypes)
        )

    def logits(
        self, outputs: Float[Tensor, "batch width"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch identity"]:
        """Scaled cosines, with the margin where an output's own identity is known."""
        margin, cosines = self.margin, self.cosines(outputs)
        if margin.name == "adaface":
            mean, spread = self.norms
            qualities = norm_qualities(outputs.norm(dim=1), mean, spread, margin.concentration)
            return adaface_logits(cosines, labels, qualities, margin.margin, margin.scale)
        logits_of = cosface_logits if margin.name.endswith("cosface") else arcface_logits
        return logits_of(cosines, labels, self._margins(len(outputs)).to(cosines), margin.scale)

    def forward(
        self, outputs: Float[Tensor, "batch width"], labels: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "batch identity"]]:
        """The loss, and the logits that it was computed from."""
        if self.training:
            self._observe(outputs)
        logits = self.logits(outputs, labels)
        return labelled_cross_entropy(logits, labels), logits

    @torch.no_grad()
    def _observe(self, outputs: Tensor) -> None:
        self.batches += 1
        norms = outputs.norm(dim=1).clamp(*NORMS)
        found = torch.stack([norms.mean(), norms.std(correction=0)])
        self.norms.copy_(running(self.norms, found, self.margin.running_share))

    def _margins(self, count: int) -> Tensor:
        """Of each row: N(margin, margin_spread) (ElasticFace, CVPR-W 2022)."""
        margins = torch.full((count,), self.margin.margin)
        if self.training and self.margin.margin_spread > 0:
            mixed = (int(self.seed) << 31) + int(self.batches)
            draws = torch.randn(count, generator=torch.Generator().manual_seed(mixed))
            margins += self.margin.margin_spread * draws
        return margins


def running(old: Tensor, new: Tensor, share: float) -> Tensor:
    """`old` moved towards `new` by this share; the first batch's figures as they are."""
    return torch.where(old.isnan(), new, old.lerp(new, share))


def save_head(path: Path, head: MarginHead, identities_sha256: str) -> None:
    """`identities_sha256` says whose the prototypes are, in their order."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in head.state_dict().items()}
    card = {"margin": asdict(head.margin), "identities_sha256": identities_sha256}
    with replacing(path) as scratch:
        save_file(tensors, scratch, {"card": canonical_json(card)})


def load_head(run: Path) -> tuple[MarginHead, str]:
    """The margin head that a run trained, in evaluation mode, and whose prototypes it has.

    Raises InputError if there is none.
    """
    path = run / HEAD
    if not path.exists():
        raise InputError(
            f"{path}: no margin head here; name a run that was trained with a margin on identities"
        )
    try:
        with safe_open(path, framework="pt") as opened:
            card = json.loads((opened.metadata() or {})["card"])
        margin = parse_fields(Margin, card["margin"], "its margin")
        tensors = load_file(path)
        head = MarginHead(margin, *tensors["prototypes"].shape)
        head.load_state_dict(tensors)
        return head.eval(), str(card["identities_sha256"])
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError, InputError) as error:
        raise InputError(f"{path}: not a margin head ({error})") from None
