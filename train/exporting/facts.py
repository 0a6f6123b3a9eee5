"""What the record of an export says of the run: from its student, its log and its stores."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from manifests.cards.facts import NOT_STATED, leaves
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.records.exports import Landmark, StoreFacts, StudentFacts, Template, Training
from manifests.stores.passport import Passport
from manifests.stores.reading import FaceStore, TeacherStore
from manifests.stores.rounds import read_manifest
from pipeline.arrays.frames import FRAMES
from pipeline.arrays.landmarks import ARCFACE5
from pipeline.arrays.numerics import count_macs
from train.checkpoint import LOG, Student
from train.checkpoint import read_log as log_of
from train.students.base import num_params

LONGEST_LICENCE = 600  # characters of the terms in a file's declaration


def read_log(student: Student) -> Mapping[str, Any]:
    """The run's log, with all that an export says of it. Raises InputError for one without."""
    log = log_of(student)
    try:
        training_facts(log)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{student.folder / LOG}: not the log of a run ({error}); train it again"
        ) from None
    return log


def training_facts(log: Mapping[str, Any]) -> Training:
    """The log's own words; a log may say in a header what the run was computed with."""
    recipe = {name: str(value) for name, value in leaves(log["params"])}
    return Training(
        rounds=tuple(log["rounds"]),
        num_faces=log["num_faces"],
        after=log["after"],
        train_seconds=float(log["train_seconds"]),
        torch=log.get("header", log)["torch"],
        recipe=recipe,
    )


def student_facts(student: Student) -> StudentFacts:
    card = asdict(student.card)
    own = {name: card[name] for name in StudentFacts.__dataclass_fields__ if name in card}
    own["projected_from"] = card.get("projected_from") or None  # a card says 0 for none
    macs = count_macs(student.network, student.card.input_size)
    return StudentFacts(
        **own, sha256=student.sha256, num_params=num_params(student.network), macs=macs
    )


def template(student: Student) -> Template:
    """Where landmarks lie in the student's frame, at the frame's own number of pixels."""
    frame = FRAMES[student.card.frame]
    five = _landmarks(ARCFACE5.points, ARCFACE5.inside(frame))
    eyes = tuple(five[eye] for (eye,) in reversed(ARCFACE5.eyes))  # the left one first
    return Template(frame.size, five, eyes)


def _landmarks(names: Sequence[str], points: Iterable[np.ndarray]) -> tuple[Landmark, ...]:
    rounded = ([round(float(value), 3) for value in point] for point in points)
    return tuple(Landmark(name, x, y) for name, (x, y) in zip(names, rounded, strict=True))


def trained_on(student: Student) -> dict[str, str]:
    """{path: root} of the stores that the student names, in order."""
    try:
        stores = json.loads(student.card.stores)
        assert all(isinstance(text, str) for item in stores.items() for text in item)
    except (ValueError, AttributeError, AssertionError):
        raise InputError(
            f"{student.folder}: the student's list of stores is damaged; train it again"
        ) from None
    return dict(stores)


def face_stores(stores: Mapping[str, str]) -> list[FaceStore]:
    """Those at hand. Raises InputError for one that is not what was trained on."""
    paths = [Path(path) for path in stores if Path(path).name == layout.FACES]
    return [
        FaceStore.open(path, expect={"root": stores[path.as_posix()]})
        for path in paths
        if path.exists()
    ]


def store_facts(stores: Mapping[str, str]) -> tuple[StoreFacts, ...]:
    return tuple(_store(Path(path), root) for path, root in stores.items())


def _store(path: Path, root: str) -> StoreFacts:
    is_faces, is_teacher = path.name == layout.FACES, path.parent.name == "teachers"
    if not (is_faces or is_teacher) or not path.exists():
        return StoreFacts(path.as_posix(), root)
    kind = FaceStore if is_faces else TeacherStore
    passport = kind.open(path, expect={"root": root}).passport
    identity = passport.fingerprint.identity
    return StoreFacts(
        path.as_posix(),
        root,
        made_by=str(identity.get("name", NOT_STATED)),
        weights_sha256=str(identity.get("weights_sha256", NOT_STATED)),
        num_rows=passport.num_rows,
        num_ok=passport.num_ok,
        num_imported=_num_imported(path, passport) if is_faces else None,
        licences=dict(passport.licences),
        real_faces=passport.real_faces,
    )


def _num_imported(path: Path, passport: Passport) -> int:
    """All of them where there is no manifest to show how the faces came about."""
    name = layout.round_of(path)
    if not name or not layout.manifest(name).exists():
        return passport.num_rows
    manifest = read_manifest(name)
    if manifest.digest != passport.manifest_digest:
        raise InputError(
            f"{layout.manifest(name)}: not the manifest that {path} was made from; bring that one, "
            "or build the round again"
        )
    return manifest.table["origin"].to_pylist().count("imported")


def licence_of(stores: Sequence[StoreFacts]) -> str:
    """The terms of all that the student was made with, in one line."""
    stated = {item for store in stores for item in (store.licences or {}).items()}
    terms = "; ".join(f"{name}: {text}" for name, text in sorted(stated))
    return f"made with {' '.join(terms.split())[:LONGEST_LICENCE]}" if terms else NOT_STATED


def versions() -> dict[str, str]:
    """What the bytes of an export depend on beside the run."""
    packages = ("onnx", "onnxruntime", "onnxscript")
    own = {name: str(importlib.import_module(name).__version__) for name in packages}
    capability = torch.backends.cpu.get_cpu_capability()
    return own | {"torch": torch.__version__, "cpu_capability": capability}
