"""Trained heads as one safetensors file, whose metadata are their passport."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from eval.attributes.head_networks import SHARED, Heads
from manifests.core.digests import canonical_json, sha256_file
from manifests.core.errors import InputError, pick
from manifests.core.files import parse_json, replacing
from manifests.records.attributes import MOST_ATTRIBUTES, NAME
from manifests.stores.reading import TeacherStore
from pipeline.teachers.base import of_one_network

KIND, KEY = "attribute-heads-1", "facestill"
WIDEST = 8192  # of embeddings that are read
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class HeadsPassport:
    """What heads are, what they were made from, and what they are good for."""

    architecture: str
    width: int  # of the embeddings
    attributes: tuple[str, ...]  # one head each
    used: tuple[str, ...]  # those that the held-out faces let through
    teacher: Mapping[str, Any]  # its identity: heads read nobody else's embeddings
    teacher_address: str  # what finds it
    labels: Mapping[str, Any]  # the table: name, sha256, rows, and how many labels are defined
    faces: Mapping[str, Any]  # what the table labels: kind, name, digest
    settings: Mapping[str, Any]
    held_out: Mapping[str, Mapping[str, Any]]  # by attribute, as eval.attributes.held_out has it
    numerics: Mapping[str, Any]


def save_heads(path: Path, heads: Heads, passport: HeadsPassport) -> None:
    tensors = {name: tensor.contiguous() for name, tensor in heads.state_dict().items()}
    # One entry: the file's order of several changes from run to run.
    described = {KEY: canonical_json({"kind": KIND, **asdict(passport)})}
    with replacing(path) as scratch:
        save_file(tensors, scratch, described)


def load_heads(path: Path) -> tuple[Heads, HeadsPassport, str]:
    """Heads in evaluation mode, their passport, and the sha256 of the file.

    Raises InputError for another file, or weights that do not fit the passport.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; train heads with `facestill heads`")
    try:
        with safe_open(path, framework="pt") as opened:
            passport = _parse(opened.metadata() or {})
        heads = Heads(passport.architecture, passport.width, len(passport.attributes))
        heads.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: no attribute heads ({str(error)[:200]}); train them with facestill heads"
        ) from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return heads.eval().requires_grad_(False), passport, sha256_file(path)


def _parse(metadata: Mapping[str, str]) -> HeadsPassport:
    """Bounds come before the network is built."""
    value = parse_json(metadata.get(KEY, "{}").encode())
    kind = value.pop("kind", "not stated") if type(value) is dict else "no passport"
    if kind != KIND:
        raise ValueError(f"kind {str(kind)[:40]!r}, expected {KIND!r}")
    names, width = value["attributes"], value["width"]
    if type(width) is not int or not 1 <= width <= WIDEST:
        raise ValueError(f"embeddings of width {str(width)[:40]}")
    if type(names) is not list or not 1 <= len(names) <= MOST_ATTRIBUTES:
        raise ValueError("its attributes are no list")
    if not all(type(name) is str and NAME.fullmatch(name) for name in names):
        raise ValueError("an attribute has no proper name")
    if len(set(names)) < len(names) or not set(value["used"]) <= set(names):
        raise ValueError("its attributes are there twice, or others are used")
    if type(value["teacher_address"]) is not str or type(value["teacher"]) is not dict:
        raise ValueError("it does not say whose embeddings it reads")
    pick("architecture of heads", value["architecture"], SHARED)
    value |= {"attributes": tuple(names), "used": tuple(n for n in names if n in value["used"])}
    return HeadsPassport(**value)


def require_teacher(store: TeacherStore, teacher: Mapping[str, Any]) -> None:
    """Raises InputError unless the embeddings of a store are that teacher's, by its identity."""
    if not of_one_network(store.passport.fingerprint.identity, teacher):
        raise InputError(
            f"{store.path}: its embeddings are of another teacher than the {teacher['name']} that "
            "heads read here; embed the round by that one"
        )


def described(passport: HeadsPassport) -> str:
    """One line on what they are good for."""
    return (
        f"{len(passport.used)} of {len(passport.attributes)} heads used "
        f"({passport.architecture} on {json.dumps(passport.teacher.get('name'))})"
    )
