"""Benchmark sources, one file each, found by name."""

from __future__ import annotations

import sys
from pathlib import Path

from eval.benchmarks.base import DISJOINT, Protocol, require_disjoint, warn_of_repeats
from manifests.core.backends import find_backend, split_kind
from manifests.core.errors import InputError
from manifests.photographs.protocols import Benchmark
from manifests.settings.params import Params


def open_benchmark(text: str) -> Protocol:
    """The protocol that `text` names, KIND or KIND:ARGUMENT, as it lies there.

    Every image of it is there, can be decoded and has the hash that the protocol says.
    Raises InputError for the first thing that is not so.
    """
    kind, argument = split_kind(text)
    source = find_backend(sys.modules[__name__], "benchmark", kind)
    protocol: Protocol = source.open_protocol(argument)
    if protocol.disjoint:
        require_disjoint(protocol.benchmark, protocol.subject_rule)
    warn_of_repeats(protocol)
    return protocol


def require_frozen(protocol: Protocol, frozen: Benchmark, path: Path) -> None:
    """Raises InputError naming the first image or pair in which an opened protocol is not the
    one that was frozen in the file at `path`."""
    try:
        frozen.check_same(protocol.benchmark)
        if frozen.recorded.get("folds") == DISJOINT:
            require_disjoint(protocol.benchmark, protocol.subject_rule)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def open_protocols(params: Params) -> dict[str, Protocol]:
    """orl and, where params name a folder, pairs: {name: protocol}."""
    protocols = {"orl": open_benchmark("orl")}
    if params.verify.pairs is not None:
        protocols["pairs"] = open_benchmark(f"pairs:{params.verify.pairs}")
        _check_protocol(protocols["pairs"], params.verify.pairs, params.verify.protocol)
    return protocols


def _check_protocol(protocol: Protocol, folder: str, wanted: str | None) -> None:
    found = protocol.benchmark.protocol_sha256
    if wanted is not None and found != wanted:
        raise InputError(
            f"{folder}: protocol {found[:12]}, params.yaml says {wanted[:12]}; "
            "bring that folder or change verify.protocol"
        )
