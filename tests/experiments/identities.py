"""Which law makes identities? Every law against random grouping -> docs/results/identities.json.

    python -m tests.experiments.identities [--judge RUN | --judge onnx:PATH] [--least-identity X]

beside a finished `make repro`. A judge is a network that had no part in the identities, such as
a run trained on the pool alone. An arm that is already measured is kept, so that the experiment
can be interrupted. Pictures are rendered in memory; nothing of the default run is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eval.photos.models import Model, load_model
from eval.quality import require_independent
from eval.scoring.separability import Looks, measure
from manifests.core import layout
from manifests.core.errors import Parser, run_command
from manifests.core.files import write_json
from manifests.core.layout import IDENTITIES, POOL
from manifests.core.progress import Bar
from manifests.records.boundaries import Boundaries
from manifests.settings.params import Identities, Params, load_params
from manifests.stores.rounds import open_round
from pipeline.aligners import load_aligner
from pipeline.arrays.frames import WIDE, to_frame
from pipeline.arrays.neighbours import unit_rows
from pipeline.arrays.numerics import in_fixed_batches
from pipeline.boundaries import boundaries_of_pool
from pipeline.building.faces import Faces, render_faces
from pipeline.building.workers import num_cores
from pipeline.generators import load_generator
from pipeline.identities.labels import usable_rows
from pipeline.identities.sampling import geometry_of_pool, sample_identities
from pipeline.identities.sampling_laws import Geometry
from pipeline.screen import identity_cosines
from pipeline.teachers import load_teacher

SCRATCH = layout.WORK / "experiments" / "identities"
BLOCK = 1024  # latents whose pictures are in memory
RANDOM = "random-grouping"


@dataclass(frozen=True)
class Arm:
    """A law with its strength; the other settings are the default's unless named."""

    law: str
    strength: float
    jitter: float = 0.6
    protection: float = 2.0
    decorrelation: float = 1.0

    @property
    def name(self) -> str:
        return "-".join(map(str, asdict(self).values()))

    def settings(self, default: Identities, per_side: int) -> Identities:
        return replace(default, per_side=per_side, restore_norm=True, **asdict(self))


ARMS = (
    *(Arm("exfacegan-uniform", strength) for strength in (6.0, 8.0, 12.0)),
    Arm("exfacegan-normal", 6.0),
    *(Arm("along-normal", strength) for strength in (6.0, 12.0)),
    *(Arm("even", strength) for strength in (1.1, 1.3)),
    *(Arm("even", 1.1, jitter) for jitter in (0.5, 0.7)),
    Arm("even", 0.0, 0.6, 0.0, 0.0),  # jitter about the reference: no boundary, one identity
    Arm("even", 1.1, 0.6, 0.0, 1.0),  # without protection
    Arm("even", 1.1, 0.6, 2.0, 0.0),  # along the boundary's own normal
)


@dataclass(frozen=True)
class Seen:
    """An arm's usable faces: unit embeddings by judge, and whose they are."""

    units: dict[str, np.ndarray]
    identity: np.ndarray
    reference: np.ndarray
    num_rows: int


@dataclass(frozen=True)
class Studio:
    """What makes and looks at faces."""

    params: Params
    judge: Model | None

    def faces_of(self, latents: np.ndarray) -> Faces:
        render = self.params.render
        parts = list(
            render_faces(
                load_generator(self.params.generator, layout.WEIGHTS),
                load_aligner(self.params.aligner, layout.WEIGHTS),
                render.detections, latents, WIDE.at(render.frame_size),
            )
        )  # fmt: skip
        names = ("images", "ok", "reason", "landmarks", "quality")
        return Faces(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})

    def look(self, columns: dict[str, np.ndarray], centre: np.ndarray) -> Seen:
        teacher = load_teacher(self.params.teacher, layout.WEIGHTS)
        frame = WIDE.at(self.params.render.frame_size)
        ok, by_teacher, by_judge = [], [], []
        for at in Bar(range(0, len(columns["latents"]), BLOCK), unit="block", leave=False):
            faces = self.faces_of(columns["latents"][at : at + BLOCK])
            ok.append(faces.ok)
            images = faces.images[faces.ok]
            pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float()
            crops = to_frame(pictures, frame, teacher.frame)
            by_teacher.append(in_fixed_batches(teacher.embed, crops).numpy() - centre)
            if self.judge is not None:
                by_judge.append(self.judge.embed(to_frame(pictures, frame, self.judge.frame)))
        found = np.concatenate(ok)
        units = {"teacher": unit_rows(np.concatenate(by_teacher))}
        if self.judge is not None:
            rows = np.concatenate(by_judge)
            cosine = self.judge.metric == "cosine"
            units["judge"] = unit_rows(rows if cosine else rows - rows.mean(axis=0))
        identity, reference = columns["identity_id"][found], columns["parent_id"][found]
        return Seen(units, identity, reference, len(found))


def figures_of(seen: Seen, params: Params) -> dict[str, Any]:
    """By judge: of all usable faces, and of those that screen would keep; None where it keeps no
    two of any identity, as of faces grouped at random."""
    least = params.screen.least_identity
    kept = ~(identity_cosines(seen.units["teacher"], seen.identity) < least)
    quality = params.quality
    options: dict[str, Any] = {
        "impostors": quality.impostors, "duplicate_cosine": quality.duplicate_cosine,
        "seed": quality.seed,
    }  # fmt: skip
    return {
        "share_found": len(kept) / seen.num_rows,
        "share_kept": float(kept.sum()) / seen.num_rows,
        **{
            name: {
                which: without_pairs(measure(looks.of(rows), **options).figures)
                if len(np.unique(seen.identity[rows])) < rows.sum()
                else None
                for which, rows in (("all", np.ones(len(kept), bool)), ("kept", kept))
            }
            for name, units in seen.units.items()
            for looks in [Looks(units, seen.identity, seen.reference)]
        },
    }


def without_pairs(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Repeated identities by their share, not one by one."""
    return {**figures, "duplicates": figures["duplicates"]["share"]}


def grouped_at_random(seen: Seen, seed: int) -> Seen:
    """The floor: the same faces under numbers drawn by lot."""
    order = np.random.default_rng(seed).permutation(len(seen.identity))
    return replace(seen, identity=seen.identity[order], reference=seen.reference[order])


def run_arm(
    arm: Arm, studio: Studio, boundaries: Boundaries, geometry: Geometry, per_side: int
) -> Seen:
    """An arm's faces as its judges see them, from SCRATCH where the same faces were judged."""
    pool = open_round(POOL, studio.params.teacher)
    manifest = pool.require_manifest()
    settings = arm.settings(studio.params.identities, per_side)
    columns = sample_identities(manifest.face_id, manifest.latents, boundaries, geometry, settings)
    path = SCRATCH / f"{arm.name}-{key_of(columns, studio)}.npz"
    if path.exists():
        with np.load(path) as stored:
            units = {name[5:]: stored[name] for name in stored if name.startswith("unit-")}
            return Seen(units, stored["identity"], stored["reference"], int(stored["rows"]))
    seen = studio.look(columns, pool.teacher.centre())
    path.parent.mkdir(parents=True, exist_ok=True)
    units = {f"unit-{name}": rows.astype(np.float32) for name, rows in seen.units.items()}
    np.savez(path, identity=seen.identity, reference=seen.reference, rows=seen.num_rows, **units)
    return seen


def key_of(columns: dict[str, np.ndarray], studio: Studio) -> str:
    """Of the latents, and of those who look at their faces."""
    judge = studio.judge.sha256 if studio.judge else ""
    who = f"{studio.params.generator} {studio.params.teacher} {judge}"
    return sha256(columns["latents"].tobytes() + who.encode()).hexdigest()[:16]


def open_geometry(params: Params, boundaries: Boundaries) -> Geometry:
    files = open_round(POOL, params.teacher)
    latents = files.require_manifest().latents
    centred = files.teacher.embeddings()[:, 0].astype(np.float32) - files.teacher.centre()
    rows = usable_rows(files.faces.ok(), latents)
    penalty = params.boundaries.penalty
    return geometry_of_pool(latents, rows, centred, boundaries, penalty, restore_norm=True)


def main() -> None:
    parser = Parser(description="The identities that each sampling law makes.")
    parser.add_argument("--references", type=int, default=500)
    parser.add_argument("--per-side", type=int, default=20)
    parser.add_argument("--judge", help="a run trained on faces of the prior only, or onnx:PATH")
    parser.add_argument("--arms", type=int, help="only the first so many")
    parser.add_argument("--least-identity", type=float, help="instead of params.yaml's")
    parser.add_argument("--out", type=Path, default=Path("docs/results/identities.json"))
    args = parser.parse_args()
    params = load_params()
    settings = replace(params.boundaries, references=args.references)
    screen = params.screen
    if args.least_identity is not None:
        screen = replace(screen, least_identity=args.least_identity)
    params = replace(params, boundaries=settings, screen=screen)
    if args.judge:
        require_independent(args.judge, IDENTITIES, params.teacher)
    studio = Studio(params, load_model(args.judge, layout.WEIGHTS) if args.judge else None)
    boundaries = boundaries_of_pool(params)
    geometry = open_geometry(params, boundaries)
    rows: list[dict[str, Any]] = []
    for arm in ARMS[: args.arms]:
        print(arm.name, flush=True)
        seen = run_arm(arm, studio, boundaries, geometry, args.per_side)
        rows.append({**asdict(arm), **figures_of(seen, params)})
    floor = grouped_at_random(seen, params.quality.seed)
    rows.append({"law": RANDOM, **figures_of(floor, params)})
    facts = {
        "cpus": num_cores(), "references": args.references,
        "boundaries_kept": int(boundaries.kept.sum()), "per_side": args.per_side,
        "held_out_accuracy": float(boundaries.accuracy.mean()), "judge": args.judge,
        "least_identity": params.screen.least_identity,
    }  # fmt: skip
    write_json(args.out, {"settings": facts, "laws": rows})


if __name__ == "__main__":
    run_command(main)
