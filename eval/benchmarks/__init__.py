"""Benchmark sources, one file each, found by name."""

from __future__ import annotations

import sys

from eval.benchmarks.base import Protocol
from manifests.backends import find_backend


def open_benchmark(text: str) -> Protocol:
    """The protocol that `text` names: orl, or KIND:FOLDER. Its images are checked."""
    kind, _, argument = text.partition(":")
    source = find_backend(sys.modules[__name__], "benchmark", kind)
    protocol: Protocol = source.open_protocol(argument)
    protocol.benchmark.check_images(protocol.folder)
    return protocol
