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
from pipeline.arrays.numerics import BATCH
from pipeline.foreign.onnx import MAX_SIDE, Declaration, OnnxFile, normalisation_of, open_file
from pipeline.generators.base import Generator
from pipeline.generators.stylegan.alignment import ffhq_frame
from pipeline.generators.stylegan.files import NAME

DETECT, FFHQ = "detect", "ffhq"
WIDEST = 1 << 16  # numbers of a latent


class OnnxGenerator(Generator):
    def __init__(self, file: OnnxFile) -> None:
        declared = file.declared
        self.file = file
        self.name = _name(declared)
        self.weights_sha256 = file.sha256
        self.licence = declared.require("licence")
        self.latent_space = declared.choose("latent_space", SPACES, "z")
        self.source, self.batch, self.latent_width = _latents(file)
        names = {item.name for item in file.session.get_outputs()}
        only = next(iter(names)) if len(names) == 1 else None
        self.output = declared.choose("output", names, only)
        self.channels_last = declared.choose("layout", ("nchw", "nhwc"), "nchw") == "nhwc"
        self.bgr = declared.choose("colours", ("rgb", "bgr")) == "bgr"
        self.mean, self.scale = (
            torch.tensor(own)[:, None, None] for own in normalisation_of(declared, "float32")
        )
        self.frame = _frame(declared, self._check().shape[2])

    def to(self, device: torch.device) -> None:
        """The graph runs on the CPU wherever its pictures go."""

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
        try:
            (found,) = self.file.session.run([self.output], {self.source: padded.numpy()})
        except Exception as error:  # onnxruntime's errors have no base class of their own
            reason = " ".join(str(error).split())[:160]
            raise InputError(f"{self.file.path}: does not run ({reason})") from None
        sides = found.shape[1:3] if self.channels_last else found.shape[2:]
        wanted = (self.batch, *sides, 3) if self.channels_last else (self.batch, 3, *sides)
        if found.shape != wanted or len({*sides}) != 1 or not 0 < sides[0] <= MAX_SIDE:
            raise InputError(
                f"{self.file.path}: output {self.output} is {list(found.shape)} for {self.batch} "
                "latents, expected as many square pictures of three channels"
            )
        return torch.from_numpy(found[: len(latents)].astype(np.float32))

    def _check(self) -> Tensor:
        """Pictures of a few latents. Raises InputError if they are others the second time, or no
        numbers: a row's picture depends on its latent alone."""
        rng = np.random.default_rng(0)
        z = torch.from_numpy(rng.standard_normal((2, self.latent_width), dtype=np.float32))
        pictures = self.render(z)
        if not torch.equal(pictures, self.render(z)):
            raise InputError(
                f"{self.file.path}: gives other pictures for the same latents, or none; take the "
                "noise out of the graph, or make it constant"
            )
        return pictures


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


def _latents(file: OnnxFile) -> tuple[str, int, int]:
    """(name, rows of one call, numbers of a row) of the input."""
    sources = file.session.get_inputs()
    shape, kind = (sources[0].shape, sources[0].type) if len(sources) == 1 else ([], "")
    width = shape[1] if len(shape) == 2 else 0
    rows = shape[0] if shape and isinstance(shape[0], int) else BATCH
    fits = isinstance(width, int) and 0 < width <= WIDEST and rows > 0
    if not fits or kind != "tensor(float)":
        found = ", ".join(f"{own.type} {list(own.shape)}" for own in sources) or "nothing"
        raise InputError(f"{file.path}: takes {found}, expected float [batch, width] of latents")
    return sources[0].name, rows, width
