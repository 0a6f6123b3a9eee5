"""A student's files for one client, which `facestill export RUN --for CLIENT` makes: the record,
client.json, in a folder of the export that is called after the client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from manifests.core.bounds import Count, PositiveInt, Real
from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from manifests.core.files import read_foreign_json, write_json
from manifests.core.parsing import parse

RECORD, README = "client.json", "README.md"
SCHEMA_VERSION = 1
LARGEST = 1 << 20  # bytes of a record


@dataclass(frozen=True)
class Agreement:
    """Cosines of a file's embeddings to the student's own, faces by faces."""

    measured_by: str  # the client itself or onnxruntime, fed as the client feeds it
    faces: str  # which
    num_faces: PositiveInt
    cosine_mean: Real
    cosine_least: Real


@dataclass(frozen=True)
class ClientFile:
    sha256: str
    num_bytes: Count
    agreement: Agreement


@dataclass(frozen=True)
class ClientRecord:
    client: str
    run: str
    student_sha256: str  # of the weights, as in export.json
    frame: str  # where the face sits
    size: PositiveInt  # pixels of a side
    colours: str
    layout: str  # nchw or nhwc
    normalisation: str  # of pixels in 0...255, done by the client
    batch: str  # how many faces at a time: any, or 1
    embedding_width: PositiveInt
    metric: str
    views: str  # that the output holds
    licence: str
    real_faces: str
    files: Mapping[str, ClientFile]
    versions: Mapping[str, str]
    schema_version: Count = SCHEMA_VERSION

    def write(self, folder: Path) -> None:
        write_json(folder / RECORD, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> ClientRecord:
        """The record of a folder whose files are those that it names.

        Raises InputError for a folder without one, for one that does not parse, and for files
        that were changed since.
        """
        path = folder / RECORD
        if not path.is_file():
            raise InputError(f"{path}: no such file; make it with `facestill export RUN --for …`")
        values = read_foreign_json(path, LARGEST, "export the run again")
        version = values.get("schema_version") if isinstance(values, dict) else None
        if version != SCHEMA_VERSION:
            raise InputError(
                f"{path}: schema version {str(version)[:20]}, this code reads {SCHEMA_VERSION}; "
                "export the run again"
            )
        record: ClientRecord = parse(cls, values, str(path))
        for name, file in record.files.items():
            own = folder / name
            if own.parent != folder or not own.is_file() or sha256_file(own) != file.sha256:
                raise InputError(f"{own}: not the file that {RECORD} names; export the run again")
        return record
