"""Embed a round's faces with a teacher into data/ROUND/teachers/TEACHER.zarr.

    facestill embed ROUND [--teacher NAME|KIND:PATH] [--workers N | --scheduler ADDRESS]
    facestill embed ROUND --teacher onnx:FOLDER    by every file in it, in turn

Each usable face is embedded twice, plain and mirrored: a mirrored face has an embedding of its
own, never a copy (the two views of the dlib teacher have a centred cosine of 0.88 on our faces).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from manifests.building.writing import read_pieces
from manifests.core import layout
from manifests.core.backends import split_kind
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.core.layout import PROBE
from manifests.settings.params import Params, load_params
from manifests.stores.passport import NAME as PASSPORT
from manifests.stores.passport import Fingerprint, Passport, Provenance
from manifests.stores.reading import FaceStore
from manifests.stores.rounds import open_faces
from pipeline.arrays.frames import Frame
from pipeline.arrays.numerics import device_of, numerics
from pipeline.building.embeddings import centre_and_spread, columns_of, count, embed_faces
from pipeline.building.meeting import require_made_by
from pipeline.building.shards import Arrays, Build, build, scratch_folder
from pipeline.building.workers import Workers, add_options, workers_of
from pipeline.teachers import load_teacher
from pipeline.teachers.base import PRECISION, VIEWS, Teacher, in_precision

HALF = float(np.finfo(np.float16).eps)  # relative rounding, at most, of a float16 that is normal
VERSION = 4  # raise it when the same inputs would give other embeddings, or other bytes of them


def embed_round(
    name: str, teacher_name: str, params: Params, *, workers: Workers, into: Path | None = None
) -> tuple[Path, Passport]:
    """Builds, resumes or relinks the teacher store of round `name`, beside the round's others or
    in INTO/ROUND; returns where it lies."""
    embedding = open_embedding(name, teacher_name, params)
    if into is not None:
        embedding = replace(embedding, output=into / name / embedding.output.name)
    _check_name_is_free(embedding)
    return embedding.output, build(embedding, workers)


def open_embedding(name: str, teacher_name: str, params: Params) -> Build:
    """A round's embeddings before they are made, by a teacher that is named or given as
    NAME:PATH.

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
    teacher = in_precision(teacher, params.embed.precision, params.device)
    return _build_of(name, faces, teacher, text, params.device)


def _build_of(name: str, faces: FaceStore, teacher: Teacher, text: str, device: str) -> Build:
    made_by = fingerprint(teacher, device)
    inputs = {"version": VERSION, "faces": faces.root, **asdict(made_by)}
    work = scratch_folder(f"embed-{name}-{teacher.name}", inputs)
    job = EmbedJob(
        faces=faces.path,
        faces_root=faces.root,
        weights=layout.WEIGHTS,
        teacher=text,
        device=device,
        made_by=made_by.text,
        input_hash=work.name,
        precision=made_by.identity.get(PRECISION, "float32"),
    )
    return Build(
        verb="embed",
        name=name,
        work=work,
        output=layout.teacher(name, teacher.name),
        job=job,
        count=count,
        num_rows=len(faces),
        num_faces=faces.passport.num_ok,
        columns=columns_of(teacher),
        images=None,
        attributes=lambda embedding: _attributes(embedding, faces, teacher),
        provenance=_provenance(faces, teacher, made_by),
    )


def fingerprint(teacher: Teacher, device: str) -> Fingerprint:
    """What the embeddings of a store depend on beside its faces."""
    return Fingerprint(teacher.identity(), numerics(device) | teacher.numerics())


def _attributes(embedding: Build, faces: FaceStore, teacher: Teacher) -> dict[str, Any]:
    """What the store says of its embeddings once all are there."""
    pieces = partial(read_pieces, embedding.work, embedding.tasks, "embeddings")
    mean, spread = centre_and_spread(pieces, teacher.width)
    if spread <= 0:
        raise InputError(f"{faces.path}: all embeddings by {teacher.name} are alike")
    return {"views": list(VIEWS), "mean": mean.tolist(), "spread": spread}


def _provenance(faces: FaceStore, teacher: Teacher, made_by: Fingerprint) -> Provenance:
    own: dict[str, Any] = asdict(faces.passport)
    return Provenance(
        kind="teacher",
        round=faces.passport.round,
        manifest_digest=faces.passport.manifest_digest,
        faces_root=faces.root,
        fingerprint=made_by,
        lineage={**own["lineage"], "faces": own["fingerprint"]["identity"]},
        licences={**own["licences"], teacher.name: teacher.licence},
        shard_rows=faces.task_rows,
    )


def _check_frame(teacher: Teacher, faces: FaceStore) -> None:
    stored = Frame(**faces.frame)
    if not stored.contains(teacher.frame):
        raise InputError(
            f"{faces.path}: holds frame {stored.place}, which does not contain that of teacher "
            f"{teacher.name}, {teacher.frame.place}; render wider faces"
        )


@dataclass(frozen=True)
class EmbedJob:
    """Embeds rows of a face store; travels to worker processes, where it opens its own."""

    faces: Path
    faces_root: str
    weights: Path
    teacher: str  # by which it is loaded
    device: str
    made_by: str  # as every worker must find it where it works
    input_hash: str  # a worker that lives on must not take those of another build for these
    precision: str = "float32"  # that this machine has for the one asked for

    def __call__(self, rows: np.ndarray) -> Arrays:
        embeddings = self.embed(rows)
        with np.errstate(over="ignore"):  # it is looked for
            stored = embeddings.astype(np.float16)
        self._check(rows, embeddings, stored)
        return {"embeddings": stored, "norms": np.linalg.norm(embeddings, axis=2)}

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

    def _check(self, rows: np.ndarray, embeddings: np.ndarray, stored: np.ndarray) -> None:
        """Raises InputError for one that float16 cannot hold, at either end of its range."""
        usable = _tools(self)[2][rows]
        bad = usable & ~np.isfinite(stored).all(axis=(1, 2))
        off = np.linalg.norm(stored.astype(np.float64) - embeddings, axis=2)
        faint = usable & (off > HALF * np.linalg.norm(embeddings, axis=2)).any(axis=1)
        if bad.any() or faint.any():
            which, what = bad, "is not finite"
            if not bad.any():
                which, what = faint, "is too small to keep its digits"
            raise InputError(
                f"{self.faces}: row {rows[np.argmax(which)]} has an embedding by "
                f"{self.teacher} that {what} in float16; check the teacher's weights"
            )


@lru_cache(maxsize=1)
def _tools(job: EmbedJob) -> tuple[Teacher, FaceStore, np.ndarray]:
    teacher = in_precision(load_teacher(job.teacher, job.weights), job.precision, job.device)
    require_made_by(job.made_by, fingerprint(teacher, job.device))
    teacher.to(device_of(job.device))
    faces = FaceStore.open(job.faces, expect={"root": job.faces_root})
    return teacher, faces, faces.ok()


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("round", type=layout.round_name, help="name of a rendered round")
    parser.add_argument("--teacher", help="a name, or KIND:PATH; default: params.yaml's")
    parser.add_argument(
        "--into", type=Path, metavar="DIR", help="puts the store into DIR/ROUND, for a study"
    )
    add_options(parser)
    args = parser.parse_args()
    params, workers = load_params(), workers_of(args)
    for teacher in teachers_in(args.teacher or params.teacher):
        path, passport = embed_round(args.round, teacher, params, workers=workers, into=args.into)
    following = f"facestill screen {args.round}"
    if args.round == PROBE:
        following = f"facestill gap RUN --rounds {PROBE}"
    elif path.stem != params.teacher:
        following = f"teacher: {path.stem} in params.yaml, to train with it"
    conclude(path, passport.found, following)


def teachers_in(text: str) -> list[str]:
    """The teacher that is named, or one for each file of a folder of them, by their names.

    Raises InputError for a folder without any."""
    kind, path = split_kind(text)
    if kind != "onnx" or not Path(path).is_dir():
        return [text]
    found = [f"{kind}:{file}" for file in sorted(Path(path).glob("*.onnx"))]
    if not found:
        raise InputError(f"{path}: no .onnx file in this folder; name one that has some")
    return found


def _check_name_is_free(embedding: Build) -> None:
    """Raises InputError if other weights of this name have a store there."""
    output, teacher = embedding.output, embedding.provenance.fingerprint.identity
    if not (output / PASSPORT).exists():
        return
    have = str(Passport.read(output).fingerprint.identity.get("weights_sha256"))
    if have != teacher["weights_sha256"]:
        raise InputError(
            f"{output}: by other weights called {teacher['name']} ({have[:12]}, these are "
            f"{teacher['weights_sha256'][:12]}); declare another name for these "
            "(docs/TEACHERS.md), or remove that store"
        )


if __name__ == "__main__":
    from pipeline.embed import main as command  # workers know the job by this module's name

    run_command(command)
