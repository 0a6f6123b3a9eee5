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

from manifests.core.digests import canonical_json, sha256_text
from manifests.core.errors import InputError
from manifests.core.files import replacing
from manifests.core.parsing import parse_fields
from manifests.settings.objectives import Margin
from train.losses.centres import last_of_each, sample_identities, taught_centres
from train.losses.margins import (
    NORMS,
    adaface_logits,
    arcface_logits,
    cosface_logits,
    labelled_cross_entropy,
    norm_qualities,
)
from train.losses.memory import several, whole

HEAD = "head.safetensors"
INITIAL_SPREAD = 0.01  # of a prototype's coordinates
UNKNOWN = float("nan")  # a running figure before the first batch
FIRST_NORMS = {"released": (20.0, 100.0), "batch": (UNKNOWN, UNKNOWN)}  # mean, deviation
IDENTITIES = "identities"  # what a random stream is for, beside its seed


class MarginHead(nn.Module):
    """Prototypes of the identities, and the running figures that a margin needs.

    An elastic margin and the sampled identities are functions of the head's seed and of the number
    of batches so far, both of which are in its state: training goes on with the same draws.
    """

    prototypes: nn.Parameter
    seed: Tensor
    batches: Tensor
    norms: Tensor
    sampled: Tensor | None = None  # whose prototypes the last loss looked at; None: all

    def __init__(self, margin: Margin, num_identities: int, width: int) -> None:
        super().__init__()
        self.margin = margin
        prototypes = torch.randn(num_identities, width) * INITIAL_SPREAD
        self.prototypes = nn.Parameter(prototypes, requires_grad=margin.centres == "learnt")
        self.register_buffer("seed", torch.randint(1 << 31, ()))
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))
        self.register_buffer("norms", torch.tensor(FIRST_NORMS[margin.first_norms]))

    def cosines(self, outputs: Float[Tensor, "batch width"]) -> Float[Tensor, "batch identity"]:
        """To the prototypes, without scale and margin."""
        return _cosines(outputs, self.prototypes)

    def logits(
        self, outputs: Float[Tensor, "batch width"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch identity"]:
        """Scaled cosines, with the margin where an output's own identity is known."""
        return self._with_margin(self.cosines(outputs), outputs, labels)

    def forward(
        self,
        outputs: Float[Tensor, "batch width"],
        labels: Int[Tensor, " batch"],
        taught: Float[Tensor, "batch width"] | None = None,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "batch identity"]]:
        """The loss, and the logits that it was computed from: of the sampled identities, where a
        share of them is. `taught`: what the teacher says of these faces, which centres follow."""
        if self.training:
            self._observe(outputs)
            if taught is not None:
                self._follow(whole(outputs), whole(taught), whole(labels))
        prototypes, places = self._looked_at(labels)
        logits = self._with_margin(_cosines(outputs, prototypes), outputs, places)
        return labelled_cross_entropy(logits, places), logits

    def _with_margin(self, cosines: Tensor, outputs: Tensor, labels: Tensor) -> Tensor:
        margin = self.margin
        if margin.name == "adaface":
            mean, spread = self.norms
            qualities = norm_qualities(outputs.norm(dim=1), mean, spread, margin.concentration)
            return adaface_logits(cosines, labels, qualities, margin.margin, margin.scale)
        margins = self._margins(len(outputs)).to(cosines)
        if margin.name.endswith("cosface"):
            return cosface_logits(cosines, labels, margins, margin.scale)
        return arcface_logits(cosines, labels, margins, margin.scale, monotonic=margin.monotonic)

    def _looked_at(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The prototypes of this loss, and the labels by their places among them."""
        if not self.training or self.margin.sample_rate == 1.0:
            self.sampled = None
            return self.prototypes, labels
        stream = sha256_text(f"{int(self.seed)}:{int(self.batches)}:{IDENTITIES}")
        generator = torch.Generator().manual_seed(int(stream[:15], 16))
        rate, count = self.margin.sample_rate, len(self.prototypes)
        self.sampled = rows = sample_identities(whole(labels), count, rate, generator)
        # A gradient as large as the rows; several processes can only add up one of all rows.
        prototypes = functional.embedding(rows, self.prototypes, sparse=not several())
        return prototypes, torch.searchsorted(rows, labels).where(labels >= 0, labels)

    @torch.no_grad()
    def _observe(self, outputs: Tensor) -> None:
        self.batches += 1
        norms = outputs.norm(dim=1).clamp(*NORMS)
        # AdaFace's code has n - 1 below; of one face that is none
        correction = min(len(norms) - 1, int(self.margin.first_norms == "released"))
        found = torch.stack([norms.mean(), norms.std(correction=correction)])
        self.norms.copy_(running(self.norms, found, self.margin.running_share))

    @torch.no_grad()
    def _follow(self, outputs: Tensor, taught: Tensor, labels: Tensor) -> None:
        """Of several faces of an identity the last one counts, as in AdaDistill's code."""
        rows = last_of_each(labels)
        own, weighted = labels[rows], self.margin.centres == "adadistill"
        self.prototypes[own] = taught_centres(
            self.prototypes[own], outputs[rows], taught[rows], weighted=weighted
        )

    def _margins(self, count: int) -> Tensor:
        """Of each row: N(margin, margin_spread) (ElasticFace, CVPR-W 2022)."""
        margins = torch.full((count,), self.margin.margin)
        if self.training and self.margin.margin_spread > 0:
            mixed = (int(self.seed) << 31) + int(self.batches)
            draws = torch.randn(count, generator=torch.Generator().manual_seed(mixed))
            margins += self.margin.margin_spread * draws
        return margins


def _cosines(outputs: Tensor, prototypes: Tensor) -> Tensor:
    return functional.linear(functional.normalize(outputs), functional.normalize(prototypes))


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
