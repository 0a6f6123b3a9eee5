"""The configured generator and teacher: the arrays that they fill, and how fast they are."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from manifests.building.writing import Column
from manifests.core import layout
from manifests.settings.params import Params
from pipeline.arrays.align import load_aligner
from pipeline.arrays.frames import WIDE
from pipeline.arrays.numerics import BATCH, device_of
from pipeline.building.crews import num_cores
from pipeline.building.embeddings import columns_of, embed_faces
from pipeline.building.faces import COLUMNS, Detector, Faces, pictures_of, render_faces
from pipeline.generators.base import Generator
from pipeline.sample import prior
from pipeline.teachers.base import Teacher

SAMPLE = 2 * BATCH  # latents: whole batches, as a padded one takes as long


@dataclass(frozen=True)
class Sample:
    """What a few latents of the prior took."""

    usable: float  # share of them
    render_rate: float  # latents a second
    embed_rate: float  # faces a second, each in all views
    source: str  # in words


@dataclass(frozen=True)
class Parts:
    params: Params
    generator: Generator
    teacher: Teacher

    @property
    def pictures(self) -> Column:
        return pictures_of(self.params.render.frame_size)

    @property
    def face_columns(self) -> Sequence[Column]:
        """Of a face store, beside the pictures."""
        return COLUMNS

    @property
    def teacher_columns(self) -> Sequence[Column]:
        return columns_of(self.teacher)

    @cached_property
    def sample(self) -> Sample:
        """Measured on first use; takes seconds, writes nothing.

        One thread is measured and counted once for each core: so do workers share a CPU, and
        threads that wait for each other are many times slower on a busy machine.
        """
        device = device_of(self.params.device)
        self.generator.to(device)
        self.teacher.to(device)
        with _one_thread():
            usable, render_rate, embed_rate = _measure(self)
        times = num_cores() if device.type == "cpu" else 1
        busy = ", on a busy machine" if os.getloadavg()[0] > num_cores() else ""
        source = f"sampled now: {SAMPLE} latents, one thread, times {times}{busy}"
        return Sample(usable, times * render_rate, times * embed_rate, source)


def row_bytes(columns: Iterable[Column]) -> int:
    """Bytes of a row before compression."""
    return sum(np.dtype(each.dtype).itemsize * math.prod(each.shape) for each in columns)


def _measure(parts: Parts) -> tuple[float, float, float]:
    """Usable share, latents rendered a second and faces embedded a second."""
    render = parts.params.render
    frame = WIDE.at(render.frame_size)
    detectors = [
        Detector(load_aligner(layout.WEIGHTS, attempt.detect_threshold), attempt.detect_size)
        for attempt in render.detections
    ]
    latents = prior(SAMPLE, parts.generator.latent_width, "plan", seed=0)

    def rendered(count: int) -> list[Faces]:
        return list(render_faces(parts.generator, detectors, latents[:count], frame))

    embed_faces(parts.teacher, rendered(BATCH)[0].images, frame)  # the first call is slower
    batches, render_seconds = _timed(lambda: rendered(SAMPLE))
    images = np.concatenate([faces.images for faces in batches])
    # Failed faces too: a black picture takes as long as any, and batches stay whole.
    _, embed_seconds = _timed(lambda: embed_faces(parts.teacher, images, frame))
    usable = float(np.mean([faces.ok.mean() for faces in batches]))
    return usable, SAMPLE / render_seconds, SAMPLE / embed_seconds


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start
