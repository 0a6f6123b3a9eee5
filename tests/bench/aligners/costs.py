"""Milliseconds a face, by batch and threads; faces rendered and aligned a second; and whether what
is found depends on the company."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch

from manifests.core import layout
from manifests.core.progress import Bar
from manifests.settings.params import load_params
from pipeline.arrays.align import Face
from pipeline.arrays.frames import WIDE
from pipeline.arrays.numerics import in_fixed_batches
from pipeline.building.faces import render_faces
from pipeline.generators import load_generator
from pipeline.sample import prior
from tests.bench.aligners.contenders import Contender, Pictures
from tests.bench.students import one_thread
from tests.bench.teacher import spread
from tests.conftest import ROOT

TURNS = 5
BATCHES, THREADS = (16, 64), (1, 2)
COMPANIES = (1, 7, 64)  # rows at once
K = TypeVar("K", bound=Hashable)


def in_turns(works: Mapping[K, Callable[[], object]], label: str) -> dict[K, list[float]]:
    """Seconds of each, in alternation, after a warm-up of all: a slower moment is in all."""
    for work in works.values():
        work()
    seconds = defaultdict(list)
    for _ in Bar(range(TURNS), desc=label, unit="turn"):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    return dict(seconds)


def milliseconds(seconds: Sequence[float], faces: int) -> dict[str, float]:
    low, middle, high = np.quantile(seconds, (0.0, 0.5, 1.0)) * 1e3 / faces
    return {"median": round(middle, 3), "min": round(low, 3), "max": round(high, 3)}


def milliseconds_a_face(pictures: Pictures, contenders: Sequence[Contender]) -> dict[str, Any]:
    """Of the first attempt."""

    def work(one: Contender, batch: int, threads: int) -> Callable[[], object]:
        def look() -> None:
            with threads_of(threads):
                one.look(pictures, rows=batch)

        return look

    settings = [(batch, threads) for threads in THREADS for batch in BATCHES]
    works = {(one.name, *own): work(one, *own) for one in contenders for own in settings}
    taken = in_turns(works, "milliseconds a face")
    found: dict[str, Any] = {one.name: {} for one in contenders}
    for (name, batch, threads), seconds in taken.items():
        key = f"batch {batch}, threads {threads}"
        found[name][key] = milliseconds(seconds, len(pictures))
    return found


@contextmanager
def threads_of(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def rendering(count: int, contenders: Sequence[Contender]) -> dict[str, Any]:
    """Latents to stored faces on one thread: faces a second, usable ones a second, and the
    generator's share of the time."""
    generator = load_generator("dcgan-digiface", layout.WEIGHTS)
    latents = prior(count, generator.latent_width, "bench", seed=14)
    frame = WIDE.at(load_params(ROOT / "params.yaml").render.frame_size)
    usable = {}

    def work(one: Contender) -> Callable[[], object]:
        def render() -> None:
            parts = render_faces(generator, one.aligner, one.attempts, latents, frame)
            usable[one.name] = sum(int(part.ok.sum()) for part in parts)

        return render

    works: dict[str, Callable[[], object]] = {one.name: work(one) for one in contenders}
    works["generator"] = lambda: in_fixed_batches(generator.render, torch.from_numpy(latents))
    with one_thread():
        taken = in_turns(works, "rendering")
    middle = {name: float(np.median(seconds)) for name, seconds in taken.items()}
    alone = taken.pop("generator")
    found = {
        name: {
            "faces_per_second": spread([count / each for each in seconds]),
            "usable_faces_per_second": spread([usable[name] / each for each in seconds]),
            "share_of_the_generator": round(middle["generator"] / middle[name], 3),
            "over_dlib": round(middle["dlib"] / middle[name], 2),
            "over_dlib_without_the_generator": round(
                (middle["dlib"] - middle["generator"]) / (middle[name] - middle["generator"]), 2
            ),
        }
        for name, seconds in taken.items()
    }
    return {"generator_alone": spread([count / each for each in alone]), **found}


def same_bytes(contender: Contender, pictures: Pictures) -> dict[str, bool]:
    """Whether every face comes out with the same bytes a second time, and in other company, by
    every attempt."""

    def look(attempt: int, rows: int) -> list[bytes]:
        return _bytes(contender.look(pictures, attempt=attempt, rows=rows))

    attempts = range(len(contender.attempts))
    with one_thread():
        whole = [look(attempt, len(pictures)) for attempt in attempts]
        found = {"twice": whole == [look(attempt, len(pictures)) for attempt in attempts]}
        for rows in COMPANIES:
            found[f"{rows} at once"] = whole == [look(attempt, rows) for attempt in attempts]
    return found


def _bytes(faces: Sequence[Face | None]) -> list[bytes]:
    return [
        b"" if face is None else face.landmarks.tobytes() + np.float64(face.score).tobytes()
        for face in faces
    ]
