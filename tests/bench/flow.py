"""Faces per second of render, align, embed and train, alone and as the stages run them."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import chdir
from itertools import islice
from pathlib import Path

import torch

from manifests.core import layout
from manifests.settings.params import PriorRound, load_params
from manifests.stores.reading import FaceStore
from manifests.stores.rounds import open_round
from pipeline.aligners import load_aligner
from pipeline.arrays.frames import WIDE, Frame
from pipeline.arrays.numerics import in_fixed_batches
from pipeline.building.embeddings import embed_faces
from pipeline.building.faces import detected
from pipeline.building.workers import Workers
from pipeline.embed import embed_round
from pipeline.generators import load_generator
from pipeline.render import render_round
from pipeline.sample import prior, sample_prior, save
from pipeline.teachers import load_teacher
from pipeline.weights import CACHE, FILES, gather
from tests.bench.teacher import rate, spread
from tests.bench.train import network_of, steps_of
from train.batching.batches import BatchStream
from train.batching.sources import open_source

ROWS = 4096  # latents of the round that the stages build
STEPS = 40


def measure() -> dict[str, object]:
    """Alone: one process, all threads. Together: whole stages with all workers."""
    gather(FILES, CACHE, layout.WEIGHTS)
    root = Path.cwd()
    with tempfile.TemporaryDirectory() as scratch, chdir(scratch):
        os.symlink(root / "params.yaml", "params.yaml")
        layout.DATA.mkdir()
        os.symlink(root / layout.WEIGHTS, layout.WEIGHTS)
        stages = _stages()
        return {"alone": _alone(), "stages": stages, "threads": torch.get_num_threads()}


def _alone() -> dict[str, object]:
    params = load_params()
    generator = load_generator(params.generator, layout.WEIGHTS)
    latents = torch.from_numpy(prior(512, generator.latent_width, "bench", seed=12))
    pictures = in_fixed_batches(generator.render, latents)
    aligner = load_aligner(params.aligner, layout.WEIGHTS)
    wide = WIDE.at(params.render.frame_size)

    def align() -> int:
        return int(detected(aligner, params.render.detections, pictures, wide).ok.sum())

    usable = align()
    faces = FaceStore.open(layout.faces("bench"))
    images, frame = faces.images(0, 256), Frame(**faces.frame)
    teacher = load_teacher(params.teacher, layout.WEIGHTS)
    return {
        "render": spread(rate(lambda: in_fixed_batches(generator.render, latents), len(latents))),
        "align_pictures": spread(rate(align, len(latents))),
        "embed_two_views": spread(rate(lambda: embed_faces(teacher, images, frame), len(images))),
        "train": _train(),
        "usable_share": usable / len(latents),
    }


def _stages() -> dict[str, object]:
    params = load_params()
    manifest = sample_prior("bench", PriorRound(ROWS, 13), params)
    save(manifest)
    workers = Workers(os.cpu_count() or 1)
    render = _seconds(lambda: render_round("bench", params, workers=workers))
    usable = FaceStore.open(layout.faces("bench")).passport.num_ok
    embed = _seconds(lambda: embed_round("bench", params.teacher, params, workers=workers))
    return {
        "workers": workers.processes,
        "render_and_align_usable": round(usable / render, 1),
        "embed_two_views": round(usable / embed, 1),
        "data_usable": round(usable / (render + embed), 1),
    }


def _seconds(work: object) -> float:
    start = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - start


def _train() -> dict[str, float]:
    params = load_params()
    files = open_round("bench", params.teacher)
    source = open_source(files.faces, {params.teacher: files.teacher}, manifest=files.manifest)
    train = params.train
    stream = BatchStream([source], batch=train.batch, pool_rows=train.pool_rows, seed=1)
    lines = steps_of(network_of(train.student, source, params), stream.batches(), source, params)
    return spread(rate(lambda: list(islice(lines, STEPS)), STEPS * train.batch))
