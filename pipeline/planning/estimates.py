"""What a face costs here: bytes, seconds, and how many latents become faces.

Each number is measured where this checkout holds something to measure, else sampled now, and
says where it is from.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from manifests.building.writing import Column
from manifests.core import layout
from manifests.core.costs import full_rates
from manifests.settings.params import Params
from manifests.stores.passport import NAME as PASSPORT
from manifests.stores.passport import Passport
from pipeline.aligners.base import Aligner
from pipeline.arrays.frames import WIDE
from pipeline.arrays.numerics import BATCH, device_of
from pipeline.building.embeddings import columns_of, embed_faces
from pipeline.building.faces import COLUMNS, Faces, pictures_of, render_faces
from pipeline.building.workers import num_cores
from pipeline.generators.base import Generator
from pipeline.render import aligner_for, fingerprint
from pipeline.sample import prior
from pipeline.teachers.base import Teacher

SAMPLE = 2 * BATCH  # latents: whole batches, as a padded one takes as long


@dataclass(frozen=True)
class Estimate:
    """A number, and in words where it is from."""

    value: float
    source: str


@dataclass(frozen=True)
class Estimates:
    """What a plan is made with."""

    face_bytes: Estimate  # of a row of a face store
    embedding_bytes: Estimate  # of a row of a teacher store
    usable: Estimate  # share of the latents in whose pictures a face is found
    render_rate: Estimate  # latents a second
    embed_rate: Estimate  # usable faces a second, each in all views


@dataclass(frozen=True)
class Parts:
    """The configured generator and teacher."""

    params: Params
    generator: Generator
    teacher: Teacher

    @cached_property
    def aligner(self) -> Aligner | None:
        return aligner_for(self.generator, self.params.aligner, layout.WEIGHTS)

    @cached_property
    def sample(self) -> Mapping[str, Estimate]:
        """Of usable, render_rate and embed_rate; measured on first use, in seconds.

        One thread is measured and counted once for each core: so do workers share a CPU, and
        threads that wait for each other are many times slower on a busy machine.
        """
        device = device_of(self.params.device)
        self.generator.to(device)
        self.teacher.to(device)
        if self.aligner is not None:
            self.aligner.to(device)
        with _one_thread():
            usable, *rates = _measure(self)
        times = num_cores() if device.type == "cpu" else 1
        busy = ", on a busy machine" if os.getloadavg()[0] > num_cores() else ""
        source = f"sampled now: {SAMPLE} latents, one thread, times {times}{busy}"
        values = [usable, *(times * rate for rate in rates)]
        names = ("usable", "render_rate", "embed_rate")
        return {name: Estimate(value, source) for name, value in zip(names, values, strict=True)}


def row_bytes(columns: Iterable[Column]) -> int:
    """Bytes of a row before compression."""
    return sum(np.dtype(each.dtype).itemsize * math.prod(each.shape) for each in columns)


def estimate(parts: Parts) -> Estimates:
    """From the stores and recorded builds of this checkout, else from a sample made now."""
    settings, teacher = parts.params, parts.teacher
    made_by = fingerprint(parts.generator, parts.aligner, settings.render, settings.device)
    faces = _stores(layout.faces, made_by.identity)
    embedded = _stores(lambda name: layout.teacher(name, teacher.name), teacher.identity())
    pictures = pictures_of(settings.render.frame_size)
    return Estimates(
        face_bytes=_stored(faces, row_bytes([pictures, *COLUMNS])),
        embedding_bytes=_stored(embedded, row_bytes(columns_of(teacher))),
        usable=_found(faces) or parts.sample["usable"],
        render_rate=_recorded(full_rates("render")) or parts.sample["render_rate"],
        embed_rate=_recorded(full_rates("embed", lambda name: _one_teacher(name, teacher.name)))
        or parts.sample["embed_rate"],
    )


def spread_over(estimates: Estimates, workers: int, cores: int) -> Estimates:
    """Rates of so many workers, where those known are of a worker on each of `cores`."""
    render, embed = (
        Estimate(
            rate.value * workers / cores,
            f"{rate.source}; {workers} workers taken as {workers / cores:.3g} times the {cores} "
            "cores here, each with a core of its own",
        )
        for rate in (estimates.render_rate, estimates.embed_rate)
    )
    return replace(estimates, render_rate=render, embed_rate=embed)


def _stores(path_of: Callable[[str], Path], identity: Mapping[str, Any]) -> dict[Path, Passport]:
    """This checkout's sealed stores that the same parts made, with faces in them."""
    paths = [path_of(folder.name) for folder in sorted(layout.DATA.glob("*/"))]
    found = {path: Passport.read(path) for path in paths if (path / PASSPORT).exists()}
    return {
        path: passport
        for path, passport in found.items()
        if passport.fingerprint.identity == identity and passport.num_rows
    }


def _stored(stores: Mapping[Path, Passport], uncompressed: int) -> Estimate:
    """Bytes of a row as stored on this disk."""
    if not stores:
        return Estimate(float(uncompressed), "uncompressed, an upper bound: no such store is here")
    num_bytes = sum(f.stat().st_size for path in stores for f in path.rglob("*") if f.is_file())
    return _a_row(stores, num_bytes, "measured, {} rows in {}")


def _found(stores: Mapping[Path, Passport]) -> Estimate | None:
    usable = sum(passport.num_ok for passport in stores.values())
    return _a_row(stores, usable, "of {} in {}") if stores else None


def _a_row(stores: Mapping[Path, Passport], total: int, source: str) -> Estimate:
    num_rows = sum(passport.num_rows for passport in stores.values())
    return Estimate(total / num_rows, source.format(f"{num_rows:,}", _several(stores, "store")))


def _recorded(rates: Sequence[float]) -> Estimate | None:
    """The median, as a resumed build is recorded with all its rows and would spoil a mean."""
    return Estimate(median(rates), f"median of {_several(rates, 'build')} here") if rates else None


def _several(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'s' if len(things) != 1 else ''}"


def _one_teacher(round: str, teacher: str) -> bool:
    """Recorded costs do not name the teacher: those of rounds that have another's embeddings
    say nothing."""
    stores = layout.teacher(round, teacher).parent.glob("*.zarr") if round else ()
    return all(store.stem == teacher for store in stores)


def _measure(parts: Parts) -> tuple[float, float, float]:
    """Usable share, latents rendered a second and faces embedded a second."""
    render = parts.params.render
    frame = WIDE.at(render.frame_size)
    latents = prior(SAMPLE, parts.generator.latent_width, "plan", seed=0)

    def rendered(count: int) -> list[Faces]:
        return list(
            render_faces(parts.generator, parts.aligner, render.detections, latents[:count], frame)
        )

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
