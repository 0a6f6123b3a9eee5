"""The share of generated faces that is found, by yaw and by brightness; and what is found in
pictures that have no face."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch.nn import functional

from eval.scoring.intervals import wilson
from pipeline.arrays.align import Face
from tests.bench.aligners.contenders import DEFAULT, Contender, Pictures, Seen, find

REFERENCE_THRESHOLD = 0.1  # of the points that yaw is measured from
TERCILES = ("low", "middle", "high")
MOST_LOST = 0.05  # of any tercile
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)


def share(found: Bool[np.ndarray, " face"]) -> dict[str, Any]:
    """With Wilson's 95 % interval."""
    count, of = int(found.sum()), len(found)
    interval = [round(bound, 5) for bound in wilson(count, of)]
    return {"found": count, "of": of, "share": round(count / max(1, of), 5), "ci95": interval}


def shares_found(
    pictures: Pictures, found: Mapping[str, Seen], contenders: Sequence[Contender]
) -> dict[str, Any]:
    """By aligner, over all faces and by terciles; `lost` is what a store lacks of what was
    generated."""
    (default,) = (one for one in contenders if one.name == DEFAULT)
    groups = {"yaw": yaw_groups(turned(default, pictures)), "brightness": tercile(light(pictures))}
    there = {name: _is_there(seen.faces) for name, seen in found.items()}
    table = {
        name: {
            "all": share(rows),
            "first_attempt": share(_is_there(found[name].by_first())),
            **{group: _by_group(rows, names) for group, names in groups.items()},
        }
        for name, rows in there.items()
    }
    for one in table.values():
        thirds = [one[group].get(each) for group in groups for each in TERCILES]
        lost = max(1 - third["share"] for third in thirds if third is not None)
        one["most_lost_of_a_tercile"], one["within_5_percent"] = round(lost, 5), lost <= MOST_LOST
    nobody = ~np.any(list(there.values()), axis=0)
    return table | {
        "found_by_none": int(nobody.sum()),
        "of_those_without_points": int((nobody & (groups["yaw"] == "without points")).sum()),
        "yaw_from": f"{DEFAULT} at threshold {REFERENCE_THRESHOLD:g}",
    }


def _is_there(faces: Sequence[Face | None]) -> Bool[np.ndarray, " face"]:
    return np.array([face is not None for face in faces], bool)


def _by_group(found: Bool[np.ndarray, " face"], group: np.ndarray) -> dict[str, Any]:
    return {str(name): share(found[group == name]) for name in dict.fromkeys(sorted(group))}


def turned(reference: Contender, pictures: Pictures) -> Float[np.ndarray, " face"]:
    """How far a face is turned aside: from the middle between the eyes to the nose's tip along
    the line through the eyes, in distances of the eyes; NaN where there are no points."""
    faces = reference.look(pictures, threshold=REFERENCE_THRESHOLD)
    return np.array([np.nan if face is None else _turn(face.landmarks) for face in faces])


def _turn(points: Float[np.ndarray, "5 2"]) -> float:
    across, nose = points[1] - points[0], points[2] - (points[0] + points[1]) / 2
    return float(abs(across @ nose) / max(1e-9, across @ across))


def yaw_groups(values: Float[np.ndarray, " face"]) -> np.ndarray:
    known = np.isfinite(values)
    groups = np.full(len(values), "without points")
    groups[known] = tercile(values[known])
    return groups


def light(pictures: Pictures) -> Float[np.ndarray, " face"]:
    """The mean luma of each picture."""
    weights = pictures.new_tensor(LUMA)[:, None, None]
    return (pictures * weights).sum(dim=1).mean(dim=(1, 2)).double().numpy()


def tercile(values: Float[np.ndarray, " face"]) -> np.ndarray:
    """The name of each value's third."""
    bounds = np.quantile(values, (1 / 3, 2 / 3)) if len(values) else np.zeros(2)
    return np.array(TERCILES)[np.searchsorted(bounds, values, side="right")]


def false_alarms(pictures: Pictures, contenders: Sequence[Contender]) -> dict[str, Any]:
    """What is called a face where there is none, by kind of picture. Blocks of 16 pixels hold an
    eye or a mouth, so that a finding in those is no plain error."""
    made = {name: make(pictures) for name, make in FACELESS.items()}
    return {
        one.name: {
            name: share(_is_there(find(one, each, name).faces)) for name, each in made.items()
        }
        for one in contenders
    }


def _noise(pictures: Pictures) -> Pictures:
    rng = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, pictures.shape, generator=rng).float()


def _textures(pictures: Pictures) -> Pictures:
    """Noise of 8 x 8 pixels, enlarged."""
    rng = torch.Generator().manual_seed(2)
    small = torch.rand((len(pictures), 3, 8, 8), generator=rng) * 255
    smooth = functional.interpolate(
        small, pictures.shape[-2:], mode="bicubic", align_corners=False
    )  # fmt: skip
    return smooth.clamp(0, 255).round()


def scrambled(pictures: Pictures, block: int) -> Pictures:
    """Each picture's blocks in an order of its own."""
    rng = torch.Generator().manual_seed(block)
    blocks = functional.unfold(pictures, block, stride=block)
    order = torch.rand((len(pictures), 1, blocks.shape[2]), generator=rng).argsort(dim=2)
    moved = blocks.gather(2, order.expand_as(blocks))
    return functional.fold(moved, pictures.shape[-2:], block, stride=block)


FACELESS: dict[str, Callable[[Pictures], Pictures]] = {
    "noise": _noise,
    "smooth textures": _textures,
    "faces scrambled, blocks of 8": lambda pictures: scrambled(pictures, 8),
    "faces scrambled, blocks of 16": lambda pictures: scrambled(pictures, 16),
}
