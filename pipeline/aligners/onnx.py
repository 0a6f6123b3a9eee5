"""A detector with five points in an ONNX file, `onnx:PATH`: YuNet as OpenCV's zoo has it, SCRFD as
InsightFace exports it, RetinaFace as biubug6's PyTorch code does. A file's outputs tell which it is
(docs/ALIGNERS.md)."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from manifests.core.errors import InputError
from pipeline.aligners.base import Found
from pipeline.aligners.networks.canvases import STEP, CanvasAligner, batch_of
from pipeline.aligners.networks.families import FAMILIES, Family, Outputs
from pipeline.foreign.declarations import DTYPES, MAX_SIDE, UNSTATED, Pixels, pixels_of
from pipeline.foreign.onnx import OnnxFile, open_file
from pipeline.foreign.promises import check_pictures

TRIED = 96  # pixels of a side, where a file leaves it open


class OnnxAligner(CanvasAligner):
    def __init__(self, file: OnnxFile) -> None:
        self.file = file
        self.name = file.declared.own_name()
        self.weights_sha256 = file.sha256
        self.licence = file.declared.values.get("licence", UNSTATED)
        length, self.channels_last, self.side = _taken(file)
        given, self.names = file.batch(length), [each.name for each in file.session.get_outputs()]
        self.sides = (self.side,) if self.side else type(self).sides
        self.pixels = self._fed(None)
        side = self.side or TRIED
        shapes = self._shapes(given if isinstance(length, int) else 1, side)
        family = next((each for each in FAMILIES if each.fits(shapes)), None)
        if family is None:
            found = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())[:300]
            wanted = "; ".join(each.gives for each in FAMILIES)
            raise InputError(f"{file.path}: gives {found}; expected {wanted}")
        self.family: Family = family
        self.pixels = self._fed(family)
        self.batch: int | None = given
        if any(len(shape) == 2 for shape in shapes.values()):
            self.batch = 1  # its rows do not say whose they are
        elif not isinstance(length, int) and given > 1:
            self.batch = batch_of(side) if self.side else None  # as many as there are
        eps = max(file.eps(name) for name in self.names)
        check_pictures(self._numbers, side, str(file.path), eps)
        self.candidates(torch.zeros(1, 3, side, side))

    def to(self, device: torch.device) -> None:
        """The graph runs on the CPU wherever the pictures come from."""

    def numerics(self) -> dict[str, str]:
        return self.file.numerics

    def detect(
        self, pictures: Float[Tensor, "batch 3 height width"], *, size: int, threshold: float
    ) -> list[Found]:
        if self.side and size > self.side:
            raise InputError(
                f"{self.file.path}: takes pictures of {self.side} pixels, smaller than {size}; set "
                f"render.detect_size to at most {self.side} in params.yaml"
            )
        return super().detect(pictures, size=size, threshold=threshold)

    def candidates(
        self, canvases: Float[Tensor, "batch 3 side side"]
    ) -> Float[Tensor, "batch candidate 15"]:
        missing = (self.side or canvases.shape[-1]) - canvases.shape[-1]
        outputs = self._outputs(functional.pad(canvases, (0, missing, 0, missing)))
        side = canvases.shape[-1] + missing
        try:
            rows = self.family.decode(outputs, side)
        except RuntimeError:  # as many rows as a map has places fit
            found = sorted({each.shape[1] for each in outputs.values()}, reverse=True)
            raise InputError(
                f"{self.file.path}: gives {', '.join(map(str, found))} rows for {side} pixels, "
                f"{self.family.name} has {self.family.rows(side)}; export it for any side, or for "
                "one"
            ) from None
        sound = rows.isfinite().all(-1) & (rows[..., 1:3] < rows[..., 3:5]).all(-1)
        return torch.where(sound[..., None], rows, 0)

    def _numbers(self, pictures: Tensor) -> Tensor:
        outputs = self._outputs(pictures).values()
        return torch.cat([each.flatten(1) for each in outputs], dim=1)

    def _outputs(self, canvases: Tensor) -> Outputs:
        """Of each output, "batch row number"; always in calls of one shape."""
        size = self.batch or len(canvases)
        parts: dict[str, list[Tensor]] = {name: [] for name in self.names}
        for batch in torch.split(canvases, size):
            missing = size - len(batch)
            padded = torch.cat([batch, batch[-1:].expand(missing, -1, -1, -1)])
            given = self.file.run_all(self.names, self.pixels(padded))
            for name, values in zip(self.names, given, strict=True):
                rows = torch.from_numpy(values).float()
                rows = rows[None] if rows.ndim == 2 and size == 1 else rows
                parts[name].append(self._whole(name, rows, size)[: len(batch)])
        return {name: torch.cat(each) for name, each in parts.items()}

    def _whole(self, name: str, rows: Tensor, size: int) -> Tensor:
        if rows.ndim != 3 or len(rows) != size:
            raise InputError(
                f"{self.file.path}: output {name} is {list(rows.shape)} for {size} pictures, "
                "expected [picture, row, number]; export it for one picture, or for any number"
            )
        return rows

    def _shapes(self, size: int, side: int) -> dict[str, tuple[int, ...]]:
        black = torch.zeros(size, 3, side, side)
        found = self.file.run_all(self.names, self.pixels(black))
        return {name: each.shape for name, each in zip(self.names, found, strict=True)}

    def _fed(self, family: Family | None) -> Pixels:
        """How it is fed with pictures: as its family is, where it does not declare otherwise."""
        own = {"colours": "rgb", "normalisation": "in-graph"} if family is None else family.fed
        layout = "nhwc" if self.channels_last else "nchw"
        dtype = DTYPES[self.file.session.get_inputs()[0].type]
        return pixels_of(self.file.declared.with_defaults(own), layout, dtype)


def load_file(path: Path) -> OnnxAligner:
    return OnnxAligner(open_file(path))


def _taken(file: OnnxFile) -> tuple[int | str | None, bool, int | None]:
    """(first length, whether colours come last, side or None for any) of the input."""
    last = file.declared.choose("layout", ("nchw", "nhwc"), "nchw") == "nhwc"
    sources = file.session.get_inputs()
    shape = sources[0].shape if len(sources) == 1 else []
    rest = [*shape[3:], *shape[1:3]] if last else shape[1:]
    fixed = {end for end in rest[1:] if isinstance(end, int)}
    side = fixed.pop() if fixed else None
    open_ends = sum(not isinstance(end, int) for end in rest[1:])
    square = not fixed and open_ends in ((0,) if side else (2,))
    fits = side is None or (0 < side <= MAX_SIDE and side % STEP == 0)
    if len(shape) != 4 or rest[0] != 3 or not (square and fits) or sources[0].type not in DTYPES:
        found = ", ".join(f"{own.type} {list(own.shape)}" for own in sources) or "nothing"
        raise InputError(
            f"{file.path}: takes {found}, expected [batch, 3, side, side], of any side, or of a "
            f"multiple of {STEP} up to {MAX_SIDE}"
        )
    return shape[0], last, side
