"""Writing whole files or none: data to a temporary name, fsync, rename."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from manifests.core.errors import InputError
from manifests.core.layout import maker_of

DEEPEST = 32  # levels of a stranger's JSON


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; on success it takes `path`'s place, else it goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name that no other writer has, on this machine or another one.
    scratch = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with naming(path):
            yield scratch
            with scratch.open("rb") as file:
                os.fsync(file.fileno())
            scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError out of the block names this file; the one of a full disk names none."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def put(path: Path, data: bytes) -> str:
    """Writes a whole file durably; returns its sha256."""
    with replacing(path) as scratch:
        scratch.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def put_tensors(path: Path, data: bytes) -> None:
    """Writes a safetensors file whose bytes follow from its tensors and metadata alone: the
    library gives several keys of metadata another order every time."""
    size = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:size])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
    put(path, len(text).to_bytes(8, "little") + text + data[size:])


def write_text(path: Path, text: str) -> None:
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Indented JSON with sorted keys; NaN and infinities are refused (they are not JSON)."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def parse_json(raw: bytes) -> Any:
    """JSON that may be a stranger's. Raises ValueError also for what is nested more deeply than
    the functions that go through it could follow."""
    try:
        value = json.loads(raw.decode("utf-8-sig"))  # an editor may have put its mark before it
    except RecursionError:
        raise ValueError("nested too deeply") from None
    level = [value]
    for _ in range(DEEPEST):
        level = [item for each in level for item in _items(each)]
    if level:
        raise ValueError(f"nested deeper than {DEEPEST}")
    return value


def read_foreign_json(path: Path, most: int, remedy: str = "") -> Any:
    """What a stranger's file of at most `most` bytes holds. Raises InputError, with what to do
    behind it, for a larger one and for what is not JSON."""
    end = f"; {remedy}" if remedy else ""
    if path.stat().st_size > most:
        raise InputError(f"{path}: larger than {most} bytes{end}")
    try:
        return parse_json(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}){end}") from None


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run {maker_of(path)} first") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); remove it and make it again") from None


def deliver(finished: Path, output: Path) -> None:
    """Hard-links a finished folder of .work/STAGE/HASH (or one inside it) to `output`, whole
    or not at all; what stood there goes, whole or not at all too."""
    require_writable(output)
    scratch, former = (output.with_name(f".{output.name}.{end}.tmp") for end in ("new", "former"))
    for stray in output.parent.glob(f".{output.name}.*.tmp"):  # of a killed process
        _remove(stray)
    scratch.mkdir(parents=True)
    for path in sorted(finished.rglob("*")):
        if path.is_file() and not path.match(".*.tmp"):  # of a worker whose command was killed
            target = scratch / path.relative_to(finished)
            target.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(path, target)
    if os.path.lexists(output):
        output.rename(former)
    scratch.rename(output)
    if os.path.lexists(former):
        _remove(former)


def require_writable(output: Path) -> None:
    """Raises InputError if nothing could take the place of `output`: better before the work."""
    parents = [folder for folder in output.parents if folder.exists()]
    for place in [output, *parents[:1]]:
        if place.exists() and not os.access(place, os.W_OK):
            raise InputError(f"{place}: may not be written; chmod -R u+w it, or remove it")


def require_file_place(path: Path) -> None:
    """Raises InputError if no file could be put at `path`: better before the work."""
    other = path.exists() and not path.is_file()  # a folder; /dev/null would become a file
    if other or not next(place for place in path.parents if place.exists()).is_dir():
        raise InputError(f"{path}: no file can be there; name another place")
    require_writable(path)


def require_new(output: Path, *, force: bool) -> None:
    """Raises InputError where something lies already that nobody said may be replaced: better
    before the work."""
    empty = output.is_dir() and not any(output.iterdir())
    if os.path.lexists(output) and not (force or empty):
        raise InputError(f"{output}: is there already; name another place, or replace it: --force")


def _remove(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path)


def forget_others(work: Path) -> None:
    """Lets go of the other builds of a stage, the folders beside `work`."""
    for other in work.parent.iterdir():
        if other != work:
            shutil.rmtree(other, ignore_errors=True)  # a cluster may still be at it


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link, or a copy where another file system begins."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
