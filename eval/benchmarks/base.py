"""What a benchmark source promises: a file here with `open_protocol(argument) -> Protocol`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from manifests.benchmarks import Benchmark


@dataclass(frozen=True)
class Protocol:
    """A frozen benchmark with the folder that its images lie in."""

    benchmark: Benchmark
    folder: Path
    all_pairs: bool  # small enough, and labelled by folder, to compare every image with every other


def subject_of(name: str) -> str:
    """The person of an image: the folder it lies in."""
    return Path(name).parent.as_posix()
