"""Writing whole files or none: data to a temporary name, fsync, rename."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from manifests.errors import InputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; on success it takes `path`'s place, else it goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name that no other writer has, on this machine or another one.
    scratch = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield scratch
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def put(path: Path, data: bytes) -> str:
    """Writes a whole file durably; returns its sha256."""
    with replacing(path) as scratch:
        scratch.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def write_text(path: Path, text: str) -> None:
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Indented JSON with sorted keys; NaN and infinities are refused (they are not JSON)."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the stage that makes it first") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); remove it and make it again") from None


def deliver(finished: Path, output: Path) -> None:
    """Hard-links a finished folder of .work/STAGE/HASH (or one inside it) to `output`, whole
    or not at all; what stood there goes."""
    scratch = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    for stray in output.parent.glob(f".{output.name}.*.tmp"):  # of a killed process
        shutil.rmtree(stray)
    scratch.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(finished, scratch, copy_function=link_or_copy)
    shutil.rmtree(output, ignore_errors=True)
    scratch.replace(output)


def forget_others(work: Path) -> None:
    """Lets go of the other builds of a stage, the folders beside `work`."""
    for other in work.parent.iterdir():
        if other != work:
            shutil.rmtree(other)


def link_or_copy(source: str, target: str) -> None:
    """A hard link, or a copy where another file system begins."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
