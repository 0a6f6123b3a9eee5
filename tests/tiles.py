"""Large rounds without the hours: the stages' own builds, with jobs that copy the faces and the
embeddings of a small real round over and over in place of making new ones.

    python -m tests.tiles STEP ROWS      prints what it measured, as JSON

The small round must have been built, the large one sampled, below the current folder.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np

from manifests.core import layout
from manifests.settings.params import load_params
from manifests.stores.reading import FaceStore, TeacherStore
from manifests.stores.rounds import open_round
from pipeline.building.crews import Crew
from pipeline.building.faces import Faces
from pipeline.building.shards import Making, finished_lines, open_workshop, relink, run_tasks
from pipeline.embed import Embedding, EmbedJob, open_embedding
from pipeline.render import Rendering, RenderJob, open_rendering
from train.batching.batches import BatchStream
from train.batching.sources import open_source

SMALL = "small"  # the round whose faces are copied
BATCHES = 256  # that `read` draws


def large(rows: int) -> str:
    """Name of the tiled round of so many rows."""
    return f"tiled-{rows}"


class TiledRenderJob(RenderJob):
    """Row i is row i, modulo its length, of the small round."""

    def faces(self, rows: np.ndarray, *, first_attempt: int = 0) -> Faces:
        return Faces(*(values[rows % len(values)] for values in _small_faces()))


class TiledEmbedJob(EmbedJob):
    def embed(self, rows: np.ndarray) -> np.ndarray:
        embeddings = _small_embeddings(self.teacher)
        return embeddings[rows % len(embeddings)].astype(np.float32)


class TiledRendering(Rendering):
    def job(self, work: Path) -> TiledRenderJob:
        return TiledRenderJob(**vars(super().job(work)))


class TiledEmbedding(Embedding):
    def job(self, work: Path) -> TiledEmbedJob:
        return TiledEmbedJob(**vars(super().job(work)))


@lru_cache(maxsize=1)
def _small_faces() -> list[np.ndarray]:
    faces = FaceStore.open(layout.faces(SMALL))
    columns = ("ok", "reason", "landmarks", "quality")
    return [faces.images(0, len(faces)), *map(faces.column, columns)]


@lru_cache(maxsize=1)
def _small_embeddings(teacher: str) -> np.ndarray:
    return TeacherStore.open(layout.teacher(SMALL, teacher)).embeddings()


def faces_of(rows: int) -> Making:
    return TiledRendering(**vars(open_rendering(large(rows), load_params())))


def embeddings_of(rows: int) -> Making:
    params = load_params()
    return TiledEmbedding(**vars(open_embedding(large(rows), params.teacher, params)))


def write_shards(making: Making) -> dict[str, float]:
    """All shards, by as many workers as there are cores; not sealed."""
    crew = Crew(len(os.sched_getaffinity(0)))
    with open_workshop(making.build) as shop:
        job = making.job(shop.work)
        return {
            "seconds": _seconds(lambda: run_tasks(shop, making.tasks, job, crew=crew, title=""))
        }


def seal(making: Making) -> dict[str, float]:
    """From all shards to the sealed store, as a build goes on that was stopped there."""
    with open_workshop(making.build) as shop:
        recheck = _seconds(lambda: finished_lines(shop))
        resume = _seconds(lambda: (making.finish(shop, Crew(1)), relink(shop)))
    return {"recheck_seconds": recheck, "seconds": resume}


def read(rows: int) -> dict[str, float]:
    """Batches as training reads them."""
    params = load_params()
    files = open_round(large(rows), params.teacher)
    sources = [open_source(files.faces, {params.teacher: files.teacher})]
    batch, pool_rows = params.train.batch, params.train.pool_rows
    stream = BatchStream(sources, batch=batch, pool_rows=pool_rows, seed=1)
    return {"seconds": _seconds(lambda: [None for _ in islice(stream.batches(), BATCHES)])}


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


STEPS: dict[str, Callable[[int], dict[str, float]]] = {
    "render_shards": lambda rows: write_shards(faces_of(rows)),
    "render_seal": lambda rows: seal(faces_of(rows)),
    "embed_shards": lambda rows: write_shards(embeddings_of(rows)),
    "embed_seal": lambda rows: seal(embeddings_of(rows)),
    "read": read,
}


def main() -> None:
    print(json.dumps(STEPS[sys.argv[1]](int(sys.argv[2]))))


if __name__ == "__main__":
    from tests.tiles import main as command  # workers know the jobs by this module's name

    command()
