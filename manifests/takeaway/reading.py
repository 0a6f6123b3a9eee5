"""Opening an HDF5 file that may be a stranger's: what it declares is checked before it is used.

Links, virtual and external storage, filters and types that we do not write are refused.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from manifests.core.errors import InputError
from manifests.core.files import parse_json
from manifests.core.parsing import parse
from manifests.core.progress import Bar
from manifests.takeaway.hdf5 import (
    BLOCK_BYTES,
    CHUNK_BYTES,
    CONTENTS,
    LARGEST_TEXT,
    LAST_LINE,
    SCHEMA,
    Contents,
    Form,
    fits,
)

SHOWN = 5  # files that a message names
CHECKSUM = 4  # bytes, of Fletcher's at the end of a chunk


@dataclass(frozen=True)
class Reader:
    """An open file whose bytes and form were checked."""

    contents: Contents
    datasets: Mapping[str, h5py.Dataset]
    bar: Bar

    def rows(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start..stop, by default all."""
        with _reading():
            rows = np.asarray(self.datasets[name][start:stop])
            if rows.dtype == bool and rows.view(np.uint8).max(initial=0) > 1:
                raise ValueError(f"{name} holds what is neither true nor false")
        self.bar.update(rows.nbytes)
        return rows

    def text(self, name: str) -> str:
        """The text that is the only row of a data set."""
        with _reading():
            (data,) = self.rows(name).tolist()
            return data.decode()


@contextmanager
def open_file(path: Path) -> Iterator[Reader]:
    """Opens a file that `write_file` made. An InputError that is raised while it is open gets its
    name, and advice if it has none.

    Raises InputError unless all bytes are those that were written, and it holds exactly the data
    sets that its contents name, in the form that we write.
    """
    _require_file(path)
    try:
        _check_last_line(path)
        with _reading():
            file = h5py.File(path, "r", rdcc_nbytes=4 * CHUNK_BYTES)
        with file:
            with _reading():
                contents, found = _read_form(file, path.stat().st_size)
            size = sum(form.num_bytes for form in contents.datasets.values())
            with Bar(total=size, unit="B", unit_scale=True, desc="unpack") as bar:
                yield Reader(contents, found, bar)
    except InputError as error:
        text = "".join(letter if letter.isprintable() else "?" for letter in str(error))
        advice = "" if "; " in text else "; copy the file again, or have it packed again"
        raise InputError(f"{path}: {text}{advice}") from None


def _require_file(path: Path) -> None:
    """Raises InputError for what is no file, and says what can be done with a folder."""
    if path.is_dir():
        files = ", ".join(map(str, sorted(path.glob("*.h5"))[:SHOWN]))
        raise InputError(
            f"{path}: a folder, expected a file of `facestill pack`; "
            + (f"name {files}" if files else "of the kinds only hdf5 becomes a round again")
        )
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; make one with `facestill pack ROUND --out {path.name}`"
        )


def _check_last_line(path: Path) -> None:
    length = len(LAST_LINE.format("0" * 64))
    left, digest = max(0, path.stat().st_size - length), hashlib.sha256()
    with path.open("rb") as file:
        while left and (block := file.read(min(left, BLOCK_BYTES))):
            digest.update(block)
            left -= len(block)
        if file.read() != LAST_LINE.format(digest.hexdigest()).encode():
            raise InputError("no take-away, or not all bytes are as they were written")


def _read_form(file: h5py.File, num_bytes: int) -> tuple[Contents, dict[str, h5py.Dataset]]:
    """The contents, and the data sets that they name, each in the declared form."""
    contents = _read_contents(file)
    size = sum(form.num_bytes for form in contents.datasets.values())
    if size > num_bytes:
        raise ValueError(f"it declares {size} bytes and has {num_bytes}")
    found = dict(_find(file, [CONTENTS, *contents.datasets]))
    for name, form in contents.datasets.items():
        _check_dataset(name, found[name], form)
    return contents, found


def _read_contents(file: h5py.File) -> Contents:
    ((_, dataset),) = _find(file, [CONTENTS], alone=False)
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.itemsize > LARGEST_TEXT:
        raise ValueError("its contents are no text of a bearable length")
    _check_dataset(CONTENTS, dataset, Form(f"|S{dataset.dtype.itemsize}", (1,)))
    values = parse_json(bytes(dataset[0]))
    schema = values["schema"]
    if schema != SCHEMA:
        raise InputError(
            f"of schema {str(schema)[:40]!r}, this code reads {SCHEMA}; have it packed anew, or "
            "update Facestill"
        )
    contents: Contents = parse(Contents, values, CONTENTS)
    for name, form in contents.datasets.items():
        if not fits(name, form):
            raise ValueError(f"a data set {name[:80]!r} of {form.dtype[:20]!r}")
    return contents


def _find(
    group: h5py.Group, names: Sequence[str], *, alone: bool = True, path: str = ""
) -> Iterator[tuple[str, Any]]:
    """(name, what is there) for names below a group, which holds nothing else if `alone`.

    Only what is named is looked up, so that no tangle of links can be walked into.
    """
    inside: dict[str, list[str]] = {}
    for name in names:
        first, _, rest = name.partition("/")
        inside.setdefault(first, []).append(rest)
    if alone and len(group) != len(inside):
        raise ValueError(f"/{path} has {len(group)} members, its contents name {len(inside)}")
    for first, rests in inside.items():
        if type(group.get(first, getlink=True)) is not h5py.HardLink:
            raise ValueError(f"{path}{first} is missing, or a link that may lead elsewhere")
        if rests == [""]:
            yield path + first, group[first]
        elif isinstance(group[first], h5py.Group):
            yield from _find(group[first], rests, path=f"{path}{first}/")
        else:
            raise ValueError(f"{path}{first} is no group")


def _check_dataset(name: str, found: Any, form: Form) -> None:
    """Of the declared form, chunked as we do it, and with its bytes in this file."""
    if not isinstance(found, h5py.Dataset):
        raise ValueError(f"{name} is no data set")
    if (found.shape, found.dtype) != (form.shape, np.dtype(form.dtype)):
        raise ValueError(f"{name} is {found.dtype} {found.shape}, its contents say {form}")
    settings = found.id.get_create_plist()
    filters = [settings.get_filter(at)[0] for at in range(settings.get_nfilters())]
    if 0 in form.shape:
        wanted: tuple[Any, ...] = (h5py.h5d.CONTIGUOUS, None, [])
    else:
        chunks = (form.chunk_rows, *form.shape[1:])
        wanted = (h5py.h5d.CHUNKED, chunks, [h5py.h5z.FILTER_FLETCHER32])
    if (settings.get_layout(), found.chunks, filters) != wanted or settings.get_external_count():
        raise ValueError(f"{name} is not laid out as we do it (layout, chunks, filters)")
    if filters:
        _check_chunks(name, found, form)


def _check_chunks(name: str, found: h5py.Dataset, form: Form) -> None:
    """Every chunk is stored, whole and with its checksum: HDF5 takes what a shorter one lacks
    from whatever lies behind it in memory."""
    kinds: Counter[tuple[int, int]] = Counter()
    found.id.chunk_iter(lambda chunk: kinds.update([(chunk.filter_mask, chunk.size)]))
    whole = (0, form.chunk_rows * form.row_bytes + CHECKSUM)
    if kinds != {whole: -(-form.shape[0] // form.chunk_rows)}:
        raise ValueError(f"{name} has chunks that are missing, of other sizes or unchecked")


@contextmanager
def _reading() -> Iterator[None]:
    """Whatever a damaged or hostile file makes h5py raise becomes one line."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise InputError(f"no whole take-away ({str(error)[:300]})") from None
    except (MemoryError, OverflowError) as error:
        raise InputError(f"it declares more than it can hold ({error})") from None
