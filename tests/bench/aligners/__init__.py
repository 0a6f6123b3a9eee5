"""Aligners of the same pictures, side by side: what they find, where they err, what they cost.

    python -m tests.bench.aligners [--photographs pairs:DIR] [--aligner onnx:PATH …] [--out FILE]

Generated faces are those of the round `probe` of the default run. No aligner says how much a face
that it is judged by is turned: yaw is measured once for all, from the points of yunet-onet at a
threshold that lets through nearly everything; faces in which not even that finds points stand in
a row of their own. Figures of time are of turns that the aligners take in alternation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from manifests.core import layout
from manifests.photographs.protocols import Benchmark
from pipeline.arrays.numerics import in_fixed_batches
from pipeline.generators import load_generator
from pipeline.sample import prior
from pipeline.weights import CACHE, FILES, gather, orl_files
from tests.bench.aligners.contenders import ALIGNERS, called, find, open_contenders
from tests.bench.aligners.costs import milliseconds_a_face, rendering, same_bytes
from tests.bench.aligners.errors import crop_errors, place_in_the_plane
from tests.bench.aligners.photographs import by_each
from tests.bench.aligners.shares import false_alarms, shares_found

PROBE = ("probe", 2)  # the round of the default run that is never trained on, and its seed
FACES = 2048
WITHOUT = 1024  # pictures of a kind that has no face
WARPED = 512
TIMED = 256


def measure() -> dict[str, Any]:
    return compare()


def compare(
    benchmarks: Sequence[str] = ("orl",), others: Sequence[str] = (), *, faces: int = FACES
) -> dict[str, Any]:
    """`benchmarks`: whose photographs are looked at; `others`: further aligners, as params.yaml
    would name them; `faces`: generated ones, the other numbers follow."""
    gather(
        [*FILES, *orl_files(Benchmark.read(layout.BENCHMARKS / "orl.parquet"))],
        CACHE,
        layout.WEIGHTS,
    )
    contenders = open_contenders([*ALIGNERS, *others], layout.WEIGHTS)
    scale = faces / FACES
    pictures = generated(faces)
    found = {one.name: find(one, pictures) for one in contenders}
    few = pictures[: max(16, round(TIMED * scale))]
    return {
        "settings": {one.name: one.described() for one in contenders},
        "found": shares_found(pictures, found, contenders),
        "false_alarms": false_alarms(pictures[: max(1, round(WITHOUT * scale))], contenders),
        "crop_errors": crop_errors(pictures[: max(16, round(WARPED * scale))], contenders),
        "field_crop_in_the_plane": place_in_the_plane(found["dlib"], found["yunet-onet"]),
        "same_bytes": {one.name: same_bytes(one, pictures[:64]) for one in contenders},
        "milliseconds_a_face": milliseconds_a_face(few, contenders),
        "rendering": rendering(len(few), contenders),
        "photographs": {called(text): by_each(text, contenders) for text in benchmarks},
    }  # fmt: skip


def generated(count: int) -> torch.Tensor:
    """The first pictures of the probe, float "face 3 size size"."""
    name, seed = PROBE
    generator = load_generator("dcgan-digiface", layout.WEIGHTS)
    latents = prior(FACES, generator.prior_width, name, seed)[:count]
    return in_fixed_batches(generator.render, torch.from_numpy(latents)).cpu()
