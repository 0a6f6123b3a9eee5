"""The ported teacher against dlib's own network, on the same synthetic faces."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import dlib
import numpy as np
import torch

from manifests.core import layout
from pipeline.aligners import load_aligner
from pipeline.arrays.align import crop_to_frame
from pipeline.arrays.frames import DLIB150
from pipeline.arrays.numerics import in_fixed_batches
from pipeline.generators import load_generator
from pipeline.sample import prior
from pipeline.teachers import load_teacher
from pipeline.teachers.dlib_resnet import WEIGHTS
from pipeline.weights import CACHE, FILES, gather

REPEATS = 5
NUM_OURS, NUM_DLIB = 256, 32


def chips(weights: Path, count: int) -> torch.Tensor:
    """`count` aligned synthetic faces, RGB 150x150."""
    generator = load_generator("dcgan-digiface", weights)
    latents = torch.from_numpy(prior(2 * count, generator.latent_width, "bench", seed=11))
    pictures = in_fixed_batches(generator.render, latents)
    aligner = load_aligner("yunet-onet", weights)
    found = aligner.find_generated(pictures, size=64, threshold=0.5)
    seen = {row: face for row, face in enumerate(found) if face is not None}
    rows = list(seen)[:count]
    return crop_to_frame(pictures[rows], [seen[row] for row in rows], DLIB150)[0]


def rate(work: Callable[[], object], faces: int) -> list[float]:
    """Faces per second of each repeat, after one warm-up."""
    work()
    rates = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        rates.append(faces / (time.perf_counter() - start))
    return rates


def spread(rates: list[float]) -> dict[str, float]:
    low, middle, high = np.quantile(rates, (0.0, 0.5, 1.0))
    return {"median": round(middle, 1), "min": round(low, 1), "max": round(high, 1)}


def measure() -> dict[str, object]:
    gather(FILES, CACHE, layout.WEIGHTS)
    faces = chips(layout.WEIGHTS, NUM_OURS)
    pictures = faces.permute(0, 2, 3, 1).to(torch.uint8).contiguous().numpy()
    teacher = load_teacher("dlib-resnet", layout.WEIGHTS)
    dlib_net = dlib.face_recognition_model_v1(str(layout.WEIGHTS / WEIGHTS))
    own = in_fixed_batches(teacher.embed, faces).numpy()
    few = list(pictures[:NUM_DLIB])
    theirs = np.array(dlib_net.compute_face_descriptor(few))
    ours_rate = rate(lambda: in_fixed_batches(teacher.embed, faces), NUM_OURS)
    dlib_rate = rate(lambda: dlib_net.compute_face_descriptor(few), NUM_DLIB)
    return {
        "ratio_vs_dlib": round(float(np.median(ours_rate) / np.median(dlib_rate)), 2),
        "max_abs_diff": float(np.abs(own[:NUM_DLIB] - theirs).max()),
        "faces_per_second": spread(ours_rate),
        "dlib_faces_per_second": spread(dlib_rate),
        "threads": torch.get_num_threads(),
    }
