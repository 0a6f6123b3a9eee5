"""Adaptors: from several teachers' embeddings of a face to one (MST-KD, ECCV-W 2024).

The teachers' unit embeddings, end to end in a fixed order, go through one or two linear layers;
the unit output is the target that students are taught.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from manifests.core.digests import canonical_json
from manifests.core.errors import InputError, pick
from manifests.core.files import replacing
from train.losses.terms import Target

ADAPTOR = "adaptor.safetensors"
SLOPE, DROPOUT = 0.01, 0.2
KINDS = ("single-linear", "double-linear", "double-linear-dropout")


@dataclass(frozen=True)
class Input:
    """One of the teachers whose embeddings are put together."""

    name: str
    width: int
    identity_sha256: str  # of the teacher's fingerprint: another teacher of that name is not it


class Adaptor(nn.Module):
    """Promise: `fused({name: raw embeddings})` are unit rows of `width`."""

    centre: Tensor
    spread: Tensor

    def __init__(
        self, kind: str, inputs: Sequence[Input], width: int, real_faces: Sequence[str] = ()
    ) -> None:
        """`real_faces`: what is stated of people on photographs whose embeddings it learnt from."""
        super().__init__()
        self.real_faces = tuple(real_faces)
        pick("adaptor", kind, dict.fromkeys(KINDS))
        self.kind, self.inputs, self.width = kind, tuple(inputs), width
        self.layers = _layers(kind, sum(one.width for one in inputs), width)
        # Of the fused embeddings of the first round, as a teacher store has them.
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("spread", torch.ones(()))

    def forward(self, joined: Float[Tensor, "batch joined"]) -> Float[Tensor, "batch width"]:
        unit: Tensor = functional.normalize(self.layers(joined))
        return unit

    def join(self, raw: Mapping[str, Float[Tensor, "batch _"]]) -> Float[Tensor, "batch joined"]:
        """The unit embeddings of all teachers, end to end in the adaptor's order."""
        return torch.cat([functional.normalize(raw[one.name]) for one in self.inputs], dim=1)

    @torch.no_grad()
    def fused(self, raw: Mapping[str, Float[Tensor, "batch _"]]) -> Float[Tensor, "batch width"]:
        """The target of each face: without dropout, whatever mode the module is in."""
        rows = self.join(raw)
        for layer in self.layers:
            rows = rows if isinstance(layer, nn.Dropout) else layer(rows)
        return functional.normalize(rows)

    @property
    def target(self) -> Target:
        return Target(self.centre, float(self.spread))


def _layers(kind: str, joined: int, width: int) -> nn.Sequential:
    """SL, DuL and DLDPO of MST-KD's code."""
    if kind == "single-linear":
        return nn.Sequential(nn.Linear(joined, width))
    dropout = [nn.Dropout(DROPOUT)] if kind.endswith("dropout") else []
    return nn.Sequential(
        nn.Linear(joined, width), *dropout, nn.LeakyReLU(SLOPE), nn.Linear(width, width)
    )


def save_adaptor(path: Path, adaptor: Adaptor) -> None:
    tensors = {name: tensor.cpu().contiguous() for name, tensor in adaptor.state_dict().items()}
    inputs = [[one.name, one.width, one.identity_sha256] for one in adaptor.inputs]
    values = {"kind": adaptor.kind, "inputs": inputs, "width": adaptor.width}
    people = {"real_faces": list(adaptor.real_faces)} if adaptor.real_faces else {}
    card = canonical_json(values | people)
    with replacing(path) as scratch:  # safetensors has no order for several keys of metadata
        save_file(tensors, scratch, {"card": card})


def load_adaptor(run: Path) -> Adaptor:
    """The adaptor of a run of `facestill fuse`. Raises InputError if there is none."""
    path = run / ADAPTOR
    if not path.exists():
        raise InputError(f"{path}: no adaptor here; run `facestill fuse {run.name}` first")
    try:
        with safe_open(path, framework="pt") as opened:
            card = json.loads((opened.metadata() or {})["card"])
        inputs = [Input(*fields) for fields in card["inputs"]]
        with torch.device("meta"):  # a stranger's card takes no more memory than its file
            people = [str(each) for each in card.get("real_faces", [])]
            adaptor = Adaptor(card["kind"], inputs, card["width"], people)
        adaptor.load_state_dict(load_file(path), assign=True)
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError, InputError) as error:
        raise InputError(f"{path}: not an adaptor ({error})") from None
    return adaptor.float().eval().requires_grad_(False)
