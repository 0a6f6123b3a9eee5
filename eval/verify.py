"""Verification of a model on photographs: metrics.json and scores.parquet.

    python -m eval.verify --model runs/mined-2 --benchmark orl --out DIR
    python -m eval.verify --model teacher:dlib-resnet --benchmark pairs:FOLDER --out DIR
    python -m eval.verify --stage mined-2     the run and its teacher, side by side

A dead end on purpose: nothing that trains or mines reads what is written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float
from PIL import Image, ImageOps
from tqdm import tqdm

from eval.allpairs import all_pairs_figures
from eval.benchmarks import open_benchmark
from eval.benchmarks.base import Protocol
from eval.metrics import figures_of
from eval.models import Model, load_model
from eval.ranking import Faces, identify, rank_k
from manifests import layout
from manifests.costs import timed
from manifests.errors import InputError, Parser, run_command
from manifests.files import write_json
from manifests.params import Params, load_params
from manifests.scores import KIND, SCHEMA, subject_of
from manifests.tables import write_table
from pipeline.align import Aligner, Face, crop_photograph, find_in_photograph
from pipeline.frames import Frame

SUBJECT_RULE = "folder"
DETECT_THRESHOLD = 0.0  # dlib's own: photographs have backgrounds that a lower one finds faces in


def read_photograph(path: Path) -> np.ndarray:
    """RGB uint8, upright; raises InputError for a file that is not an image."""
    try:
        with Image.open(path) as opened:
            return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a readable image ({error})") from None


def find_all(protocol: Protocol, aligner: Aligner) -> list[Face]:
    """The face of every image of a protocol, in the order of its names."""
    title = f"find {protocol.benchmark.name}"
    with tqdm(protocol.benchmark.images, desc=title, unit="image") as names:
        return [
            find_in_photograph(aligner, read_photograph(protocol.folder / name)) for name in names
        ]


def crop_all(
    protocol: Protocol, faces: Sequence[Face], frame: Frame
) -> Float[torch.Tensor, "image 3 size size"]:
    """Every image of a protocol, cut to a model's frame."""
    crops = [
        crop_photograph(read_photograph(protocol.folder / name), face, frame)
        for name, face in zip(protocol.benchmark.images, faces, strict=True)
    ]
    return torch.stack(crops)


@dataclass(frozen=True)
class Verification:
    """Scores of every pair, and the figures that follow from them."""

    scores: pa.Table
    metrics: dict[str, Any]


def verify(
    protocol: Protocol,
    model: Model,
    crops: Float[torch.Tensor, "image 3 size size"],
    detected: Bool[np.ndarray, " image"],
) -> Verification:
    """One model on one protocol's images, cut to the model's frame."""
    benchmark = protocol.benchmark
    embeddings = model.embed(crops)
    row_of = {name: row for row, name in enumerate(benchmark.images)}
    left = np.array([row_of[name] for name in benchmark.left])
    right = np.array([row_of[name] for name in benchmark.right])
    scores = model.similarity(embeddings[left], embeddings[right])
    if not np.isfinite(scores).all():
        raise InputError(f"model {model.name}: its scores are not finite")
    failed = ~(detected[left] & detected[right])
    ids = np.arange(len(scores))
    columns = [
        ids, benchmark.fold, benchmark.left, benchmark.right, benchmark.same, scores, failed
    ]  # fmt: skip
    arrays = [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=SCHEMA)
    metrics = {
        "model": model.name,
        "model_sha256": model.sha256,
        "metric": model.metric,
        "mirrored_view_added": model.mirrored,
        "benchmark": benchmark.name,
        "protocol_sha256": benchmark.protocol_sha256,
        "num_failed": int((~detected).sum()),
        "subject_rule": SUBJECT_RULE,
        **figures_of(table, model.metric, SUBJECT_RULE),
        **_all_pairs(protocol, model, embeddings),
    }
    return Verification(table, metrics)


def _all_pairs(protocol: Protocol, model: Model, embeddings: np.ndarray) -> dict[str, Any]:
    """TAR@FAR and rank-1 over all pairs of images where the benchmark allows it."""
    if not protocol.all_pairs:
        return {}
    names = [subject_of(name, SUBJECT_RULE) for name in protocol.benchmark.images]
    faces = Faces(embeddings, np.unique(names, return_inverse=True)[1])
    found = identify(faces, faces, model.metric, itself=True)
    return {**all_pairs_figures(faces, model.metric), "rank_1": rank_k(found, 1)}


def write(done: Verification, out: Path) -> None:
    """metrics.json and scores.parquet, and a line to read."""
    metrics = done.metrics
    facts = ("model", "model_sha256", "metric", "benchmark", "protocol_sha256", "subject_rule")
    write_table(
        out / "scores.parquet", KIND, done.scores, {name: str(metrics[name]) for name in facts}
    )
    write_json(out / "metrics.json", metrics)
    low, high = metrics["accuracy_ci95"]
    print(
        f"{metrics['model']} on {metrics['benchmark']}: accuracy {metrics['accuracy']:.4f} "
        f"[{low:.4f}, {high:.4f}], {metrics['num_pairs']} pairs"
    )


def verify_models(models: Sequence[str], protocol: Protocol) -> list[Verification]:
    """Every model on the same found faces."""
    loaded = [load_model(model, layout.WEIGHTS) for model in models]
    aligner = Aligner(layout.WEIGHTS, threshold=DETECT_THRESHOLD)
    faces = find_all(protocol, aligner)
    detected = np.array([face.detected for face in faces])
    return [
        verify(protocol, model, crop_all(protocol, faces, model.frame), detected)
        for model in loaded
    ]


def stage(run: str, params: Params) -> None:
    """The run's student and the teacher on orl and, where params name a folder, on pairs."""
    protocols = {"orl": open_benchmark("orl")}
    if params.verify.pairs is not None:
        protocols["pairs"] = open_benchmark(f"pairs:{params.verify.pairs}")
        _check_protocol(protocols["pairs"], params.verify.protocol)
    models = {"student": layout.run(run).as_posix(), "teacher": f"teacher:{params.teacher}"}
    done = {
        layout.verification(name, role): verification
        for name, protocol in protocols.items()
        for role, verification in zip(
            models, verify_models(list(models.values()), protocol), strict=True
        )
    }
    for out, verification in done.items():
        write(verification, out)


def _check_protocol(protocol: Protocol, wanted: str | None) -> None:
    found = protocol.benchmark.protocol_sha256
    if wanted is not None and found != wanted:
        raise InputError(
            f"{protocol.folder.parent}: protocol {found[:12]}, params.yaml says {wanted[:12]}; "
            "bring that folder or change verify.protocol"
        )


def _check_folder(out: Path) -> None:
    nearest = next(path for path in (out, *out.parents) if path.exists())
    if not nearest.is_dir():
        raise InputError(f"{out}: {nearest} is a file; name a folder with --out")


def main() -> None:
    parser = Parser(description="Verify a model on photographs.")
    parser.add_argument("--model", help="a run directory, teacher:NAME or onnx:PATH")
    parser.add_argument("--benchmark", help="orl or pairs:DIR")
    parser.add_argument("--out", type=Path, help="folder for metrics.json and scores.parquet")
    parser.add_argument("--stage", metavar="RUN", help="run and teacher, into reports/verify/")
    args = parser.parse_args()
    if args.stage:
        with timed("verify"):
            stage(args.stage, load_params())
    elif args.model and args.benchmark and args.out:
        _check_folder(args.out)  # before the measuring
        (done,) = verify_models([args.model], open_benchmark(args.benchmark))
        write(done, args.out)
    else:
        raise InputError("give --model, --benchmark and --out")


if __name__ == "__main__":
    run_command(main)
