"""Match two photographs at a false match rate, or embed a folder of them.

    facestill match A.jpg B.jpg --model runs/mined-2 [--fmr 0.01] [--json]
    facestill match A.jpg B.jpg --model onnx:student.onnx --benchmark-result DIR
    facestill match FOLDER --model runs/mined-2 --out embeddings.parquet

Two photographs are the same at a false match rate (FMR): the threshold that lets this share of
other people's pairs pass, with its interval, comes from the scores of a verification of the same
model (by default the one under reports/verify, the user's own pairs first). It says nothing of
what was not measured there: a photograph without a face that is found, or a face of fewer pixels.
Faces are found by the aligner that found them there; --aligner and --face choose among results.
Exit status: 0 the same, 1 different, 2 no verdict or bad input.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eval.alignment import (
    NOTHING,
    Alignment,
    Asked,
    add_options,
    alignment_by,
    alignment_of,
    asked,
    meant,
)
from eval.photos.folders import check_photographs, crops_of, embed_folder, write_embeddings
from eval.photos.models import Model, load_model
from eval.scoring.metrics import threshold_at
from eval.scoring.scored import check_pairs, read_scores, repeated
from eval.scoring.similarity import similarity
from manifests.core import layout
from manifests.core.errors import InputError, Parser, run_command
from manifests.core.files import read_json, require_file_place, require_new
from manifests.photographs.images import read_photograph
from pipeline.arrays.align import Face
from pipeline.arrays.frames import ARCFACE112, DLIB112, Frame

FMR = 0.01
NO_VERDICT = 2
PREFERRED = ("pairs",)  # of a model's results under reports/verify


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold that lets the share `fmr` of impostor pairs pass, and what it comes from: pairs
    of different photographs, each once, in both of which a face was found."""

    fmr: float
    threshold: float
    ci95: tuple[float, float]
    benchmark: str
    protocol_sha256: str
    num_impostors: int
    num_people: int
    alignment: str  # the rule by which faces were found
    least_eye_distance: float | None  # pixels, of the smallest face; None where it is not recorded
    result: str  # the folder of the verification


@dataclass(frozen=True)
class Match:
    """The verdict on two photographs; without one there is no score either."""

    same: bool | None
    reason: str | None  # why there is no verdict
    close: bool  # the score lies within the threshold's interval
    score: float | None
    metric: str
    detected: tuple[bool, bool]
    other_faces: tuple[int, int]  # further ones that were found
    at: OperatingPoint


def decide(score: float, metric: str, faces: Sequence[Face], at: OperatingPoint) -> Match:
    """A pair is the same where its score is above the threshold."""
    low, high = at.ci95
    return Match(score > at.threshold, None, low <= score <= high, score, metric, *_seen(faces), at)


def no_verdict(reason: str, metric: str, faces: Sequence[Face], at: OperatingPoint) -> Match:
    return Match(None, reason, False, None, metric, *_seen(faces), at)


def _seen(faces: Sequence[Face]) -> tuple[tuple[bool, bool], tuple[int, int]]:
    left, right = faces
    return (left.detected, right.detected), (left.others, right.others)


def outside(
    photographs: Sequence[Path], faces: Sequence[Face], frame: Frame, at: OperatingPoint
) -> str | None:
    """Why the threshold was not measured on photographs like these; None where it was. A face of
    more pixels than the model's frame has is brought to as many, however large it is."""
    lost = [str(path) for path, face in zip(photographs, faces, strict=True) if not face.detected]
    if lost:
        return f"no face was found in {' and '.join(lost)}"
    for path, face in zip(photographs, faces, strict=True):
        enough = Face(face.scheme.inside(frame), 0.0, scheme=face.scheme).eye_distance
        if face.eye_distance < min(at.least_eye_distance or 0.0, enough):
            return (
                f"the face in {path} has {face.eye_distance:.1f} pixels between the eyes, the "
                f"smallest of {at.benchmark} ({at.result}) {at.least_eye_distance:.1f}"
            )
    return None


def operating_point(
    folder: Path, model: Model, fmr: float, options: Asked = NOTHING
) -> OperatingPoint:
    """The threshold of `model` at `fmr`, from the verification in `folder`.

    Raises InputError for the result of another model, views, frame or metric, of crops or
    templates, of another alignment than `options` ask for, for files of two unlike verifications,
    and for an FMR that its people or impostors are too few for.
    """
    metrics = read_json(folder / "metrics.json")
    pairs, facts = read_scores(folder / "scores.parquet")
    _check_model(folder, metrics, model)
    _check_alignment(folder, metrics["alignment"], model, options)
    for name in ("model_sha256", "protocol_sha256"):
        if facts.get(name) != metrics.get(name):
            raise InputError(
                f"{folder}: scores.parquet and metrics.json have unlike {name}; verify again"
            )
    pairs = pairs.only(~pairs.failed & ~repeated(pairs.left, pairs.right))
    try:
        check_pairs(pairs.score, pairs.same)
        subjects = pairs.subjects(facts.get("subject_rule", "image"))
        threshold, ci95 = threshold_at(pairs.score, pairs.same, fmr, subjects=subjects)
    except InputError as error:
        raise InputError(f"{folder}: {error} (both faces found, each pair once)") from None
    return OperatingPoint(
        fmr, threshold, ci95, metrics["benchmark"], metrics["protocol_sha256"],
        int((~pairs.same).sum()), subjects.count, metrics["alignment"],
        metrics.get("eye_distance", {}).get("least"), folder.as_posix(),
    )  # fmt: skip


def _check_model(folder: Path, metrics: Any, model: Model) -> None:
    wanted = {
        "model_sha256": model.sha256,
        "metric": model.metric,
        "mirrored_view_added": model.mirrored,
        "frame": model.frame.name,
    }
    if type(metrics) is not dict or not wanted.keys() | {"alignment"} <= metrics.keys():
        raise InputError(f"{folder / 'metrics.json'}: not a result of facestill verify")
    for name, own in wanted.items():
        said = metrics[name]
        if name == "frame" and own == DLIB112.name and said == ARCFACE112.name:
            said = own  # the word of before for what this very model looks at
        if said != own:
            raise InputError(
                f"{folder}: measured with {name} {str(said)[:20]!r}, {model.name} is "
                f"used here with {str(own)[:20]!r}; {how_to_verify(model)}"
            )

    if "num_templates" in metrics or metrics.get("benchmark") == "templates":
        raise InputError(
            f"{folder}: measured on templates, each made of several photographs, where single ones "
            f"are compared here; {how_to_verify(model)}"
        )


def _check_alignment(folder: Path, rule: Any, model: Model, options: Asked) -> None:
    try:
        alignment = alignment_of(str(rule), options)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None
    if alignment.frame is not None:
        raise InputError(
            f"{folder}: measured on crops (alignment {rule!r}), where faces in photographs are "
            f"compared here; {how_to_verify(model)}"
        )


def how_to_verify(model: Model) -> str:
    return (
        f"run `facestill verify --model {model.name} --benchmark pairs:FOLDER --out DIR` and "
        "give --benchmark-result DIR"
    )


def usual_operating_point(model: Model, fmr: float, options: Asked = NOTHING) -> OperatingPoint:
    """From the verification of this model under reports/verify: of the user's own pairs, where
    they bear the FMR.

    Raises InputError where there is none, or none that bears it and is aligned as `options` ask.
    """
    folders = [
        path.parent
        for path in sorted((layout.REPORTS / "verify").glob("*/*/metrics.json"))
        if read_json(path).get("model_sha256") == model.sha256
    ]
    if not folders:
        raise InputError(
            f"no result of {model.name} under {layout.REPORTS / 'verify'}; {how_to_verify(model)}"
        )
    refusals = []
    for folder in sorted(folders, key=lambda folder: folder.parent.name not in PREFERRED):
        try:
            return operating_point(folder, model, fmr, options)
        except InputError as error:
            refusals.append(error)
    raise refusals[0]


def compare(
    left: Path, right: Path, model: Model, alignment: Alignment, at: OperatingPoint
) -> Match:
    """The verdict on the photographs in two files, aligned as those of the result were."""
    crops, faces = crops_of(map(read_photograph, (left, right)), model, alignment)
    reason = outside((left, right), faces, model.frame, at)
    if reason is not None:
        return no_verdict(reason, model.metric, faces, at)
    rows = model.embed(torch.stack(crops))
    (score,) = similarity(rows[:1], rows[1:], model.metric)
    if not np.isfinite(score):
        raise InputError(f"model {model.name}: the score of these photographs is not finite")
    return decide(float(score), model.metric, faces, at)


def in_words(found: Match, left: Path, right: Path) -> str:
    """The verdict, its threshold and where that comes from; a line for each reservation."""
    at = found.at
    low, high = at.ci95
    lines = [
        f"{'same' if found.same else 'different'} at FMR {at.fmr:g}: score {found.score:.4f} "
        f"({found.metric}), same above {at.threshold:.4f} [{low:.4f}, {high:.4f}]",
        f"threshold from {at.num_impostors:,} impostor pairs of {at.num_people:,} people of "
        f"{at.benchmark} ({at.result}, protocol {at.protocol_sha256[:12]})",
    ]
    if found.close:
        lines.append("a close call: the score lies within the threshold's 95 % interval")
    for path, others in zip((left, right), found.other_faces, strict=True):
        if others:
            lines.append(
                f"{others + 1} faces were found in {path}: the {meant(at.alignment)} was compared"
            )
    if at.least_eye_distance is None:
        lines.append(f"how large the faces of {at.result} are is not recorded; verify again")
    return "\n".join(lines)


def match_command(left: Path, right: Path, args: Any) -> int:
    check_photographs((left, right))
    model = load_model(args.model, layout.WEIGHTS)
    if args.benchmark_result is not None:
        at = operating_point(args.benchmark_result, model, args.fmr, asked(args))
    else:
        at = usual_operating_point(model, args.fmr, asked(args))
    alignment = alignment_of(at.alignment, asked(args))
    found = compare(left, right, model, alignment, at)
    if args.json:
        print(json.dumps({"model": model.name, **asdict(found)}, indent=2))
    elif found.reason is not None:
        raise InputError(f"no verdict: {found.reason}")
    else:
        print(in_words(found, left, right))
    return NO_VERDICT if found.same is None else 1 - found.same


def embed_command(folder: Path, args: Any) -> int:
    require_file_place(args.out)
    require_new(args.out, force=args.force)
    model = load_model(args.model, layout.WEIGHTS)
    alignment = asked(args).alignment or alignment_by()
    table = embed_folder(folder, model, alignment)
    write_embeddings(args.out, table, model, alignment)
    counts = {
        "photographs": len(table),
        "detected": int(np.sum(table["detected"].to_numpy())),
        "unreadable": len(table) - table["error"].null_count,
    }
    words = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    print(json.dumps(counts) if args.json else f"{args.out}: {words}")
    return 0


def main() -> int:
    parser = Parser(__doc__)
    parser.add_argument("photographs", nargs="+", type=Path, help="two photographs, or a folder")
    parser.add_argument("--model", required=True, help="a run, teacher:NAME or onnx:PATH")
    parser.add_argument("--fmr", type=float, default=FMR, help="false match rate (0.01)")
    parser.add_argument(
        "--benchmark-result", type=Path, help="folder of metrics.json and scores.parquet"
    )
    add_options(parser, frame=False)
    parser.add_argument("--out", type=Path, help="Parquet file for the embeddings of a folder")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_force()
    args = parser.parse_args()
    match args.photographs:
        case [left, right] if args.out is None:
            return match_command(left, right, args)
        case [folder] if folder.is_dir() and args.out is not None:
            return embed_command(folder, args)
    raise InputError("give two photographs, or one folder and --out FILE.parquet; see --help")


if __name__ == "__main__":
    run_command(main)
