"""Verification of a model on photographs: metrics.json and scores.parquet.

    python -m eval.verify --model runs/mined-2 --benchmark orl --out DIR
    python -m eval.verify --model teacher:dlib-resnet --benchmark pairs:FOLDER --out DIR
    python -m eval.verify --stage mined-2     the run and its teacher, side by side

A dead end on purpose: nothing that trains or mines reads what is written here.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from eval.benchmarks import open_benchmark
from eval.benchmarks.base import Protocol, subject_of
from eval.metrics import rank_one, tar_table, verification_figures
from eval.models import Model, load_model
from manifests import layout
from manifests.costs import timed
from manifests.errors import InputError, run_command
from manifests.files import write_json
from manifests.params import load_params
from manifests.scores import KIND, SCHEMA
from manifests.tables import write_table
from pipeline.align import Aligner, crop_photograph, find_in_photograph

DETECT_THRESHOLD = 0.0  # dlib's own: photographs have backgrounds that a lower one finds faces in


@dataclass(frozen=True)
class Photographs:
    """A benchmark's images as one model sees them."""

    crops: Float[torch.Tensor, "image 3 size size"]
    detected: Bool[np.ndarray, " image"]


def read_photograph(path: Path) -> np.ndarray:
    """RGB uint8; raises InputError for a file that is not an image."""
    try:
        with Image.open(path) as opened:
            return np.asarray(opened.convert("RGB"))
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a readable image ({error})") from None


def photographs(protocol: Protocol, model: Model, aligner: Aligner) -> Photographs:
    """Every image of a protocol, detected, aligned and cut to the model's frame."""
    crops, detected = [], []
    for name in tqdm(protocol.benchmark.images, desc=f"align {protocol.benchmark.name}"):
        picture = read_photograph(protocol.folder / name)
        face = find_in_photograph(aligner, picture)
        crops.append(crop_photograph(picture, face, model.frame))
        detected.append(face.detected)
    return Photographs(torch.stack(crops), np.array(detected))


@dataclass(frozen=True)
class Verification:
    """Scores of every pair, and the figures that follow from them."""

    scores: pa.Table
    metrics: dict[str, Any]


def verify(protocol: Protocol, model: Model, seen: Photographs) -> Verification:
    benchmark = protocol.benchmark
    embeddings = model.embed(seen.crops)
    row_of = {name: row for row, name in enumerate(benchmark.images)}
    left = np.array([row_of[name] for name in benchmark.left])
    right = np.array([row_of[name] for name in benchmark.right])
    scores = model.similarity(embeddings[left], embeddings[right])
    if not np.isfinite(scores).all():
        raise InputError(f"model {model.name}: its scores are not finite")
    failed = ~(seen.detected[left] & seen.detected[right])
    ids = np.arange(len(scores))
    columns = [
        ids, benchmark.fold, benchmark.left, benchmark.right, benchmark.same, scores, failed
    ]  # fmt: skip
    arrays = [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)]
    metrics = {
        "model": model.name,
        "model_sha256": model.sha256,
        "metric": model.metric,
        "mirrored_view_added": model.mirrored,
        "benchmark": benchmark.name,
        "protocol_sha256": benchmark.protocol_sha256,
        "num_failed": int((~seen.detected).sum()),
        **verification_figures(scores, benchmark.same, benchmark.fold, model.metric),
        **_all_pairs(protocol, model, embeddings, scores),
    }
    return Verification(pa.Table.from_arrays(arrays, schema=SCHEMA), metrics)


def _all_pairs(
    protocol: Protocol, model: Model, embeddings: np.ndarray, scores: np.ndarray
) -> dict[str, Any]:
    """TAR@FAR (and rank-1) over all pairs of images where the benchmark allows it."""
    if not protocol.all_pairs:
        return {"tar_at_far": tar_table(scores, protocol.benchmark.same)}
    names = [subject_of(name) for name in protocol.benchmark.images]
    subject = np.unique(names, return_inverse=True)[1]
    similarity = np.stack(
        [model.similarity(np.broadcast_to(row, embeddings.shape), embeddings) for row in embeddings]
    )
    upper = np.triu_indices(len(subject), 1)
    same = subject[upper[0]] == subject[upper[1]]
    return {
        "tar_at_far": tar_table(similarity[upper], same),
        "tar_at_far_num_pairs": len(same),
        "rank_1": rank_one(similarity, subject),
    }


def verify_into(model_text: str, benchmark_text: str, out: Path) -> dict[str, Any]:
    """Measures one model on one benchmark and writes both files to `out`."""
    protocol = open_benchmark(benchmark_text)
    model = load_model(model_text, layout.WEIGHTS)
    aligner = Aligner(layout.WEIGHTS, threshold=DETECT_THRESHOLD)
    done = verify(protocol, model, photographs(protocol, model, aligner))
    facts = ("model", "model_sha256", "metric", "benchmark", "protocol_sha256")
    labels = {name: str(done.metrics[name]) for name in facts}
    write_table(out / "scores.parquet", KIND, done.scores, labels)
    write_json(out / "metrics.json", done.metrics)
    low, high = done.metrics["accuracy_ci95"]
    print(
        f"{model_text} on {benchmark_text}: accuracy {done.metrics['accuracy']:.4f} "
        f"[{low:.4f}, {high:.4f}], {done.metrics['num_pairs']} pairs"
    )
    return done.metrics


def stage(run: str) -> None:
    """The run's student and the teacher on orl and, where params name a folder, on pairs."""
    params = load_params()
    wanted = {"orl": "orl"}
    if params.verify.pairs is not None:
        wanted["pairs"] = f"pairs:{params.verify.pairs}"
    models = {"student": str(layout.run(run)), "teacher": f"teacher:{params.teacher}"}
    for name, benchmark in wanted.items():
        for role, model in models.items():
            verify_into(model, benchmark, layout.REPORTS / "verify" / name / role)


def main() -> None:
    parser = argparse.ArgumentParser(description="Verify a model on photographs.")
    parser.add_argument("--model", help="a run directory, or teacher:NAME")
    parser.add_argument("--benchmark", help="orl or pairs:DIR")
    parser.add_argument("--out", type=Path, help="folder for metrics.json and scores.parquet")
    parser.add_argument("--stage", metavar="RUN", help="run and teacher, into reports/verify/")
    args = parser.parse_args()
    if args.stage:
        with timed("verify"):
            stage(args.stage)
    elif args.model and args.benchmark and args.out:
        verify_into(args.model, args.benchmark, args.out)
    else:
        raise InputError("give --model, --benchmark and --out")


if __name__ == "__main__":
    run_command(main)
