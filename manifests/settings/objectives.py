"""What `train.loss`, `train.teachers` and `train.snapshots` of params.yaml may say.

`loss` is a name, a section {name, weight, …}, or a list of them whose terms are added up. The
defaults are those of the papers named in train/losses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from manifests.core.errors import InputError, pick
from manifests.core.parsing import parse, parse_fields

T = TypeVar("T")


@dataclass(frozen=True)
class Plain:
    """mse: of raw embeddings; standardised-mse: centred, divided by the teacher's spread;
    relational: of the cosines of all pairs in a batch."""

    name: str
    weight: float = 1.0


@dataclass(frozen=True)
class Cosine:
    name: str
    weight: float = 1.0
    centred: bool = True  # by the teacher's mean; false: raw embeddings, as the papers have it


@dataclass(frozen=True)
class UnitMse:
    name: str
    weight: float = 1.0
    centred: bool = True
    convention: str = "squared-distance"  # what the weight means; or pocketnet, kd-fairness


@dataclass(frozen=True)
class ThresholdRanks:
    """EKD: on which side of the thresholds for FPR 1/10, 1/100, … a pair lies."""

    name: str
    weight: float = 1.0
    positive_weight: float = 0.02
    negative_weight: float = 0.01
    hardest: int = 2000  # negative pairs of a batch that count
    thresholds: int = 6  # up to FPR 10^-6
    temperature: float = 0.01
    running_share: float = 0.01  # of a batch's thresholds in the running ones


@dataclass(frozen=True)
class Margin:
    """Cross-entropy of the identities with a margin. An elastic margin is drawn for each face."""

    name: str
    weight: float = 1.0
    scale: float = 64.0
    margin: float = 0.5
    margin_spread: float = 0.0  # elastic-*: standard deviation
    concentration: float = 0.333  # adaface: of the norms' effect
    running_share: float = 0.01  # adaface: of a batch in the running mean of norms


@dataclass(frozen=True)
class Grouped:
    """GKD: the teacher's logits, by groups; both heads are needed."""

    name: str
    head: str  # the run that trained the teacher, with its margin head: runs/NAME
    weight: float = 1.0
    temperature: float = 4.0
    primary_weight: float = 4.0
    mass: float = 0.93  # of the student's probability, that the primary group holds
    group_step: int = 100  # identities
    ramp_epochs: float = 10.0  # until the full weight


@dataclass(frozen=True)
class CertaintyRatio:
    """CR-FIQA: a linear head learns to tell from a face's embedding how certain the margin's
    prototypes are of it, which is the face's quality."""

    name: str
    weight: float = 10.0
    beta: float = 0.5  # of the smooth L1 loss: where it turns from squares to absolutes
    ratio: str = "paper"  # what is learnt: paper, released or ccs
    on_top: str | None = None  # the run whose student and margin head stay as they are: runs/NAME


Term = Plain | Cosine | UnitMse | ThresholdRanks | Margin | Grouped | CertaintyRatio
RATIOS = ("paper", "released", "ccs")
CONVENTIONS = ("squared-distance", "pocketnet", "kd-fairness")
MARGINS: Mapping[str, Mapping[str, float]] = {  # where they differ from the class's defaults
    "arcface": {},
    "cosface": {"margin": 0.4},
    "adaface": {"margin": 0.4},
    "elastic-arcface": {"margin_spread": 0.05},
    "elastic-cosface": {"margin": 0.35, "margin_spread": 0.05},
}
TERMS: Mapping[str, type] = {
    "mse": Plain,
    "standardised-mse": Plain,
    "relational": Plain,
    "cosine": Cosine,
    "unit-mse": UnitMse,
    "ekd": ThresholdRanks,
    "gkd": Grouped,
    "cr-fiqa": CertaintyRatio,
    **dict.fromkeys(MARGINS, Margin),
}
ONLY = {"margin_spread": "elastic-", "concentration": "adaface", "running_share": "adaface"}
LARGEST_MARGIN = 1.5  # radians, or of a cosine
MOST_THRESHOLDS = 12


@dataclass(frozen=True)
class Losses:
    """The terms of an objective, which are added up."""

    terms: tuple[Term, ...]

    @classmethod
    def parsed(cls, value: Any, where: str) -> Losses:
        """Raises InputError for an unknown name or option, or a number out of its range."""
        several = isinstance(value, list)
        items = value if several else [value]
        if not items:
            raise InputError(f"{where}: an empty list; name a loss: {', '.join(sorted(TERMS))}")
        terms = tuple(
            _term(item, f"{where}[{at}]" if several else where) for at, item in enumerate(items)
        )
        _check_company(terms, where)
        return cls(terms)

    @property
    def margin(self) -> Margin | None:
        return next((term for term in self.terms if isinstance(term, Margin)), None)

    @property
    def grouped(self) -> Grouped | None:
        return next((term for term in self.terms if isinstance(term, Grouped)), None)

    @property
    def certainty(self) -> CertaintyRatio | None:
        return next((term for term in self.terms if isinstance(term, CertaintyRatio)), None)

    @property
    def on_top(self) -> str | None:
        """The run that a quality head is trained on top of; nothing else is trained then."""
        return None if self.certainty is None else self.certainty.on_top

    @property
    def needs_teacher(self) -> bool:
        return any(not isinstance(term, Margin | CertaintyRatio) for term in self.terms)

    @property
    def needs_identities(self) -> tuple[str, ...]:
        """Names of the terms that look at identity labels."""
        kinds = (Margin, Grouped, ThresholdRanks, CertaintyRatio)
        return tuple(term.name for term in self.terms if isinstance(term, kinds))


def _check_company(terms: tuple[Term, ...], where: str) -> None:
    """Of the terms that stand beside a margin, or instead of one."""
    kinds = (Margin, Grouped, CertaintyRatio)
    if any(sum(isinstance(term, kind) for term in terms) > 1 for kind in kinds):
        names = ", ".join(term.name for term in terms)
        raise InputError(f"{where}: {names}: one margin, gkd and cr-fiqa at most; leave some out")
    losses, margins = Losses(terms), ", ".join(sorted(MARGINS))
    if losses.grouped and not losses.margin:
        raise InputError(
            f"{where}: gkd compares the logits of the student's margin head; name a margin "
            f"beside it ({margins})"
        )
    if losses.certainty and not losses.margin and losses.on_top is None:
        raise InputError(
            f"{where}: cr-fiqa learns from the prototypes of a margin; name one beside it "
            f"({margins}), or on_top: the run that has them"
        )
    if losses.on_top is not None and len(terms) > 1:
        raise InputError(
            f"{where}: cr-fiqa on top of {losses.on_top} trains its own head alone; leave the "
            "other terms out, or on_top"
        )


def _term(value: Any, where: str) -> Term:
    section = value if isinstance(value, Mapping) else {"name": value}
    name = section.get("name")
    if not isinstance(name, str):
        raise InputError(f"{where}: {value!r}, expected the name of a loss, or {{name: …}}")
    kind = _pick(where, "loss", name, TERMS)
    for key, only in ONLY.items():
        if kind is Margin and key in section and not name.startswith(only):
            raise InputError(f"{where}: {name} has no {key}")
    term: Term = parse_fields(kind, {**MARGINS.get(name, {}), **section}, where)
    _check(term, where)
    return term


def _pick(where: str, kind: str, name: str, choices: Mapping[str, T]) -> T:
    try:
        return pick(kind, name, choices)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _check(term: Term, where: str) -> None:
    if isinstance(term, UnitMse):
        _pick(where, "convention", term.convention, dict.fromkeys(CONVENTIONS))
    if isinstance(term, CertaintyRatio):
        _pick(where, "ratio", term.ratio, dict.fromkeys(RATIOS))
    if isinstance(term, ThresholdRanks) and term.thresholds > MOST_THRESHOLDS:
        raise InputError(f"{where}: thresholds: {term.thresholds}, at most {MOST_THRESHOLDS}")
    if isinstance(term, Margin) and term.margin > LARGEST_MARGIN:
        raise InputError(f"{where}: margin: {term.margin:g}, expected at most {LARGEST_MARGIN:g}")


@dataclass(frozen=True)
class Tuition:
    """How much a teacher counts, and whether the student meets it through a linear map of its
    own, which is trained and not exported."""

    weight: float = 1.0
    projection: bool = False

    @classmethod
    def parsed(cls, value: Any, where: str) -> Tuition:
        if isinstance(value, Mapping):
            own: Tuition = parse_fields(cls, value, where)
            return own
        return cls(parse(float, value, f"{where}: weight"))


@dataclass(frozen=True)
class IdentityPart:
    """One of `parts` disjoint groups of the identities: a specialist sees no others."""

    part: int  # 0 .. parts - 1
    parts: int

    @classmethod
    def parsed(cls, value: Any, where: str) -> IdentityPart:
        found: IdentityPart = parse_fields(cls, value, where)
        if found.part >= found.parts:
            raise InputError(f"{where}: part {found.part} of {found.parts}, counted from 0")
        return found
