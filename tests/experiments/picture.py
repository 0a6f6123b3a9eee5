"""README's picture: faces of the identities on both sides of a boundary.
-> docs/results/identities.webp

    python -m tests.experiments.picture [--rows 2]      beside a finished `make repro`

In the middle the reference that a boundary stands around; left of it faces from the side that looks
like it, right of it from the other: an identity each. Boundaries at even spacing of those with
enough faces, none picked by hand; synthetic faces only.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from eval.reporting.pictures import read_faces, row_of, showable, sides_of, spread
from manifests.core import layout
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.core.layout import IDENTITIES, POOL
from manifests.records.boundaries import Boundaries
from manifests.settings.params import Params, load_params
from manifests.stores.rounds import open_round

OUT = Path("docs/results/identities.webp")
A_SIDE, GAP, WIDE_GAP = 5, 4, 20  # faces, and clear pixels beside a face and beside the reference


def row_picture(
    similar: UInt8[np.ndarray, "face size size 3"],
    reference: UInt8[np.ndarray, "1 size size 3"],
    other: UInt8[np.ndarray, "face size size 3"],
) -> UInt8[np.ndarray, "size width 4"]:
    """RGBA, clear between the faces."""
    parts = [(similar, GAP), (reference, WIDE_GAP), (other, GAP)]
    size = similar.shape[1]
    columns: list[np.ndarray] = []
    for at, (faces, gap) in enumerate(parts):
        if at:
            columns.append(np.zeros((size, WIDE_GAP, 4), np.uint8))
        for number, face in enumerate(faces):
            if number:
                columns.append(np.zeros((size, gap, 4), np.uint8))
            columns.append(np.dstack([face, np.full(face.shape[:2], 255, np.uint8)]))
    return np.hstack(columns)


def picture(params: Params, count: int) -> UInt8[np.ndarray, "height width 4"]:
    """`count` boundaries, one above the other. Raises InputError where they are not there."""
    pool, identities = (open_round(name, params.teacher) for name in (POOL, IDENTITIES))
    references, manifest = showable(pool), showable(identities)
    if references is None or manifest is None:
        raise InputError("these rounds hold pictures that no generator made; none is shown")
    boundaries = Boundaries.read(layout.boundaries(POOL))
    ok = identities.faces.ok()
    sides = {int(own): sides_of(manifest, ok, int(own)) for own in boundaries.face_id}
    enough = [own for own, both in sides.items() if min(map(len, both)) >= A_SIDE]
    rows = []
    for own in spread(np.array(enough), count + 2)[1:-1].tolist():
        faces = [read_faces(identities.faces, spread(each, A_SIDE)) for each in sides[own]]
        reference = read_faces(pool.faces, row_of(references, np.array([own])))
        rows.append(row_picture(faces[0], reference, faces[1]))
    between = np.zeros((GAP * 2, rows[0].shape[1], 4), np.uint8)
    return np.vstack([part for row in rows for part in (row, between)][:-1])


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    image = Image.fromarray(picture(load_params(), args.rows))
    image.save(args.out, "WEBP", quality=85, method=6)
    conclude(args.out, f"{args.rows} boundaries, {args.out.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    run_command(main)
