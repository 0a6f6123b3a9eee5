"""One writer at a time: a lock that says who holds it and that a crash lets go by itself."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from manifests.core import layout
from manifests.core.digests import sha256_text
from manifests.core.errors import InputError
from manifests.core.files import write_json
from manifests.core.progress import Bar


def writing(output: Path) -> AbstractContextManager[None]:
    """`only_writer` of the file or folder that will lie at `output`, wherever that is; the lock
    is kept in .work, so that nothing strange comes to lie beside what is written."""
    place = layout.WORK / "writers" / f"{output.name}-{sha256_text(str(output.resolve()))[:12]}"
    return only_writer(place, of=output)


@contextmanager
def only_writer(folder: Path, *, of: Path | None = None) -> Iterator[None]:
    """Holds the lock beside `folder` for the block. The kernel frees it when its holder dies,
    however it dies; the note on the holder that is then found is a dead one's. `of`: what is
    named to the user in place of `folder`.

    Raises InputError naming the process that holds it.
    """
    named = of or folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock, note = (folder.with_name(f"{folder.name}.{end}") for end in ("lock", "holder.json"))
    try:
        held = FileLock(lock, timeout=0).acquire()
    except Timeout:
        raise InputError(
            f"{named}: being written by {_holder(note)}; wait for it, or stop it first"
        ) from None
    with held:
        for stray in note.parent.glob(f".{note.name}.*.tmp"):  # of a killed process
            stray.unlink(missing_ok=True)
        if note.exists():
            Bar.write(f"{named}: {_holder(note)} ended before it was done")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(note, {"pid": os.getpid(), "host": socket.gethostname(), "since": now})
        try:
            yield
        except InputError:  # a refusal, which was told
            note.unlink(missing_ok=True)  # .work may be removed at any time
            raise
        note.unlink(missing_ok=True)  # kept after an error: the next writer goes on from there


def _holder(note: Path) -> str:
    try:
        who = json.loads(note.read_text(encoding="utf-8"))
        return f"process {who['pid']} on {who['host']} since {who['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"  # between its lock and its note
