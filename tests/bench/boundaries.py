"""All boundaries of a large pool at once, beside one support vector machine a reference."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from manifests.records.boundaries import Boundaries
from manifests.settings.params import BoundaryParams, Threshold
from pipeline.arrays.neighbours import unit_rows
from pipeline.boundaries import draw_boundaries
from pipeline.identities.labels import Split, label_blocks
from pipeline.identities.planes import SOLVERS, held_out_accuracy

REFERENCES, NEIGHBOURS, WIDTH = 5000, 5000, 512
SAMPLE = 8  # references that scikit-learn's solver is timed on
SIGNAL = 48  # directions of the latents that the made-up teacher sees
SETTINGS = BoundaryParams(
    solver="ridge", threshold=Threshold("median", 0.5), references=REFERENCES,
    neighbours=NEIGHBOURS, most_alike=1.0, penalty=0.01, held_out=0.3, min_accuracy=0.6, seed=1,
)  # fmt: skip


def measure() -> dict[str, object]:
    """Seconds and accuracy of `ridge` on arrays that are there, the peak of the process, and
    the same of LinearSVC for a sample of the references."""
    latents, embeddings, split = made_up()
    peak_before = peak_bytes()
    before = time.perf_counter()
    normals, accuracy, scale = draw_boundaries(latents, embeddings, split, SETTINGS)
    seconds = time.perf_counter() - before
    peak = peak_bytes()
    written = bytes_on_disk(normals, accuracy, scale)
    svc = published(latents, embeddings, split, normals)
    each = seconds / REFERENCES
    return {
        "references": REFERENCES,
        "neighbours": NEIGHBOURS,
        "width": WIDTH,
        "seconds": round(seconds, 2),
        "seconds_linear_svc_each": round(svc["seconds_each"], 3),
        "ratio_vs_linear_svc": round(svc["seconds_each"] / each),
        "held_out_accuracy": {
            "ridge": round(float(accuracy.mean()), 4),
            "ridge_of_sample": round(float(accuracy[:SAMPLE].mean()), 4),
            "linear_svc": round(svc["accuracy"], 4),
        },
        "cosine_of_normals": round(svc["cosine"], 4),
        "num_linear_svc": SAMPLE,
        "peak_rss_bytes": peak,
        "peak_rss_bytes_before": peak_before,
        "bytes_on_disk": written,
    }


def made_up() -> tuple[np.ndarray, np.ndarray, Split]:
    """Latents, unit embeddings that follow from a few of their directions and from noise, and a
    split. The noise sets the accuracy: that of real boundaries, 0.70."""
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((REFERENCES + NEIGHBOURS, WIDTH), np.float32)
    seen = latents @ rng.standard_normal((WIDTH, SIGNAL), np.float32) / np.float32(WIDTH**0.5)
    embeddings = np.tanh(seen) @ rng.standard_normal((SIGNAL, WIDTH), np.float32)
    embeddings += 8.0 * rng.standard_normal(embeddings.shape, np.float32)
    order = rng.permutation(len(latents))
    neighbours = order[REFERENCES:]
    cut = round(NEIGHBOURS * SETTINGS.held_out)
    return (
        latents,
        unit_rows(embeddings),
        Split(order[:REFERENCES], neighbours[cut:], neighbours[:cut]),
    )


def published(
    latents: np.ndarray, embeddings: np.ndarray, split: Split, normals: np.ndarray
) -> dict[str, float]:
    """Seconds of one LinearSVC, the mean accuracy, and the mean cosine to the given normals."""
    scale, sample = np.ones(WIDTH), replace(split, references=split.references[:SAMPLE])
    solve = SOLVERS["linear_svc"](latents, split.fit, scale, SETTINGS)
    ((_, labels, judged),) = label_blocks(embeddings, sample, SETTINGS.threshold)
    before = time.perf_counter()
    planes = solve(labels)
    seconds = (time.perf_counter() - before) / SAMPLE
    accuracy = held_out_accuracy(planes, latents, split.held_out, scale, judged)
    cosine = (unit_rows(planes.weights) * normals[:SAMPLE]).sum(axis=1)
    return {
        "seconds_each": seconds,
        "accuracy": float(accuracy.mean()),
        "cosine": float(cosine.mean()),
    }


def bytes_on_disk(normals: np.ndarray, accuracy: np.ndarray, scale: np.ndarray) -> int:
    made = Boundaries(
        np.arange(len(normals)), normals, accuracy.astype(np.float32), ("",) * len(normals),
        "z", SETTINGS.solver, "", "", scale,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        made.write(Path(folder) / "boundaries.parquet")
        return (Path(folder) / "boundaries.parquet").stat().st_size


def peak_bytes() -> int:
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes
