"""Commands run aside, and what they cost: seconds, and the most memory that they ever held."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path

from manifests.core import layout
from manifests.settings.params import PATH as PARAMS
from pipeline.weights import CACHE, FILES, gather

ROOT = Path(__file__).resolve().parents[1]
INTERVAL = 0.05  # seconds; the kernel keeps a peak, so that only the last interval's is missed


@dataclass(frozen=True)
class Cost:
    """Peaks are of resident sets, mapped files included."""

    seconds: float
    peak_mb: int  # of the process itself
    worker_peak_mb: int  # of the largest process that it started; 0 if there was none
    output: str


@contextmanager
def workplace() -> Iterator[None]:
    """A temporary current folder, with parameters and weights where stages look for them."""
    with chdir(ROOT):
        gather(FILES, CACHE, layout.WEIGHTS)
    with tempfile.TemporaryDirectory() as scratch, chdir(scratch):
        PARAMS.write_text((ROOT / PARAMS).read_text())
        layout.DATA.mkdir()
        os.symlink(ROOT / layout.WEIGHTS, layout.WEIGHTS)
        yield


def python(module: str, *arguments: str) -> Cost:
    """Runs a module as a command, to its end. Raises RuntimeError with its messages if it fails.

    Each process is asked for its own peak: the `ru_maxrss` of a child starts at what its parent
    held when it was started, and so says nothing below that.
    """
    command = [sys.executable, "-m", module, *arguments]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as messages:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=output, stderr=messages, env=env, start_new_session=True
        )
        own, workers = _peaks(process)
        seconds = time.perf_counter() - start
        if process.returncode:
            messages.seek(0)
            raise RuntimeError(f"{' '.join(command)}: {messages.read()[-2000:]}")
        output.seek(0)
        return Cost(seconds, own >> 10, workers >> 10, output.read())


def _peaks(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Waits for a process; returns its peak and its largest worker's, in KiB."""
    peaks: dict[int, int] = {}
    try:
        while process.poll() is None:
            for pid in _session(process.pid):
                peaks[pid] = max(peaks.get(pid, 0), _peak(pid))
            time.sleep(INTERVAL)
    finally:
        process.kill()  # if we were interrupted; its workers end with it
        process.wait()
    own = peaks.pop(process.pid, 0)
    return own, max(peaks.values(), default=0)


def _session(leader: int) -> list[int]:
    """The processes that a command started, itself among them: those of its session."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    fields = {pid: _read(pid, "stat").rpartition(")")[2].split() for pid in pids}
    return [pid for pid, found in fields.items() if found[3:4] == [str(leader)]]


def _peak(pid: int) -> int:
    lines = _read(pid, "status").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def _read(pid: int, file: str) -> str:
    try:
        return Path(f"/proc/{pid}/{file}").read_text()
    except OSError:
        return ""  # it has just ended
