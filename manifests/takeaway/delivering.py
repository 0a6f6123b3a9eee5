"""Taking a round away as one of the kinds: part by part, each read back before it counts.

All is made below .work, under a name that follows from what was asked for: a finished part of
the same request is kept, if its files still have their digests, and the whole is put in place at
once. Two take-aways of one request have the same bytes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from manifests.core import layout
from manifests.core.digests import canonical_json, sha256_file, sha256_text, table_digest
from manifests.core.errors import InputError, pick
from manifests.core.files import deliver, require_writable, write_json
from manifests.core.locks import only_writer
from manifests.core.progress import Bar
from manifests.takeaway.beside import stranger_in, told, write_beside
from manifests.takeaway.blocks import Block, Part, blocks, known, plan_parts
from manifests.takeaway.choosing import Chosen, choose
from manifests.takeaway.kinds.contract import Kind, Place
from manifests.takeaway.kinds.folder import Folder
from manifests.takeaway.kinds.parquet import Parquet
from manifests.takeaway.kinds.rec import Rec
from manifests.takeaway.kinds.webdataset import WebDataset
from manifests.takeaway.pictures import ENCODER

KINDS: Mapping[str, Kind] = {
    "parquet": Parquet(),
    "webdataset": WebDataset(),
    "folder": Folder(),
    "rec": Rec(),
}
VERSION = 1  # raised when the same request would give other bytes


@dataclass(frozen=True)
class Packed:
    """What was taken away."""

    num_rows: int
    num_source_rows: int
    teachers: Sequence[str]
    nobody: str  # how many have no identity, and what became of them; "" where it does not matter
    num_files: int
    num_bytes: int
    following: str  # what to do next
    left_out: Sequence[Path]  # embeddings of other faces

    def __str__(self) -> str:
        teachers = ", ".join(self.teachers) or "none"
        return (
            f"{self.num_rows} of {self.num_source_rows} rows{self.nobody}; teachers: {teachers}; "
            f"{self.num_files} files, {self.num_bytes / 1e6:,.1f} MB"
        )


def pack_round(
    name: str,
    out: Path,
    kind_name: str,
    *,
    selection: str | None = None,
    teachers: Sequence[str] | None = None,
) -> Packed:
    """Puts rows of round `name` into the folder `out`, which is replaced whole or not touched.
    `selection` None: what the kind is usually for; `teachers` None: all of these faces.

    Raises InputError if a link of the round's chain is missing or does not fit, or if the kind
    cannot hold what was chosen.
    """
    kind = pick("kind", kind_name, KINDS)
    _require_place(out)
    asked = choose(name, kind.layout.rows if selection is None else selection, teachers)
    if not len(asked):
        raise InputError(f"round {name}: the rows chosen are none; see --rows")
    told_of = known(asked)
    chosen, table = kind.arrange(asked, told_of)
    work = layout.WORK / "pack" / _request(kind_name, chosen, table)
    with only_writer(work, of=out):
        place = Place(work / "finished", work / "scratch", int(chosen.faces.frame["size"]))
        _make(kind, chosen, table, place)
        files = write_beside(kind_name, kind, chosen, table, len(asked), place)
        deliver(place.finished, out)
        shutil.rmtree(work)
    return _summary(kind, chosen, told_of["identity_id"].null_count, out, files)


def _summary(
    kind: Kind, chosen: Chosen, num_nobody: int, out: Path, files: Sequence[str]
) -> Packed:
    words = kind.layout.nobody
    return Packed(
        num_rows=len(chosen),
        num_source_rows=len(chosen.manifest),
        nobody=f", {num_nobody} without an identity {words}" if num_nobody and words else "",
        teachers=[*chosen.teachers],
        num_files=len(files),
        num_bytes=sum((out / file).stat().st_size for file in files),
        following=told(kind.layout.following, _spelled(out), len(chosen)),
        left_out=chosen.left_out,
    )


def _require_place(out: Path) -> None:
    """What lies at `out` would go: so it has to be an older take-away."""
    if not out.name:  # nothing takes the place of where one stands
        raise InputError(f"{out}: name a folder that pack is to make")
    if out.is_dir() and (stranger := stranger_in(out)):
        raise InputError(
            f"{out}: holds {stranger[:80]}, which pack did not make; move it away, or name another "
            "folder"
        )
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: a file, expected the name of a folder to write")
    require_writable(out)


def _spelled(out: Path) -> str:
    """As a folder: `datasets` takes parquet for the name of a format, ./parquet for one of ours."""
    return str(out) if out.is_absolute() else f"./{out}"


def _request(kind: str, chosen: Chosen, table: pa.Table) -> str:
    """A name that two requests share only if their bytes would be the same."""
    asked = {
        "version": VERSION,
        "kind": kind,
        "faces": chosen.faces.root,
        "manifest": chosen.manifest.digest,
        "teachers": {name: store.root for name, store in chosen.teachers.items()},
        "known": table_digest(table, {}),  # which rows they are, and their marks
        "encoder": ENCODER,
        "arrow": pa.__version__,
    }
    return sha256_text(canonical_json(asked))[:16]


def _make(kind: Kind, chosen: Chosen, table: pa.Table, place: Place) -> None:
    parts = plan_parts(len(chosen))
    place.scratch.mkdir(parents=True, exist_ok=True)
    for stray in place.finished.rglob(".*.tmp"):  # of a killed process
        stray.unlink()
    with Bar(total=len(chosen), unit="face", desc="pack") as bar:
        for part in parts:
            if not _is_there(part, place):
                _make_part(kind, part, blocks(chosen, table, part), place)
            bar.update(len(part))
    kind.finish(parts, table, place)


def _make_part(kind: Kind, part: Part, faces: Iterable[Block], place: Place) -> None:
    """Raises InputError for a part that is not read back as it was written."""
    told: list[str] = []
    schemas: list[pa.Schema] = []
    files = kind.write(part, _noted(faces, told, schemas), place)
    read = [block.digest for block in kind.read(part, schemas[0], place)]
    if read != told:
        raise InputError(
            f"{files[0]}: part {part.number} is read back otherwise than it was written; look "
            "after the disk and run it again, what is finished is kept"
        )
    root = place.finished.parent
    digests = {path.relative_to(root).as_posix(): sha256_file(path) for path in files}
    write_json(_record(part, place), digests)


def _noted(faces: Iterable[Block], digests: list[str], schemas: list[pa.Schema]) -> Iterator[Block]:
    for block in faces:
        digests.append(block.digest)
        schemas.append(block.table.schema)
        yield block


def _record(part: Part, place: Place) -> Path:
    """Written when a part counts."""
    return place.scratch / f"part-{part.number:05d}.json"


def _is_there(part: Part, place: Place) -> bool:
    """Whether a part was finished, and still has the bytes that it had then."""
    try:
        digests = json.loads(_record(part, place).read_text(encoding="utf-8"))
        root = place.finished.parent
        return all(sha256_file(root / name) == digest for name, digest in digests.items())
    except (OSError, ValueError, AttributeError):
        return False
