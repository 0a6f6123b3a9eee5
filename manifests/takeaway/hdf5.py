"""One HDF5 file of plain data sets that vouches for itself.

The data set `contents`, a JSON text, names every other one with its type and shape. The last
line of the file, which HDF5 passes over, has the sha256 of all bytes before it: a damaged file
is known as such before HDF5 sees it. The format is HDF5 1.10; data sets are chunked, with
Fletcher checksums, and nothing in the file depends on time or machine.

Data sets are not compressed: so no more is ever read than the file has bytes, whatever a
stranger declares, and it is written five times as fast (`zstd FILE.h5` saves some 30 %).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from manifests.core.bounds import Count
from manifests.core.digests import canonical_json, sha256_file
from manifests.core.errors import InputError
from manifests.core.progress import Bar
from manifests.stores.latents import Recipe

SCHEMA = "facestill-takeaway-1"
CONTENTS = "contents"
FORMAT = ("v110", "v110")  # read by HDF5 1.10 of 2016 and everything since
LAST_LINE = "\nsha256 of what is above: {}\n"
CHUNK_BYTES = 1 << 20  # the chunk cache of every reader holds one
BLOCK_BYTES = 1 << 24  # in memory at a time
LARGEST_TEXT = 1 << 26  # bytes: the ledger of 100 million faces
MOST_DIMENSIONS = 4
DTYPE = re.compile(r"\|[biu]1|<[iuf][248]|\|S[1-9][0-9]{0,7}")
TEACHER = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
NAME = re.compile(
    rf"((manifest|valid|(papers/)?(faces|teachers/{TEACHER}))/)[a-z][a-z0-9_]{{0,99}}"
)


@dataclass(frozen=True)
class Form:
    """Type, as NumPy writes it, and shape of a data set."""

    dtype: str
    shape: tuple[Count, ...]

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * np.dtype(self.dtype).itemsize

    @property
    def num_bytes(self) -> int:
        return self.shape[0] * self.row_bytes

    @property
    def chunk_rows(self) -> int:
        return max(1, min(self.shape[0], CHUNK_BYTES // max(1, self.row_bytes)))

    @property
    def block_rows(self) -> int:
        """Rows to have in memory at a time: whole chunks."""
        chunk = self.chunk_rows
        return chunk * max(1, BLOCK_BYTES // max(1, chunk * self.row_bytes))


@dataclass(frozen=True)
class Contents:
    """What a file holds. `task_rows`: {store: rows of one of its shards}."""

    schema: str
    recipe: Recipe
    manifest_digest: str
    task_rows: Mapping[str, Count]
    datasets: Mapping[str, Form]


@dataclass(frozen=True)
class Part:
    """A data set before it is written: the blocks have its rows, one after the other."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    blocks: Iterable[np.ndarray]

    @property
    def form(self) -> Form:
        return Form(self.dtype.str, self.shape)


def array_part(name: str, rows: np.ndarray) -> Part:
    return Part(name, rows.dtype, rows.shape, [rows])


def text_part(name: str, text: str) -> Part:
    """A text as a data set of one fixed-length string, which has a checksum as others do."""
    data = text.encode()
    if not 0 < len(data) <= LARGEST_TEXT:
        raise InputError(f"{name}: a text of {len(data)} bytes, at most {LARGEST_TEXT} are carried")
    return array_part(name, np.array([data], f"S{len(data)}"))


def write_file(
    path: Path, parts: Sequence[Part], recipe: Recipe, digest: str, task_rows: Mapping[str, int]
) -> None:
    """Writes contents, parts and the last line; `path` is made anew.

    Raises InputError for a name or type that `open_file` would refuse.
    """
    forms = {part.name: part.form for part in parts}
    for name, form in forms.items():
        if not fits(name, form):
            raise InputError(f"{name}: an array of {form.dtype}, which is no name or type of ours")
    contents = Contents(SCHEMA, recipe, digest, dict(task_rows), forms)
    parts = [text_part(CONTENTS, canonical_json(asdict(contents))), *parts]
    size = sum(part.form.num_bytes for part in parts)
    with (
        h5py.File(path, "w", libver=FORMAT) as file,
        Bar(total=size, unit="B", unit_scale=True, desc="pack") as bar,
    ):
        for part in parts:
            _write(file, part, bar)
    line = LAST_LINE.format(sha256_file(path))
    with path.open("a", encoding="utf-8") as opened:
        opened.write(line)


def fits(name: str, form: Form) -> bool:
    """Whether this may stand in the contents: such a name cannot lead out of its folder."""
    known = NAME.fullmatch(name) and DTYPE.fullmatch(form.dtype)
    return bool(known) and 0 < len(form.shape) <= MOST_DIMENSIONS


def _write(file: h5py.File, part: Part, bar: Bar) -> None:
    text = part.dtype.kind == "S"
    dtype = h5py.string_dtype("utf-8", part.dtype.itemsize) if text else part.dtype
    kept: dict[str, Any] = {"track_times": False}
    if 0 not in part.shape:  # HDF5 has no chunks, and no checksums of them, where there is no byte
        kept |= {"chunks": (part.form.chunk_rows, *part.shape[1:]), "fletcher32": True}
    dataset = file.create_dataset(part.name, part.shape, dtype, **kept)
    at = 0
    for rows in part.blocks:
        block = np.ascontiguousarray(rows, part.dtype)
        dataset[at : at + len(block)] = block.view(dtype)  # which says that texts are UTF-8
        at += len(block)
        bar.update(block.nbytes)
    assert at == part.shape[0]
