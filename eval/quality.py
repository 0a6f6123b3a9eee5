"""Judge a round's identities, whether they are fit for use: reports/quality.json.

    facestill quality identities [--judge RUN | --judge onnx:PATH]

Also writes quality.png. Judged by the teacher that drew the boundaries and, where a judge is
named, by a network that had no part in them. Exit 1 with the thresholds of params.yaml that are
broken: of the error for both, of cosines for the teacher alone. Faces that `screen` calls
off_identity are left out of what is judged, and counted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from eval.photos.models import Model, load_model
from eval.reporting.figures import separability_figure
from eval.reporting.style import picture
from eval.scoring.metrics import enough_impostors
from eval.scoring.separability import Looks, Measured, measure
from manifests.core import layout
from manifests.core.backends import split_kind
from manifests.core.costs import timed
from manifests.core.digests import sha256_file
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.core.files import (
    read_json,
    replacing,
    require_new,
    require_writable,
    write_json,
)
from manifests.core.layout import IDENTITIES, POOL
from manifests.records.exports import RECORD, Export
from manifests.records.marks import OFF_IDENTITY, Marks
from manifests.settings.params import Params, Quality, load_params
from manifests.stores.reading import CHUNK_ROWS, FaceStore, TeacherStore
from manifests.stores.rounds import RoundFiles, open_round
from pipeline.arrays.frames import Frame, to_frame
from pipeline.arrays.neighbours import unit_rows
from train.checkpoint import FILE, load_student

TEACHER, INDEPENDENT = "teacher", "independent"
READ_ROWS = 16 * CHUNK_ROWS


@dataclass(frozen=True)
class Round:
    """The usable faces of identities, and which of them are like their identity."""

    files: RoundFiles
    rows: Int[np.ndarray, " face"]
    identity: Int[np.ndarray, " face"]
    reference: Int[np.ndarray, " face"]
    kept: Bool[np.ndarray, " face"]

    def seen_as(self, units: Float[np.ndarray, "face width"]) -> Looks:
        return Looks(units, self.identity, self.reference)

    @property
    def share_kept(self) -> float:
        return float(self.kept.sum()) / max(len(self.files.faces), 1)


def open_identities(name: str, teacher: str) -> Round:
    """Raises InputError for a round without identities, or without its marks."""
    files = open_round(name, teacher)
    table = files.require_manifest().table
    known = np.asarray(table["identity_id"].combine_chunks().is_valid())
    if not known.any():
        raise InputError(f"round {name}: no face has an identity; there is nothing to judge")
    path = layout.marks(name, teacher)
    marks, _ = Marks.read(
        path,
        faces_root=files.faces.root,
        teacher_root=files.teacher.root,
        num_rows=len(files.faces),
    )
    rows = np.flatnonzero(files.faces.ok() & known)
    identity = table["identity_id"].fill_null(-1).to_numpy()[rows]
    reference = table["parent_id"].fill_null(-1).to_numpy()[rows]
    reference = np.where(reference < 0, -1 - identity, reference)  # without one: on its own
    return Round(files, rows, identity, reference, ~np.isin(rows, marks.rows([OFF_IDENTITY])))


def seen_by_teacher(found: Round, params: Params) -> Float[np.ndarray, "face width"]:
    """Unit embeddings, centred as those that drew the boundaries: by the pool's mean."""
    centre = TeacherStore.open(layout.teacher(POOL, params.teacher)).centre()
    return unit_rows(found.files.teacher.embeddings()[found.rows, 0].astype(np.float64) - centre)


def seen_by(model: Model, faces: FaceStore, rows: Int[np.ndarray, " face"]) -> np.ndarray:
    """Unit embeddings of some rows by a judge, in their order. A model that compares raw
    embeddings by distance is centred by their mean."""
    stored, parts = Frame(**faces.frame), []
    for at in range(0, len(faces), READ_ROWS):
        here = rows[(rows >= at) & (rows < at + READ_ROWS)] - at
        images = torch.from_numpy(faces.images(at, min(at + READ_ROWS, len(faces)))[here])
        crops = to_frame(images.permute(0, 3, 1, 2).float(), stored, model.frame)
        parts.append(model.embed(crops))
    found = np.concatenate(parts)
    return unit_rows(found if model.metric == "cosine" else found - found.mean(axis=0))


def require_independent(judge: str, name: str, teacher: str) -> None:
    """Raises InputError for a judge that had a part in the round: its teacher, or a student that
    was trained on it, as a run or as an export with its record beside it."""
    if judge == f"teacher:{teacher}":
        raise InputError(f"--judge {judge}: drew the boundaries; name another network")
    if layout.faces(name).as_posix() in _trained_on(judge):
        raise InputError(f"--judge {judge}: was trained on round {name}; name another network")


def _trained_on(judge: str) -> Collection[str]:
    """Paths of the stores that a run, or an export of one, names."""
    kind, name = split_kind(judge)
    file = Path(name).resolve()  # a link may lead to an export
    if kind == "onnx" and file.is_file() and (file.parent / RECORD).is_file():
        export = Export.read(file.parent)
        if sha256_file(file) in {facts.sha256 for facts in export.files.values()}:
            return [store.path for store in export.stores]
    run = layout.run_folder(judge)
    if (run / FILE).exists():
        stores: dict[str, str] = json.loads(load_student(run).card.stores)
        return stores
    return ()


def require_other_network(judge: str, model: Model, files: RoundFiles) -> None:
    """Raises InputError for a judge with the weights of the teacher, whatever it is called."""
    drew = files.teacher.passport.fingerprint.identity.get("weights_sha256")
    if model.sha256 == drew:
        raise InputError(
            f"--judge {judge}: its weights are those of the teacher, which drew the boundaries; "
            "name another network"
        )


def figures_of(found: Round, units: np.ndarray, settings: Quality) -> dict[str, Measured]:
    """{kept, all}: of the faces like their identity, and of all that were found."""
    looks = found.seen_as(units)
    options = {"impostors": settings.impostors, "seed": settings.seed}
    cosine = settings.duplicate_cosine
    return {
        "kept": measure(looks.of(found.kept), duplicate_cosine=cosine, **options),
        "all": measure(looks, duplicate_cosine=cosine, **options),
    }


def broken(
    judges: Mapping[str, Mapping[str, Any]], share_kept: float, settings: Quality
) -> list[str]:
    """The thresholds that are not met, each in a few words."""
    found = []
    if share_kept < settings.least_kept:
        found.append(f"share kept {share_kept:.3f} below least_kept {settings.least_kept:g}")
    for judge, figures in judges.items():
        limits = [("EER", figures["eer"], "most_eer")]
        if judge == TEACHER:  # two networks' cosines are not on one scale
            limits += [
                ("genuine mean", figures["genuine"]["mean"], "most_genuine"),
                ("duplicate identities", figures["duplicates"]["share"], "most_duplicates"),
            ]
        found += _too_few(figures, judge, settings.most_eer)
        for what, value, name in limits:
            if value > getattr(settings, name):
                limit = getattr(settings, name)
                found.append(f"{what} {value:.3f} above {name} {limit:g} ({judge})")
    return found


def _too_few(figures: Mapping[str, Any], judge: str, most_eer: float) -> list[str]:
    """Kinds of pairs of which too few stand behind an error as low as that."""
    return [
        f"{figures[name]} {kind} pairs too few for most_eer {most_eer:g} ({judge})"
        for kind, name in (("genuine", "num_genuine"), ("impostor", "num_impostors"))
        if most_eer and not enough_impostors(figures[name], most_eer)
    ]


@dataclass(frozen=True)
class Verdict:
    """A judge by name and digest, and what it found of the kept faces and of all."""

    judge: Mapping[str, str]
    parts: Mapping[str, Measured]


def judge_round(found: Round, model: Model | None, params: Params) -> dict[str, Verdict]:
    """The teacher's verdict, and the independent judge's where there is one."""
    name = {"name": params.teacher, "root": found.files.teacher.root}
    units = seen_by_teacher(found, params)
    verdicts = {TEACHER: Verdict(name, figures_of(found, units, params.quality))}
    if model is not None:
        units = seen_by(model, found.files.faces, found.rows)
        parts = figures_of(found, units, params.quality)
        verdicts[INDEPENDENT] = Verdict({"name": model.name, "sha256": model.sha256}, parts)
    return verdicts


REMEDIES = {  # of a threshold: what moves the figure the other way, by docs/IDENTITIES.md
    "most_eer": "lower identities: jitter, or raise identities: strength or screen: least_identity",
    "most_genuine": "raise identities: jitter",
    "least_kept": "lower identities: jitter or screen: least_identity",
    "most_duplicates": "lower boundaries: most_alike or references",
}


def remedy(thresholds: Sequence[str]) -> str:
    """What to change in params.yaml where these thresholds are not met, each in a few words."""
    found = [REMEDIES[name] for name in REMEDIES if any(f" {name} " in own for own in thresholds)]
    return (
        f"{'; '.join(found)} (params.yaml; docs/IDENTITIES.md says what each costs), or the limit "
        f"under quality; figures in {layout.quality_report()}"
    )


def report_of(found: Round, verdicts: Mapping[str, Verdict], settings: Quality) -> dict[str, Any]:
    """What quality.json holds."""
    kept = {who: own.parts["kept"].figures for who, own in verdicts.items()}
    rows = len(found.files.faces)
    return {
        "round": found.files.name,
        "manifest": found.files.require_manifest().digest,
        "faces_root": found.files.faces.root,
        "teacher_root": found.files.teacher.root,
        "num_rows": rows,
        "share_found": len(found.rows) / max(rows, 1),
        "share_kept": found.share_kept,
        "judges": {
            who: {**own.judge, **{which: part.figures for which, part in own.parts.items()}}
            for who, own in verdicts.items()
        },
        "broken": broken(kept, found.share_kept, settings),
    }


def write(report: Mapping[str, Any], verdicts: Mapping[str, Verdict]) -> None:
    figure = separability_figure({who: own.parts["kept"] for who, own in verdicts.items()})
    write_json(layout.quality_report(), report)
    with replacing(layout.quality_figure()) as scratch:
        scratch.write_bytes(picture(figure))


def main() -> int:
    parser = Parser(__doc__)
    parser.add_argument("round", type=layout.round_name, nargs="?", default=IDENTITIES)
    parser.add_argument(
        "--judge", help="a run trained on faces of the prior only, or onnx:PATH; by default none"
    )
    parser.add_force()
    args = parser.parse_args()
    params = load_params()
    for output in (layout.quality_report(), layout.quality_figure()):
        require_writable(output)
    if layout.quality_report().exists():
        same = read_json(layout.quality_report()).get("round") == args.round
        require_new(layout.quality_report(), force=args.force or same)
    if args.judge is not None:
        require_independent(args.judge, args.round, params.teacher)
    with timed("quality"):
        found = open_identities(args.round, params.teacher)
        model = load_model(args.judge, layout.WEIGHTS) if args.judge is not None else None
        if model is not None:
            require_other_network(args.judge, model, found.files)
        verdicts = judge_round(found, model, params)
        report = report_of(found, verdicts, params.quality)
        write(report, verdicts)
    if report["broken"]:
        broken_ones = "; ".join(report["broken"])
        advice = remedy(report["broken"])
        print(f"quality of {args.round}: {broken_ones}; {advice}", file=sys.stderr)
        return 1
    kept = report["judges"][TEACHER]["kept"]
    found_text = (
        f"{args.round} has EER {kept['eer']:.3f}, genuine mean {kept['genuine']['mean']:.2f}, "
        f"{report['share_kept']:.2f} of the rows kept"
    )
    conclude(layout.quality_report(), found_text, f"facestill train RUN --rounds {args.round}")
    return 0


if __name__ == "__main__":
    run_command(main)
