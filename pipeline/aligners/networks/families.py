"""Detectors of faces as people have them: how they are fed, and what their outputs say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

STRIDES = (8, 16, 32)
Outputs = Mapping[str, Tensor]  # by name: "batch row number"


class Family(ABC):
    """One kind of detector."""

    name: str
    anchors: int  # of each place
    fed: ClassVar[Mapping[str, str]]  # as a file could declare it (docs/MODELS.md)
    gives: str  # its outputs, in words

    @abstractmethod
    def fits(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Whether these are its outputs."""

    def rows(self, side: int) -> str:
        """How many each map has, of square pictures."""
        counts = [self.anchors * len(places(side, stride)) for stride in STRIDES]
        return f"{', '.join(map(str, counts))}, {sum(counts)} in all"

    @abstractmethod
    def decode(self, outputs: Outputs, side: int) -> Float[Tensor, "batch candidate 15"]:
        """Score, box (left, top, right, bottom) and five points; in pixels of square pictures."""


class YuNetFile(Family):
    """Of OpenCV's zoo (its face_detect.cpp): one place a stride, whose prior is its first pixel."""

    name, anchors = "YuNet", 1
    fed: ClassVar = {"colours": "bgr", "normalisation": "in-graph"}
    gives = "those of YuNet (cls, obj, bbox, kps, each _8, _16, _32)"
    widths: ClassVar = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}

    def fits(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        wanted = {f"{name}_{stride}": w for name, w in self.widths.items() for stride in STRIDES}
        return {name: shape[-1] for name, shape in shapes.items() if shape} == wanted

    def decode(self, outputs: Outputs, side: int) -> Float[Tensor, "batch candidate 15"]:
        found = []
        for stride in STRIDES:
            cls, obj, bbox, kps = (outputs[f"{name}_{stride}"] for name in self.widths)
            place = places(side, stride)
            score = (cls.clamp(0, 1) * obj.clamp(0, 1)).sqrt()
            centre, half = bbox[..., :2] * stride + place, bbox[..., 2:].exp() * (stride / 2)
            found.append(
                rows(score, centre - half, centre + half, kps * stride + place.repeat(1, 5))
            )
        return torch.cat(found, dim=1)


class Scrfd(Family):
    """Of InsightFace (its scrfd.py): two anchors a place; ends of boxes, and points, lie so many
    strides from its first pixel."""

    name, anchors = "SCRFD", 2
    fed: ClassVar = {"colours": "rgb", "normalisation": "(x - 127.5) / 128"}
    gives = "of SCRFD with keypoints (three of 1, of 4 and of 10 numbers a row)"

    def fits(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        by_width = {width: self._of_width(shapes, width) for width in (1, 4, 10)}
        counts = [[shapes[name][-2] for name in names] for names in by_width.values()]
        return len(shapes) == 9 and counts[0] == counts[1] == counts[2] and len({*counts[0]}) == 3

    def _of_width(self, shapes: Mapping[str, tuple[int, ...]], width: int) -> list[str]:
        """Outputs of so many numbers a row, the finest stride's first."""
        fitting = [name for name, own in shapes.items() if len(own) > 1 and own[-1] == width]
        return sorted(fitting, key=lambda name: -shapes[name][-2])

    def decode(self, outputs: Outputs, side: int) -> Float[Tensor, "batch candidate 15"]:
        shapes = {name: tuple(each.shape) for name, each in outputs.items()}
        levels = zip(STRIDES, *(self._of_width(shapes, w) for w in (1, 4, 10)), strict=True)
        found = []
        for stride, *names in levels:
            score, box, points = (outputs[name] for name in names)
            place, box, points = places(side, stride, self.anchors), box * stride, points * stride
            ends = (place - box[..., :2], place + box[..., 2:])
            found.append(rows(score, *ends, points + place.repeat(1, 5)))
        return torch.cat(found, dim=1)


class RetinaFace(Family):
    """Of biubug6/Pytorch_Retinaface (its prior_box.py and box_utils.py): two squares about the
    middle of each place, and offsets in tenths of them."""

    name, anchors = "RetinaFace", 2
    fed: ClassVar = {"colours": "bgr", "normalisation": "(x - 104, 117, 123) / 1"}
    gives = "or of RetinaFace (loc, conf and landms: one of 4, of 2 and of 10 numbers a row)"
    squares: ClassVar = {8: (16, 32), 16: (64, 128), 32: (256, 512)}  # pixels, by stride
    variances = (0.1, 0.2)

    def fits(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        widths = sorted(shape[-1] for shape in shapes.values() if shape)
        return len(shapes) == 3 and widths == [2, 4, 10]

    def decode(self, outputs: Outputs, side: int) -> Float[Tensor, "batch candidate 15"]:
        by_width = {each.shape[-1]: each for each in outputs.values()}
        box, score, points = by_width[4], by_width[2][..., 1:], by_width[10]
        of_centre, of_side = self.variances
        middles = [places(side, stride, self.anchors) + stride / 2 for stride in STRIDES]
        sizes = [
            torch.tensor(self.squares[stride]).float().repeat(len(own) // 2)
            for stride, own in zip(STRIDES, middles, strict=True)
        ]
        middle, size = torch.cat(middles), torch.cat(sizes)[:, None]
        centre = middle + box[..., :2] * of_centre * size
        half = size * (box[..., 2:] * of_side).exp() / 2
        points = middle.repeat(1, 5) + points * of_centre * size
        return rows(score, centre - half, centre + half, points)


FAMILIES: tuple[Family, ...] = (YuNetFile(), Scrfd(), RetinaFace())


def places(side: int, stride: int, anchors: int = 1) -> Float[Tensor, "place 2"]:
    """The first pixel (x, y) of each place of a map, row by row, each so many times."""
    ends = torch.arange(0, side, stride, dtype=torch.float32)
    ys, xs = torch.meshgrid(ends, ends, indexing="ij")
    return torch.stack([xs, ys], dim=-1).reshape(-1, 2).repeat_interleave(anchors, dim=0)


def rows(score: Tensor, start: Tensor, end: Tensor, points: Tensor) -> Tensor:
    return torch.cat([score, start, end, points], dim=-1)
