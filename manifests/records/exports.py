"""An exported student: the folder that `facestill export` makes, and its record, export.json.

The record is a function of the run, the stores and the machine kind: it holds no time. What a
face costs on the machine of the export is latency.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from manifests.core.bounds import Count, NotNegative, Positive, PositiveInt, Real
from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from manifests.core.files import read_foreign_json, write_json
from manifests.core.parsing import parse
from manifests.core.students import in_todays_words

RECORD, LATENCY = "export.json", "latency.json"
WEIGHTS, FLOAT, INT8 = "student.safetensors", "student.onnx", "student.int8.onnx"
SCHEMA_VERSION = 1
LARGEST = 1 << 22  # bytes of a record


@dataclass(frozen=True)
class StudentFacts:
    """The student's card, and how large it is."""

    name: str
    input_size: PositiveInt
    width: Positive
    embedding_width: PositiveInt
    frame: str
    metric: str
    views: str
    params_sha256: str
    git_commit: str
    faces_seen: Count
    sha256: str  # of the weights, as in the results of `facestill verify`
    num_params: Count
    macs: Count | None  # multiply-accumulates of one view; None where torch does not see them
    projected_from: PositiveInt | None = (
        None  # width of its own embedding, where a projection follows
    )
    training: str = "distilled from a teacher"  # in words; real faces are named in them
    aligner: str = ""  # names of those that found the faces trained on; "" where none had to
    real_faces: str = ""  # what is stated of people on photographs it was trained on, a line each


@dataclass(frozen=True)
class Landmark:
    """Where a point of an aligned face lies; the centre of the first pixel is at (0.5, 0.5)."""

    name: str
    x: Real  # pixels, to the right
    y: Real  # downwards


@dataclass(frozen=True)
class Template:
    """How a picture is aligned to the student's frame: its landmarks there."""

    size: PositiveInt  # pixels of the frame's side
    five: tuple[Landmark, ...]  # that aligners give
    eyes: tuple[Landmark, ...]  # two centres, for landmarks of another kind


@dataclass(frozen=True)
class Training:
    """What the run's log says."""

    rounds: tuple[str, ...]
    num_faces: Count
    after: str | None
    train_seconds: NotNegative  # of this run, without those before it
    torch: str
    recipe: Mapping[str, str]  # {dotted name: value} of params.yaml: train


@dataclass(frozen=True)
class StoreFacts:
    """A store that the student was trained on; the rest is None where it is not at hand."""

    path: str
    root: str  # Merkle root, as the student names it; of marks, their digest
    made_by: str | None = None  # the generator's name, or the teacher's
    weights_sha256: str | None = None  # of that
    num_rows: Count | None = None
    num_ok: Count | None = None
    num_imported: Count | None = None  # faces that no generator of ours is known to have made
    licences: Mapping[str, str] | None = None
    # what is stated of the people on the faces, or of those whom the teacher was trained on here
    real_faces: str | None = None


@dataclass(frozen=True)
class FileFacts:
    sha256: str
    num_bytes: Count


@dataclass(frozen=True)
class Parity:
    """The largest difference of an embedding's value between onnxruntime and torch."""

    largest: Mapping[
        str, NotNegative
    ]  # {"1 x 64 x 64": difference}, in shares of the largest value
    tolerance: NotNegative


@dataclass(frozen=True)
class Int8Cost:
    """Cosine between the embeddings of the 8-bit and the float network, plain and mirrored."""

    method: str  # static or dynamic
    calibrated_on: Mapping[str, Count]  # {path of a face store: faces}; empty for dynamic
    measured_on: str  # path of the face store
    faces_root: str
    num_faces: Count
    cosine_mean: Real
    cosine_p01: Real
    cosine_least: Real


@dataclass(frozen=True)
class Export:
    run: str
    pixels: str  # type of the graph's input: float32 or uint8, 0...255 either way
    opset: PositiveInt
    student: StudentFacts
    training: Training
    stores: tuple[StoreFacts, ...]
    files: Mapping[str, FileFacts]
    parity: Parity
    int8: Int8Cost | None
    versions: Mapping[str, str]
    template: Template | None = None  # exports of before do not say
    schema_version: Count = SCHEMA_VERSION

    @property
    def names(self) -> list[str]:
        """Of its files, the largest first."""
        return [name for name in (WEIGHTS, FLOAT, INT8) if name in self.files]

    def write(self, folder: Path) -> None:
        write_json(folder / RECORD, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Export:
        """The record of an export, whose files are those that it names.

        Raises InputError for a folder without one, for one that does not parse, and for files
        that were changed since.
        """
        path = folder / RECORD
        export = _parse(path)
        for name, facts in export.files.items():
            _check_file(folder, name, facts)
        return export


def _parse(path: Path) -> Export:
    if not path.is_file():
        raise InputError(f"{path}: no such file; make it with `facestill export RUN`")
    values = read_foreign_json(path, LARGEST, "export the run again")
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{path}: schema version {str(version)[:20]}, this code reads {SCHEMA_VERSION}; export "
            "the run again"
        )
    if isinstance(values.get("student"), dict):
        values["student"] = in_todays_words(values["student"])
    export: Export = parse(Export, values, str(path))
    return export


def _check_file(folder: Path, name: str, facts: FileFacts) -> None:
    if name not in (WEIGHTS, FLOAT, INT8):
        raise InputError(f"{folder / RECORD}: names a file {name[:80]!r}; export the run again")
    path = folder / name
    if not path.is_file() or sha256_file(path) != facts.sha256:
        raise InputError(f"{path}: not the file that {RECORD} names; export the run again")
