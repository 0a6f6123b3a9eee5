"""Whether a worker computes what this process will state of its work: before it is given any.

A worker may have been started before an edit, in another folder, with other libraries; or there
may be none. Whoever is unlike is named with what differs, and the work ends there.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.progress import Bar
from manifests.core.sources import Loaded, loaded
from manifests.stores.passport import Fingerprint

PATIENCE = 60.0  # seconds without a worker; a batch system may still be starting some
LOOK, TICK = 2.0, 0.02  # seconds between two looks at who is there, and at what is done
START = (
    "on every machine, from this folder, `python -m distributed.cli.dask_worker ADDRESS "
    "--nthreads 1`"
)
GONE = "the cluster went away; start one and run it again, finished shards are kept"


@dataclass(frozen=True)
class Here:
    """What is true of the process that hands out work, and must be of each that does it."""

    loaded: Loaded
    place: Path  # a file, by its path from the folder that both stand in

    def unlike(self) -> str | None:
        """What differs where this is called, in words."""
        if not self.place.exists():
            return f"does not see the folder of this command: it stands in {Path.cwd()}"
        different = self.loaded.unlike(loaded())
        return different and f"has {different}"

    def require(self) -> None:
        """Raises InputError that names the worker in which it is called, if it is unlike."""
        from distributed import get_worker

        unlike = self.unlike()
        if unlike:
            raise InputError(_refusal(get_worker().address, unlike))


@contextmanager
def meeting_place() -> Iterator[Path]:
    """A file that only who stands in this folder can see."""
    layout.WORK.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=layout.WORK, prefix=".meeting-") as file:
        yield Path(os.path.relpath(file.name))


def meet(client: Any, here: Here) -> None:
    """Waits for the first worker and looks at all that are there.

    Raises InputError as `wait_for` does, and for a worker that is unlike.
    """
    wait_for(lambda: _num_workers(client) > 0, client)
    for address, found in _asked(client, here).items():
        if isinstance(found, Exception):
            why = "does not answer" if isinstance(found, OSError) else "cannot load this code"
            found = f"{why} ({' '.join(str(found).split())[:160]})"
        if found:
            raise InputError(_refusal(address, found))


def _asked(client: Any, here: Here) -> dict[str, Any]:
    """{address: what is unlike, or the error in its place} of all workers. As `client.run`, whose
    patience has no end."""
    try:
        return client.sync(client._run, here.unlike, on_error="return", callback_timeout=PATIENCE)
    except TimeoutError:
        there = client.scheduler_info(n_workers=-1)["workers"]
        silent = min(there, key=lambda address: there[address]["last_seen"])
        raise InputError(_refusal(silent, f"has not answered in {PATIENCE:g} s")) from None


def wait_for(ready: Callable[[], bool], client: Any) -> None:
    """Until it is ready. Raises InputError after PATIENCE without a worker."""
    looked, alone = time.monotonic(), None
    while not ready():
        time.sleep(TICK)
        now = time.monotonic()
        if now < looked + LOOK:
            continue
        looked = now
        if _num_workers(client):
            alone = None
        elif alone is None:
            alone = now
            Bar.write(f"no worker is there; waiting {PATIENCE:g} s for one", file=sys.stderr)
        elif now > alone + PATIENCE:
            raise InputError(
                f"no worker has come in {PATIENCE:g} s; start some: {START} "
                "(finished shards are kept)"
            )


def _num_workers(client: Any) -> int:
    try:
        return len(client.scheduler_info(n_workers=-1)["workers"])
    except OSError:
        raise InputError(GONE) from None


def require_made_by(wanted: str, have: Fingerprint) -> None:
    """Raises InputError if what is at hand is not what the process that plans the store states
    of it: other weights, or numerics that give other low bits. A store never mixes two."""
    first, second = json.loads(wanted), json.loads(have.text)
    for part in first:
        for name in {**first[part], **second[part]}:
            one, other = (each[part].get(name) for each in (first, second))
            if one != other:
                raise InputError(
                    f"worker {platform.node()} has {name} {other}, the store is being built with "
                    f"{one}; use workers of one kind and one lock file, and leave weights alone"
                )


def _refusal(address: str, unlike: str) -> str:
    return (
        f"worker {address} {unlike}; restart it from this folder, with "
        "the packages of one lock file"
    )
