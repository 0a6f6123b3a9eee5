"""The ported teacher against dlib's own network, and bfloat16 against float32, on one set of
synthetic faces."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import dlib
import numpy as np
import torch

from manifests.core import layout
from pipeline.aligners import load_aligner
from pipeline.arrays.align import crop_to_frame
from pipeline.arrays.frames import DLIB150
from pipeline.arrays.numerics import has_bfloat16, in_fixed_batches
from pipeline.generators import load_generator
from pipeline.sample import prior
from pipeline.teachers import load_teacher
from pipeline.teachers.base import Teacher, in_precision
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
    (rates,) = rates_in_turns([work], faces)
    return rates


def rates_in_turns(works: Sequence[Callable[[], object]], faces: int) -> list[list[float]]:
    """As `rate`, of each of several that take turns: a slower moment is in all of them."""
    rates: list[list[float]] = [[] for _ in works]
    for work in works:
        work()
    for _, (work, own) in product(range(REPEATS), zip(works, rates, strict=True)):
        start = time.perf_counter()
        work()
        own.append(faces / (time.perf_counter() - start))
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
        "bfloat16": against_float32(teacher, faces),
        "threads": torch.get_num_threads(),
    }


def against_float32(teacher: Teacher, faces: torch.Tensor) -> dict[str, object]:
    """What bfloat16 gains, faces a second over float32's, and what it costs: cosines to float32's
    embeddings, about their mean."""
    both = (teacher, in_precision(teacher, "bfloat16", "cpu"))
    exact, rough = (in_fixed_batches(own.embed, faces).numpy() for own in both)
    centre = exact.mean(axis=0)
    one, two = exact - centre, rough - centre
    cosines = (one * two).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
    works = [partial(in_fixed_batches, own.embed, faces) for own in both]
    slow, quick = rates_in_turns(works, len(faces))
    return {
        "native": has_bfloat16(torch.device("cpu")),
        "over_float32": round(float(np.median(np.divide(quick, slow))), 2),
        "faces_per_second": spread(quick),
        "centred_cosine_mean": round(float(cosines.mean()), 5),
        "centred_cosine_least": round(float(cosines.min()), 5),
    }
