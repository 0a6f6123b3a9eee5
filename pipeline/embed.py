"""Stage embed: data/ROUND/faces.zarr -> data/ROUND/teachers/NAME.zarr.

    facestill embed ROUND [--teacher NAME|KIND:PATH] [--workers N | --scheduler ADDRESS]

Each usable face is embedded twice, plain and mirrored: a mirrored face has an embedding of its
own, never a copy (the two views of the dlib teacher have a centred cosine of 0.88 on our faces).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from manifests.building.ledger import LedgerLine
from manifests.building.writing import (
    Column,
    Task,
    assemble,
    read_pieces,
    write_attributes,
    write_piece,
)
from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.errors import InputError, Parser, run_command
from manifests.settings.params import Params, load_params
from manifests.stores.passport import NAME as PASSPORT
from manifests.stores.passport import Fingerprint, Passport
from manifests.stores.reading import FaceStore
from manifests.stores.rounds import open_faces
from pipeline.arrays.frames import Frame
from pipeline.arrays.numerics import device_of, numerics, require_numerics
from pipeline.building.embeddings import centre_and_spread, columns_of, count, embed_faces
from pipeline.building.shards import (
    Build,
    Making,
    Workshop,
    open_workshop,
    relink,
    run_tasks,
    seal,
)
from pipeline.building.workers import Workers, add_options, workers_of
from pipeline.teachers import load_teacher
from pipeline.teachers.base import VIEWS, Teacher

VERSION = 3  # raise it when the same inputs would give other embeddings, or other bytes of them


@dataclass(frozen=True)
class Embedding(Making):
    """A round's embeddings before they are made: all that they depend on."""

    name: str
    faces: FaceStore
    teacher: Teacher
    teacher_text: str  # by which a worker loads it
    made_by: Fingerprint
    params: Params

    @property
    def build(self) -> Build:
        inputs = {"version": VERSION, "faces": self.faces.root, **asdict(self.made_by)}
        output = layout.teacher(self.name, self.teacher.name)
        return Build(f"embed-{self.name}-{self.teacher.name}", inputs, output)

    @property
    def source(self) -> str:
        return self.faces.root

    @property
    def task_rows(self) -> int:
        return self.faces.task_rows

    @property
    def num_rows(self) -> int:
        return len(self.faces)

    @property
    def pictures(self) -> None:
        return None

    @property
    def columns(self) -> Sequence[Column]:
        return columns_of(self.teacher)

    def count(self, columns: Mapping[str, np.ndarray]) -> tuple[int, int, dict[str, int]]:
        return count(columns)

    def finish(self, shop: Workshop, workers: Workers) -> Passport:
        rows = None if shop.begun else self.faces.passport.num_ok
        with timed(f"embed@{self.name}", rows=rows):
            return build_embeddings(shop, self, workers)

    def job(self, work: Path) -> EmbedJob:
        return EmbedJob(
            work=work,
            faces=self.faces.path,
            faces_root=self.faces.root,
            weights=layout.WEIGHTS,
            teacher=self.teacher_text,
            device=self.params.device,
            numerics=tuple(self.made_by.numerics.items()),
            input_hash=work.name,
        )


def open_embedding(name: str, teacher_name: str, params: Params) -> Embedding:
    """Opens the faces and the teacher, which is named or given as NAME:PATH.

    Raises InputError if the teacher calls itself otherwise than params.yaml does, or needs a
    larger picture than is stored.
    """
    _, faces = open_faces(name)
    text = params.teacher_text(teacher_name)
    teacher = load_teacher(text, layout.WEIGHTS)
    if text != teacher_name and teacher.name != teacher_name:
        raise InputError(
            f"params.yaml: teachers: {teacher_name}: {text} calls itself {teacher.name}; name it "
            "so there, or declare the other name (docs/TEACHERS.md)"
        )
    _check_frame(teacher, faces)
    made_by = Fingerprint(teacher.identity(), numerics(params.device))
    return Embedding(name, faces, teacher, text, made_by, params)


def _check_frame(teacher: Teacher, faces: FaceStore) -> None:
    stored = Frame(**faces.frame)
    if not stored.contains(teacher.frame):
        raise InputError(
            f"{faces.path}: holds frame {stored.place}, which does not contain that of teacher "
            f"{teacher.name}, {teacher.frame.place}; render wider faces"
        )


@dataclass(frozen=True)
class EmbedJob:
    """Embeds one shard; travels to worker processes, where it opens its own store."""

    work: Path
    faces: Path
    faces_root: str
    weights: Path
    teacher: str
    device: str
    numerics: tuple[tuple[str, Any], ...]  # which every worker must compute with
    input_hash: str

    def __call__(self, task: Task) -> LedgerLine:
        rows = self.embed(np.arange(task.start, task.stop))
        stored = rows.astype(np.float16)
        self._check(task, stored)
        columns = {"embeddings": stored, "norms": np.linalg.norm(rows, axis=2)}
        piece, sha256 = write_piece(self.work, task, columns)
        return LedgerLine(task.shard, self.input_hash, {piece: sha256}, *count(columns))

    def embed(self, rows: np.ndarray) -> Float[np.ndarray, "row view width"]:
        """Embeddings of ascending rows of the faces; NaN where a face failed."""
        teacher, faces, ok = _tools(self)
        usable = ok[rows]
        first, last = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
        images = faces.images(first, last)[rows - first][usable]
        found = embed_faces(teacher, images, Frame(**faces.frame))
        embeddings = np.full((len(rows), *found.shape[1:]), np.nan, np.float32)
        embeddings[usable] = found
        return embeddings

    def _check(self, task: Task, stored: np.ndarray) -> None:
        usable = _tools(self)[2][task.start : task.stop]
        bad = usable & ~np.isfinite(stored).all(axis=(1, 2))
        if bad.any():
            raise InputError(
                f"{self.faces}: row {task.start + int(np.argmax(bad))} has an embedding by "
                f"{self.teacher} that is not finite in float16; check the teacher's weights"
            )


@lru_cache(maxsize=1)
def _tools(job: EmbedJob) -> tuple[Teacher, FaceStore, np.ndarray]:
    require_numerics(dict(job.numerics), numerics(job.device))
    teacher = load_teacher(job.teacher, job.weights)
    teacher.to(device_of(job.device))
    faces = FaceStore.open(job.faces, expect={"root": job.faces_root})
    return teacher, faces, faces.ok()


def main() -> None:
    parser = Parser(description="Cache a teacher's embeddings of a round.")
    parser.add_argument("round", help="name of a rendered round")
    parser.add_argument("--teacher", help="a name, or KIND:PATH; default: params.yaml's")
    add_options(parser)
    args = parser.parse_args()
    params = load_params()
    embed_round(args.round, args.teacher or params.teacher, params, workers=workers_of(args))


def embed_round(name: str, teacher_name: str, params: Params, *, workers: Workers) -> None:
    """Builds, resumes or relinks the teacher store of round `name`."""
    embedding = open_embedding(name, teacher_name, params)
    _check_name_is_free(embedding)
    with open_workshop(embedding.build) as shop:
        if not shop.finished:
            embedding.finish(shop, workers)
        relink(shop)


def _check_name_is_free(embedding: Embedding) -> None:
    """Raises InputError if other weights of this name have a store there."""
    output, teacher = embedding.build.output, embedding.teacher
    if not (output / PASSPORT).exists():
        return
    have = str(Passport.read(output).fingerprint.identity.get("weights_sha256"))
    if have != teacher.weights_sha256:
        raise InputError(
            f"{output}: by other weights called {teacher.name} ({have[:12]}, these are "
            f"{teacher.weights_sha256[:12]}); declare another name for these (docs/TEACHERS.md), "
            "or remove that store"
        )


def build_embeddings(shop: Workshop, embedding: Embedding, workers: Workers) -> Passport:
    """Does what is left to do of a teacher store, and seals it."""
    faces, teacher, tasks = embedding.faces, embedding.teacher, embedding.tasks
    title = f"embed {embedding.name}"
    lines = run_tasks(shop, tasks, embedding.job(shop.work), workers=workers, title=title)
    others = assemble(shop.store, shop.work, tasks, columns_of(teacher), faces.task_rows)
    mean, spread = centre_and_spread(
        lambda: read_pieces(shop.work, tasks, "embeddings"), teacher.width
    )
    if spread <= 0:
        raise InputError(f"{faces.path}: all embeddings by {teacher.name} are alike")
    attributes = {"views": list(VIEWS), "mean": mean.tolist(), "spread": spread}
    others |= write_attributes(shop.store, attributes)
    return seal(shop, lines, others, _passport(embedding, lines))


def _passport(embedding: Embedding, lines: Sequence[LedgerLine]) -> Passport:
    faces, teacher = embedding.faces, embedding.teacher
    own: dict[str, Any] = asdict(faces.passport)
    failed = sum(line.num_rows - line.num_ok for line in lines)
    return Passport(
        kind="teacher",
        round=faces.passport.round,
        num_rows=len(faces),
        shard_rows=faces.task_rows,
        num_ok=sum(line.num_ok for line in lines),
        failures={"face_not_ok": failed} if failed else {},
        merkle_root="",  # sealing fills it in
        manifest_digest=faces.passport.manifest_digest,
        faces_root=faces.root,
        fingerprint=embedding.made_by,
        lineage={**own["lineage"], "faces": own["fingerprint"]["identity"]},
        licences={**own["licences"], teacher.name: teacher.licence},
    )


if __name__ == "__main__":
    from pipeline.embed import main as command  # workers know the job by this module's name

    run_command(command)
