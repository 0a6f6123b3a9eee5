"""A generator in an ONNX file, `onnx:PATH`: what it declares stands in for a backend's constants.

It takes one batch of latents and gives one of square RGB pictures. `facestill.normalisation`
says what the graph's numbers are to a picture's pixels, as it does for a network that is fed
with pictures: (x - 127.5) / 127.5 for pictures in -1 to 1 (docs/GENERATORS.md).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from manifests.core.errors import InputError
from manifests.stores.latents import SPACES
from pipeline.arrays.frames import FRAMES, Frame
from pipeline.foreign.declarations import FLOATS, MAX_SIDE, Declaration, normalisation_of
from pipeline.foreign.onnx import MAX_WIDTH, OnnxFile, open_file
from pipeline.foreign.promises import check_latents
from pipeline.generators.base import Generator
from pipeline.generators.stylegan.alignment import ffhq_frame
from pipeline.generators.stylegan.files import NAME

DETECT, FFHQ = "detect", "ffhq"


class OnnxGenerator(Generator):
    def __init__(self, file: OnnxFile) -> None:
        declared = file.declared
        self.file = file
        self.name = _name(declared)
        self.weights_sha256 = file.sha256
        self.licence = declared.require("licence")
        self.latent_space = declared.choose("latent_space", SPACES, "z")
        rows, self.latent_width = _latents(file)
        names = {item.name for item in file.session.get_outputs()}
        only = next(iter(names)) if len(names) == 1 else None
        self.output = declared.choose("output", names, only)
        self.channels_last = declared.choose("layout", ("nchw", "nhwc"), "nchw") == "nhwc"
        self.bgr = declared.choose("colours", ("rgb", "bgr")) == "bgr"
        self.mean, self.scale = (
            torch.tensor(own)[:, None, None] for own in normalisation_of(declared, "float32")
        )
        self.batch = file.trial(rows)
        check_latents(self.render, self.latent_width, str(file.path), file.eps(self.output))
        self.batch = file.batch(rows)
        size = self.render(torch.zeros(1, self.latent_width)).shape[2]
        self.frame = _frame(declared, size)

    def to(self, device: torch.device) -> None:
        """The graph runs on the CPU wherever its pictures go."""

    def numerics(self) -> dict[str, str]:
        return self.file.numerics

    def render(self, latents: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch 3 size size"]:
        parts = [self._run(part) for part in torch.split(latents.cpu(), self.batch)]
        pictures = torch.cat(parts)
        if self.channels_last:
            pictures = pictures.permute(0, 3, 1, 2)
        pictures = pictures * self.scale + self.mean
        return (pictures.flip(1) if self.bgr else pictures).clamp(0.0, 255.0).round()

    def _run(self, latents: Tensor) -> Tensor:
        missing = self.batch - len(latents)
        padded = torch.cat([latents, latents[-1:].expand(missing, -1)])
        found = self.file.run(self.output, padded.numpy())
        sides = found.shape[1:3] if self.channels_last else found.shape[2:]
        wanted = (self.batch, *sides, 3) if self.channels_last else (self.batch, 3, *sides)
        if found.shape != wanted or len({*sides}) != 1 or not 0 < sides[0] <= MAX_SIDE:
            raise InputError(
                f"{self.file.path}: output {self.output} is {list(found.shape)} for {self.batch} "
                "latents, expected as many square pictures of three channels"
            )
        return torch.from_numpy(found[: len(latents)].astype(np.float32))


def load_file(path: Path) -> OnnxGenerator:
    return OnnxGenerator(open_file(path))


def _name(declared: Declaration) -> str:
    name = declared.values.get("name", declared.path.stem)
    if not NAME.fullmatch(name):
        raise InputError(
            f"{declared.path}: facestill.name {name[:64]!r}; a name has letters, digits, dots, "
            "dashes and underscores"
        )
    return name


def _frame(declared: Declaration, size: int) -> Frame | None:
    name = declared.choose("frame", (*FRAMES, FFHQ, DETECT))
    if name == DETECT:
        return None
    return ffhq_frame(size) if name == FFHQ else FRAMES[name].at(size)


def _latents(file: OnnxFile) -> tuple[int | str | None, int]:
    """(first length, numbers of a row) of the input."""
    sources = file.session.get_inputs()
    shape, kind = (sources[0].shape, sources[0].type) if len(sources) == 1 else ([], "")
    width = shape[1] if len(shape) == 2 else 0
    fits = isinstance(width, int) and 0 < width <= MAX_WIDTH
    if not fits or kind not in FLOATS:
        found = ", ".join(f"{own.type} {list(own.shape)}" for own in sources) or "nothing"
        raise InputError(f"{file.path}: takes {found}, expected float [batch, width] of latents")
    return shape[0], width
