"""Benchmark sources, one file each, found by name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from eval.alignment import Alignment, alignment_by, crops_in
from eval.benchmarks.base import DISJOINT, Protocol, require_disjoint, warn_of_repeats
from manifests.core.backends import find_backend, split_kind
from manifests.core.errors import InputError
from manifests.photographs.protocols import Benchmark
from manifests.settings.params import Params
from pipeline.aligners.base import CHOICES
from pipeline.arrays.frames import Frame


def open_benchmark(text: str, alignment: Alignment | None = None) -> Protocol:
    """The protocol that `text` names, KIND or KIND:ARGUMENT, as it lies there, over images that
    are aligned so (by the usual aligner, where nothing is said).

    Every image of it is there, can be decoded and has the hash that the protocol says; crops are
    square. Raises InputError for the first thing that is not so, and for an alignment of images
    that have one.
    """
    kind, argument = split_kind(text)
    source = find_backend(sys.modules[__name__], "benchmark", kind)
    if getattr(source, "POINTS", False):
        protocol: Protocol = source.open_protocol(argument)
        _require_no_other(kind, alignment, "come with the points of their faces")
    else:
        aligned = _alignment_for(kind, source, frame_of(text), alignment)
        found: Protocol = source.open_protocol(argument, square=aligned.frame is not None)
        protocol = found.aligned(aligned)
    if protocol.disjoint:
        require_disjoint(protocol.benchmark, protocol.subject_rule)
    warn_of_repeats(protocol)
    return protocol


def frame_of(text: str) -> Frame | None:
    """That the images of the benchmark which `text` names are crops in, always; None of those that
    may be photographs."""
    kind, argument = split_kind(text)
    source = find_backend(sys.modules[__name__], "benchmark", kind)
    found: Frame | None = source.frame_of(argument) if hasattr(source, "frame_of") else None
    return found


def _alignment_for(
    kind: str, source: Any, frame: Frame | None, wanted: Alignment | None
) -> Alignment:
    """`frame`: that these images are crops in, always; a source's FACE is the one that is meant in
    its photographs."""
    if frame is None:
        face: str | None = getattr(source, "FACE", None)
        own = wanted or alignment_by(face=face)
        if face is not None and own.frame is None and CHOICES[face] not in own.rule:
            raise InputError(
                f"benchmark {kind}: its faces fill their pictures; give --face {face} too, or "
                "--frame of pictures that were cut otherwise"
            )
        return own
    own = crops_in(frame)
    if wanted != own:
        _require_no_other(kind, wanted, f"are crops in the frame {frame.name}")
    return own


def _require_no_other(kind: str, wanted: Alignment | None, why: str) -> None:
    if wanted is not None:
        raise InputError(
            f"benchmark {kind}: its images {why}; leave --aligner, --face and --frame out"
        )


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
    alignment = alignment_by(params.aligner)
    protocols = {"orl": open_benchmark("orl", alignment)}
    if params.verify.pairs is not None:
        protocols["pairs"] = open_pairs(params.verify.pairs, params.verify.protocol, alignment)
    return protocols


def open_pairs(folder: str, wanted: str | None, alignment: Alignment | None = None) -> Protocol:
    """The pairs of the folder that params name, whose digest is to be `wanted`."""
    protocol = open_benchmark(f"pairs:{folder}", alignment)
    found = protocol.benchmark.protocol_sha256
    if wanted is not None and found != wanted:
        raise InputError(
            f"{folder}: protocol {found[:12]}, params.yaml says {wanted[:12]}; "
            "bring that folder or change verify.protocol"
        )
    return protocol


def require_kind(text: str) -> None:
    """Raises InputError that lists the kinds, for KIND:ARGUMENT of one that does not exist."""
    find_backend(sys.modules[__name__], "benchmark", split_kind(text)[0])
