"""A line now and then of long work that shows no bar: what runs, how long it has, how long it took
before."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakSet

SILENT = "TQDM_DISABLE"  # tqdm's own: worker processes inherit it
FIRST, LONGEST = 2.0, 60.0  # seconds between two lines: twice as long after each
BARS: WeakSet[object] = WeakSet()  # those shown: they say how far the work is
_running: list[object] = []  # blocks within one another: the innermost speaks


@contextmanager
def pulse(what: str, expected: float = 0.0) -> Iterator[None]:
    """Speaks of the block on standard error from its second second on, whole lines, ever fewer.
    `expected`: the seconds that it took before; 0: not known."""
    over, me, start = threading.Event(), object(), time.monotonic()

    def speak() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # it is for the main thread
        pause = FIRST
        while not over.wait(pause):
            pause = min(LONGEST, 2 * pause)
            if _running[-1:] == [me] and not BARS and _may_speak():
                print(in_words(what, time.monotonic() - start, expected), file=sys.stderr)

    _running.append(me)
    speaker = threading.Thread(target=speak, name=f"pulse of {what}", daemon=True)
    speaker.start()
    try:
        yield
    finally:
        over.set()
        speaker.join()
        _running.remove(me)


def _may_speak() -> bool:
    """Of several processes of one command (torchrun) the first speaks for all."""
    wanted = not os.environ.get(SILENT) and os.environ.get("RANK", "0") == "0"
    return wanted and sys.stderr is not None  # None: closed, and print would take standard output


def in_words(what: str, gone: float, expected: float) -> str:
    before = f", {_clock(expected)} in all the last time" if expected else ""
    return f"{what}: {_clock(gone)} gone{before}"


def _clock(seconds: float) -> str:
    """As the bars write it."""
    hours, rest = divmod(round(seconds), 3600)
    return (f"{hours}:" if hours else "") + f"{rest // 60:02}:{rest % 60:02}"
