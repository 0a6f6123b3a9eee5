"""How far a crop is from where it should be, where that is known: faces moved by similarities that
we choose must take their crops with them. And where the field's crop lies in our plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from pipeline.arrays.align import Face
from pipeline.arrays.frames import ARCFACE112, DLIB112, warp
from pipeline.arrays.landmarks import ARCFACE5
from tests.bench.aligners.contenders import Contender, Pictures, Seen, find
from tests.experiments.tables import figure

MIRRORED = [1, 0, 2, 4, 3]  # which point each of the template's becomes
CORNERS = ARCFACE5.inside(ARCFACE112)


def similarities(side: int) -> dict[str, Float[np.ndarray, "2 3"] | None]:
    """From a place in the moved picture to its place in the picture; None: the mirror."""

    def about_middle(radians: float, scale: float, *shift: float) -> np.ndarray:
        cos, sin = scale * np.cos(radians), scale * np.sin(radians)
        turn, middle = np.array([[cos, -sin], [sin, cos]]), np.full(2, side / 2)
        return np.column_stack([turn, middle - turn @ middle + shift])

    return {
        "turned by 0.12": about_middle(0.12, 1.0, 0.0, 0.0),
        "turned by -0.12": about_middle(-0.12, 1.0, 0.0, 0.0),
        "scaled by 1.1": about_middle(0.0, 1.1, 0.0, 0.0),
        "scaled by 0.93": about_middle(0.0, 0.93, 0.0, 0.0),
        "shifted": about_middle(0.0, 1.0, 2.3, -1.4),
        "all of it": about_middle(0.05, 1.05, -1.7, 1.9),
        "mirrored": None,
    }


def crop_errors(pictures: Pictures, contenders: Sequence[Contender]) -> dict[str, Any]:
    """Mean distance, in pixels of arcface112, of the template's five places in the crop of the
    moved picture from where the crop of the picture has them: by warp, over all, and over the
    faces that every aligner finds in all of them."""
    views = {
        name: pictures.flip(3) if matrix is None
        else warp(pictures, torch.from_numpy(matrix).float()[None], pictures.shape[-1],
                  mode="bicubic").clamp(0, 255).round()
        for name, matrix in similarities(pictures.shape[-1]).items()
    }  # fmt: skip
    errors = {one.name: _errors(one, pictures, views) for one in contenders}
    everywhere = np.all([np.isfinite(each).all(axis=1) for each in errors.values()], axis=0)
    return {
        name: {
            "mean": _mean(each[np.isfinite(each).any(axis=1)]),
            "found_by_all": _mean(each[everywhere]) | {"faces": int(everywhere.sum())},
            "by_warp": {
                warped: _mean(column[np.isfinite(column).any(axis=1)])["value"]
                for warped, column in zip(views, np.split(each, len(views), axis=1), strict=True)
            },
        }
        for name, each in errors.items()
    }


def _mean(errors: Float[np.ndarray, "face warp"]) -> dict[str, Any]:
    """Over faces, with its interval."""
    return figure(np.nanmean(errors, axis=1)) if len(errors) else {"value": None, "ci95": None}


def _errors(
    contender: Contender, pictures: Pictures, views: dict[str, Pictures]
) -> Float[np.ndarray, "face warp"]:
    """NaN where there is no face in either."""
    side = pictures.shape[-1]
    before = find(contender, pictures, "as generated")
    columns = []
    for name, matrix in similarities(side).items():
        after = find(contender, views[name], name)
        pairs = zip(before.faces, after.faces, strict=True)
        columns.append([_distance(one, other, matrix, side) for one, other in pairs])
    return np.array(columns).T


def _distance(
    before: Face | None, after: Face | None, matrix: Float[np.ndarray, "2 3"] | None, side: int
) -> float:
    if before is None or after is None:
        return float("nan")
    there, moved = _places(before), _places(after)
    if matrix is None:
        back = moved[MIRRORED] * (-1, 1) + (side, 0)
    else:
        back = moved @ matrix[:, :2].T + matrix[:, 2]
    return float(np.linalg.norm(back - there, axis=1).mean() / _scale(before))


def _placement(face: Face) -> Float[np.ndarray, "2 3"]:
    return face.scheme.placement(face.landmarks, ARCFACE112)


def _places(face: Face) -> Float[np.ndarray, "5 2"]:
    """Where the template's points come to lie in the picture, whatever points the aligner has."""
    matrix = _placement(face)
    return CORNERS @ matrix[:, :2].T + matrix[:, 2]


def _scale(face: Face) -> float:
    """Pixels of the picture for one of the crop."""
    return float(np.sqrt(np.linalg.det(_placement(face)[:, :2])))


def place_in_the_plane(by_dlib: Seen, by_field: Seen) -> dict[str, Any]:
    """Where the field's crop lies in the plane, which dlib's points define, of faces that both
    find at their first attempt: the constants of ARCFACE112."""
    both = [
        (one, other)
        for one, other in zip(by_dlib.by_first(), by_field.by_first(), strict=True)
        if one is not None and other is not None
    ]
    if not both:
        return {"faces": 0}
    matrices = np.array([_in_plane(one, other) for one, other in both])
    scale, turn, left, top = np.median(matrices, axis=0)
    sides = {"left": left, "top": top, "extent": scale * ARCFACE112.size}
    return {
        "faces": len(both),
        "median": {name: round(float(value), 3) for name, value in sides.items()},
        "turn": round(float(turn), 5),
        "standard_deviation": dict(
            zip(
                ("scale", "turn", "left", "top"),
                matrices.std(axis=0).round(3).tolist(),
                strict=True,
            )
        ),
        "constants": {name: getattr(ARCFACE112, name) for name in sides},
    }


def _in_plane(by_dlib: Face, by_field: Face) -> tuple[float, ...]:
    """Scale, turn, left and top of the field's crop of 112 pixels, in units of the plane."""
    plane = by_dlib.scheme.placement(by_dlib.landmarks, DLIB112)
    crop = _placement(by_field)
    into = np.linalg.inv(plane[:, :2])
    turn, corner = into @ crop[:, :2], into @ (crop[:, 2] - plane[:, 2])
    return float(turn[0, 0]), float(turn[1, 0]), float(corner[0]), float(corner[1])
