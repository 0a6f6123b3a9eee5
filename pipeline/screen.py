"""Mark a round's near-duplicates and poor faces in data/ROUND/marks/.

    facestill screen ROUND [--against ROUND …] [--quality TABLE [--worst 0.1]]

Faces that nearly repeat an earlier one, that the detector was least sure of, that look unlike the
others of their identity, or that are the worst by a table of `facestill qualities`, are marked
with the reason. They stay where they are: whoever reads a round decides (train.leave_out).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import faiss
import numpy as np
from jaxtyping import Float, Int

from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.core.layout import IDENTITIES
from manifests.core.progress import Bar
from manifests.records.marks import (
    LOW_QUALITY,
    LOW_UTILITY,
    NEAR_DUPLICATE,
    OFF_IDENTITY,
    Mark,
    Marks,
)
from manifests.records.qualities import QualityTable
from manifests.settings.params import Params, Screen, load_params
from manifests.stores.rounds import RoundFiles, open_round
from pipeline.arrays.neighbours import unit_rows

WORST = 0.1  # share of the faces that are of low utility, where a table of qualities is named
QUERIES = 1024  # rows searched at a time: their hits are in memory


@dataclass(frozen=True)
class Place:
    """A face by round and row."""

    round: str
    row: int


def near_duplicates(
    earlier: Float[np.ndarray, "first width"],
    rows: Float[np.ndarray, "second width"],
    least_cosine: float,
) -> list[tuple[int, int, float]]:
    """(row, index of the face that it repeats, cosine) for unit vectors; the index counts
    through `earlier` and then `rows`.

    A row is a near-duplicate if a face before it, that is none itself, has a cosine above
    `least_cosine`; of several the closest is named. So of every cluster the first face stays.
    """
    everything = np.concatenate([earlier, rows]).astype(np.float32)
    index = faiss.IndexFlatIP(everything.shape[1])
    index.add(everything)
    first, found = len(earlier), []
    marked: set[int] = set()
    for at in Bar(range(0, len(rows), QUERIES), desc="duplicates", unit="block", leave=False):
        ends, cosines, hits = index.range_search(everything[first + at :][:QUERIES], least_cosine)
        for row in range(at, min(at + QUERIES, len(rows))):
            span = slice(int(ends[row - at]), int(ends[row - at + 1]))
            before = [
                (-float(cosine), int(hit))
                for cosine, hit in zip(cosines[span], hits[span], strict=True)
                if hit < first + row and int(hit) not in marked
            ]
            if before:
                cosine, hit = min(before)  # ties go to the earlier face
                found.append((row, hit, -cosine))
                marked.add(first + row)
    return found


def centred(files: RoundFiles, centre: Float[np.ndarray, " width"]) -> tuple[np.ndarray, list[int]]:
    """Unit vectors of the usable faces' plain view, and their rows."""
    rows = np.flatnonzero(files.faces.ok())
    vectors = files.teacher.embeddings()[rows, 0].astype(np.float32) - centre
    return unit_rows(vectors), rows.tolist()


def identity_cosines(
    vectors: Float[np.ndarray, "face width"], identity: Int[np.ndarray, " face"]
) -> Float[np.ndarray, " face"]:
    """Cosine of each unit vector to the mean of its identity's others; NaN where it is alone."""
    _, home, sizes = np.unique(identity, return_inverse=True, return_counts=True)
    total = np.zeros((len(sizes), vectors.shape[1]))
    np.add.at(total, home, vectors)
    others = total[home] - vectors
    norms = np.linalg.norm(others, axis=1)
    told = (sizes[home] > 1) & (norms > 0)
    products = (vectors * others).sum(axis=1)
    return np.divide(products, norms, out=np.full(len(norms), np.nan), where=told)


def off_identity(
    files: RoundFiles, vectors: Float[np.ndarray, "face width"], rows: list[int], least: float
) -> list[Mark]:
    """Marks of faces unlike their identity's others; none in a round without identities."""
    if files.manifest is None or not rows:
        return []
    known = np.asarray(files.manifest.table["identity_id"].combine_chunks().is_valid())[rows]
    identity = files.manifest.table["identity_id"].fill_null(-1).to_numpy()[rows]
    cosines = np.full(len(rows), np.nan)
    cosines[known] = identity_cosines(vectors[known], identity[known])
    return [
        Mark(rows[at], OFF_IDENTITY, float(cosines[at])) for at in np.flatnonzero(cosines < least)
    ]


def draw_marks(files: RoundFiles, against: Sequence[RoundFiles], settings: Screen) -> Marks:
    """The marks of a round; faces of `against` count as earlier ones."""
    centre = files.teacher.centre()
    vectors, rows = centred(files, centre)
    others = [(other.name, *centred(other, centre)) for other in against]
    places = [Place(name, row) for name, _, their_rows in others for row in their_rows]
    places += [Place(files.name, row) for row in rows]
    earlier = np.concatenate([vectors[:0], *(their_vectors for _, their_vectors, _ in others)])
    marks = [
        Mark(rows[row], NEAR_DUPLICATE, cosine, places[of].round, places[of].row)
        for row, of, cosine in near_duplicates(earlier, vectors, settings.least_cosine)
    ]
    quality = files.faces.column("quality")
    marks += [
        Mark(row, LOW_QUALITY, float(quality[row]))
        for row in rows
        if quality[row] < settings.least_quality  # never true of NaN: no detector was needed
    ]
    marks += off_identity(files, vectors, rows, settings.least_identity)
    rule = {
        "least_cosine": str(settings.least_cosine),
        "least_quality": str(settings.least_quality),
        "least_identity": str(settings.least_identity),
        "against": " ".join(other.faces.root for other in against),
    }
    return Marks(tuple(marks), files.faces.root, files.teacher.root, rule)


def low_utility(files: RoundFiles, path: Path, worst: float) -> tuple[list[Mark], dict[str, str]]:
    """Marks of the share `worst` of usable faces that a table of qualities has at its lower end,
    and the rule that they follow."""
    table, digest = QualityTable.read(path, faces_root=files.faces.root)
    usable = np.flatnonzero(files.faces.ok())
    table.require(usable, path)
    rows = table.worst(usable, worst).tolist()
    marks = [Mark(row, LOW_UTILITY, float(table.quality[row])) for row in rows]
    return marks, {"qualities": digest, "worst": str(worst)}


def screen_round(
    name: str,
    against: Sequence[str],
    params: Params,
    quality: Path | None = None,
    worst: float = WORST,
) -> Marks:
    """Marks round `name` and writes the marks."""
    if not 0 < worst < 1:
        raise InputError(f"--worst {worst:g}: expected a share between 0 and 1")
    if name in against or len(set(against)) < len(against):
        raise InputError(f"--against {' '.join(against)}: each round once, and not {name} itself")
    files = open_round(name, params.teacher)
    others = [open_round(other, params.teacher) for other in against]
    low, rule = low_utility(files, quality, worst) if quality is not None else ([], {})
    with timed(f"screen@{name}"):
        marks = draw_marks(files, others, params.screen)
        marks = replace(marks, marks=(*marks.marks, *low), rule={**marks.rule, **rule})
        marks.write(layout.marks(name, params.teacher))
    return marks


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("round", type=layout.round_name, help="name of an embedded round")
    parser.add_argument(
        "--against",
        type=layout.round_name,
        nargs="+",
        default=[],
        metavar="ROUND",
        help="earlier rounds",
    )
    parser.add_argument("--quality", type=Path, metavar="TABLE", help="of facestill qualities")
    parser.add_argument("--worst", type=float, default=WORST, help="share of it to mark")
    args = parser.parse_args()
    params = load_params()
    marks = screen_round(args.round, args.against, params, args.quality, args.worst)
    counts = ", ".join(f"{n:,} {reason}" for reason, n in marks.counts.items())
    following = f"facestill train RUN --rounds {args.round}"
    if args.round == IDENTITIES:
        following = f"facestill quality {IDENTITIES}"
    conclude(layout.marks(args.round, params.teacher), f"marked {counts}", following)


if __name__ == "__main__":
    run_command(main)
