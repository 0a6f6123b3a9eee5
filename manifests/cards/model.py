"""Facts and sentences of a model card, each true of any export with such a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from manifests.cards.facts import NOT_STATED
from manifests.cards.verifications import Verification
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.core.layout import FACES, PROBE
from manifests.records.exports import (
    FLOAT,
    INT8,
    Export,
    Landmark,
    StoreFacts,
    StudentFacts,
)

FLOAT_NETWORK, INT8_NETWORK = "float", "int8"


@dataclass(frozen=True)
class ProbeGap:
    """1 - cosine to the teacher on faces never trained on, over both views."""

    num_faces: int
    mean: float
    standard_error: float
    p95: float


@dataclass(frozen=True)
class Int8Change:
    """What 8 bits cost on one protocol."""

    benchmark: str
    protocol_sha256: str
    float_accuracy: float
    int8_accuracy: float
    change: float


@dataclass(frozen=True)
class ModelCard:
    export: Export
    gap: ProbeGap | None
    verifications: tuple[Verification, ...]

    @property
    def face_stores(self) -> list[StoreFacts]:
        return [store for store in self.export.stores if Path(store.path).name == FACES]

    @property
    def teacher_stores(self) -> list[StoreFacts]:
        return [s for s in self.export.stores if Path(s.path).parent.name == "teachers"]

    @property
    def generators(self) -> list[str]:
        """Name and weights of what rendered the faces, as the passports have it."""
        return _makers(self.face_stores)

    @property
    def teachers(self) -> list[str]:
        return _makers(self.teacher_stores)

    @property
    def licences(self) -> list[tuple[str, str]]:
        stated = (item for s in self.export.stores for item in (s.licences or {}).items())
        return sorted(set(stated))

    @property
    def absent(self) -> list[str]:
        """Stores of faces or embeddings that were not at hand for the export."""
        return [s.path for s in (*self.face_stores, *self.teacher_stores) if s.num_rows is None]

    @property
    def num_imported(self) -> int:
        return sum(store.num_imported or 0 for store in self.face_stores)

    @property
    def real_faces(self) -> list[str]:
        """What is stated of the people on photographs that it was trained on."""
        stored = {s.real_faces for s in self.face_stores if s.real_faces and s.num_ok}
        return sorted(stored | {*self.export.student.real_faces.splitlines()})

    @property
    def only_rendered(self) -> bool:
        """Is every face that was trained on known to come from a generator?"""
        known = all(store.num_rows is not None for store in self.face_stores)
        return known and bool(self.face_stores) and self.num_imported == 0 and not self.real_faces

    @property
    def int8_changes(self) -> list[Int8Change]:
        """Accuracy of both networks, where both were measured on one protocol."""
        found: dict[tuple[str, str], dict[str, float]] = {}
        for own in self.verifications:
            if own.figures.accuracy is not None:
                key = (own.figures.benchmark, own.figures.protocol_sha256)
                found.setdefault(key, {})[own.network] = own.figures.accuracy
        return [
            Int8Change(benchmark, protocol, both[FLOAT_NETWORK], both[INT8_NETWORK], change)
            for (benchmark, protocol), both in found.items()
            if len(both) == 2
            for change in [both[INT8_NETWORK] - both[FLOAT_NETWORK]]
        ]


def _makers(stores: Sequence[StoreFacts]) -> list[str]:
    named = {f"{s.made_by} (weights sha256: {s.weights_sha256})" for s in stores if s.made_by}
    return sorted(named)


def networks(export: Export) -> dict[str, str]:
    """{sha256 of a model: which network it is}, as `facestill verify` names models."""
    names = {FLOAT: FLOAT_NETWORK, INT8: INT8_NETWORK}
    files = {
        export.files[file].sha256: name for file, name in names.items() if file in export.files
    }
    return {export.student.sha256: FLOAT_NETWORK} | files


def probe_gap(export: Export) -> ProbeGap | None:
    """The run's figures on the probe; None where they were not measured, or were of an earlier
    student of that run."""
    path = layout.gap_report(export.run)
    if not path.exists():
        return None
    report = read_json(path)
    try:
        if report["student_sha256"] != export.student.sha256:
            return None
        return ProbeGap(**{name: report[PROBE][name] for name in ProbeGap.__dataclass_fields__})
    except (KeyError, TypeError):
        raise InputError(f"{path}: not a report of the stage gap; run gap again") from None


def as_json(card: ModelCard) -> dict[str, Any]:
    """The card for machines."""
    return {
        "schema_version": 1,
        "summary": summary(card),
        "export": asdict(card.export),
        "generators": card.generators,
        "teachers": card.teachers,
        "licences": dict(card.licences),
        "only_rendered_faces": card.only_rendered,
        "probe_gap": card.gap and asdict(card.gap),
        "verifications": [asdict(own) for own in card.verifications],
        "int8_changes": [asdict(own) for own in card.int8_changes],
        "statements": {"uses": uses(card), "limits": limits(card), "privacy": privacy(card)},
    }


def summary(card: ModelCard) -> str:
    student, teachers = card.export.student, ", ".join(_names(card.teacher_stores))
    faces = "rendered faces" if card.only_rendered else "faces"
    faces = f"{card.export.training.num_faces:,} {faces}"
    how = f"distilled from {teachers or 'a teacher that is not stated'} on {faces}"
    if student.training != StudentFacts.training:
        how = f"trained on {faces}: {student.training}"
    return (
        f"A face-recognition network ({student.name}, {student.num_params:,} parameters) that "
        f"turns an aligned picture of a face into {student.embedding_width} numbers; {how}."
    )


def places(landmarks: Sequence[Landmark]) -> str:
    """As a list of Python."""
    return str([(point.x, point.y) for point in landmarks])


def _names(stores: Sequence[StoreFacts]) -> list[str]:
    return sorted({store.made_by or Path(store.path).stem for store in stores})


def uses(card: ModelCard) -> list[str]:
    return [
        "Research on distillation and on synthetic training data; comparing two pictures of faces "
        "where a wrong answer harms nobody.",
        "Not for deciding about people, and not for identifying them: it has not been measured for "
        "fairness over groups of people.",
        "Not without the terms below: whoever passes it on passes on what they allow.",
    ]


def limits(card: ModelCard) -> list[str]:
    rows = [
        "A picture must be aligned as above: an unaligned face gives an embedding that "
        "looks right and is not.",
        "It repeats its teacher's errors, and adds its own; the gap on the probe is measured on "
        "synthetic faces, and is larger on photographs as a rule.",
    ]
    if card.export.int8 is not None:
        rows.append(
            "The 8-bit file has no reserve for processors that add 8-bit products in 16 bits (x86 "
            "without VNNI): measure it there, or use the float file."
        )
    if not card.verifications:
        rows.append("It has not been verified on photographs: it has no operating threshold.")
    else:
        rows.append(
            "A threshold holds for pictures like those it was measured on. Where the impostor "
            "pairs are too few for a false match rate, none is given."
        )
    return rows


def privacy(card: ModelCard) -> list[str]:
    if card.only_rendered:
        origin = (
            "Every face that it was trained on was rendered by a generator: no photograph of a "
            "person was read in training."
        )
    elif card.real_faces:
        origin = (
            "It was trained on photographs of real people: "
            f"{'; '.join(card.real_faces)}. Ask whether they agreed to what it is to be used for."
        )
    elif card.num_imported:
        origin = (
            f"{card.num_imported:,} of the faces in the stores that it was trained on have no "
            "known generator: they may be photographs of real people."
        )
    else:
        origin = (
            "Stores that it was trained on were not at hand for this card: where their faces come "
            "from is not known here."
        )
    taught = sorted({own.real_faces for own in card.teacher_stores if own.real_faces})
    return [
        origin,
        *(f"A teacher of it was trained here on photographs of real people: {t}." for t in taught),
        "Its teacher and the generator may have been trained on photographs of real people; what "
        f"they were trained on is stated only by their terms ({_terms(card)}).",
        "Embeddings of photographs are biometric data of the people on them, whatever network "
        "made them.",
    ]


def _terms(card: ModelCard) -> str:
    return ", ".join(name for name, _ in card.licences) or NOT_STATED


def by_size(largest: Mapping[str, float]) -> list[tuple[str, float]]:
    """Differences by the size of the pictures, then by their number ("7 x 64 x 64")."""
    return sorted(largest.items(), key=lambda item: [len(item[0]), item[0].split(" x ")[::-1]])
