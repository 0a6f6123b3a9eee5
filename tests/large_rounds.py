"""Large rounds without the hours: the stages' own builds, with jobs that copy the faces and the
embeddings of a small real round over and over in place of making new ones.

    python -m tests.large_rounds STEP ROWS      prints what it measured, as JSON

The small round must have been built, the large one sampled, below the current folder.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from itertools import islice

import numpy as np

from manifests.core import layout
from manifests.settings.params import load_params
from manifests.stores.reading import FaceStore, TeacherStore
from manifests.stores.rounds import open_round
from pipeline.building.faces import Faces
from pipeline.building.shards import Build, finish, finished_lines, locked, relink, run_tasks
from pipeline.building.workers import Workers, num_cores
from pipeline.embed import EmbedJob, open_embedding
from pipeline.render import RenderJob, open_rendering
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


@lru_cache(maxsize=1)
def _small_faces() -> list[np.ndarray]:
    faces = FaceStore.open(layout.faces(SMALL))
    columns = ("ok", "reason", "landmarks", "quality")
    return [faces.images(0, len(faces)), *map(faces.column, columns)]


@lru_cache(maxsize=1)
def _small_embeddings(teacher: str) -> np.ndarray:
    return TeacherStore.open(layout.teacher(SMALL, teacher)).embeddings()


def faces_of(rows: int) -> Build:
    rendering = open_rendering(large(rows), load_params())
    return replace(rendering, job=TiledRenderJob(**vars(rendering.job)))


def embeddings_of(rows: int) -> Build:
    params = load_params()
    embedding = open_embedding(large(rows), params.teacher, params)
    return replace(embedding, job=TiledEmbedJob(**vars(embedding.job)))


def write_shards(build: Build) -> dict[str, float]:
    """All shards, by as many workers as there are cores; not sealed."""
    workers = Workers(num_cores())
    with locked(build):
        return {"seconds": _seconds(lambda: run_tasks(build, workers))}


def seal(build: Build) -> dict[str, float]:
    """From all shards to the sealed store, as a build goes on that was stopped there."""
    with locked(build):
        recheck = _seconds(lambda: finished_lines(build))
        resume = _seconds(lambda: (finish(build, Workers(1)), relink(build)))
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
    from tests.large_rounds import main as command  # workers know the jobs by this module's name

    command()
