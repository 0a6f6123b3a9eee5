"""What `train.loss`, `train.teachers` and `train.snapshots` of params.yaml may say.

`loss` is a name, a section {name, weight, …}, or a list of them whose terms are added up. The
defaults are those of the papers named in train/losses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Interval

from manifests.core.bounds import Count, NotNegative, Positive, PositiveInt, PositiveShare
from manifests.core.errors import InputError
from manifests.core.parsing import LATER, parse, parse_fields, required_of
from manifests.settings.schema import Schema, form_of, section_of

Ratio = Literal["paper", "released", "ccs"]
Centres = Literal["learnt", "adadistill", "adadistill-unweighted"]
Batches = Annotated[int, Interval(ge=0, le=1 << 16)]


@dataclass(frozen=True)
class Plain:
    """mse: of raw embeddings; standardised-mse: centred, divided by the teacher's spread."""

    name: str
    weight: Positive = 1.0


@dataclass(frozen=True)
class Relational:
    """Of the cosines of all pairs in a batch, and of its faces with those of batches before."""

    name: str
    weight: Positive = 1.0
    memory: Batches = field(default=0, metadata=LATER)  # batches that are remembered for pairs


@dataclass(frozen=True)
class Cosine:
    name: str
    weight: Positive = 1.0
    centred: bool = True  # by the teacher's mean; false: raw embeddings, as the papers have it


@dataclass(frozen=True)
class UnitMse:
    name: str
    weight: Positive = 1.0
    centred: bool = True
    # what the weight means
    convention: Literal["squared-distance", "pocketnet", "kd-fairness"] = "squared-distance"


@dataclass(frozen=True)
class ThresholdRanks:
    """EKD: on which side of the thresholds for FPR 1/10, 1/100, … a pair lies."""

    name: str
    weight: Positive = 1.0
    positive_weight: NotNegative = 0.02
    negative_weight: NotNegative = 0.01
    hardest: PositiveInt = 2000  # negative pairs of a batch that count
    thresholds: Annotated[int, Interval(ge=1, le=12)] = 6  # up to FPR 10^-6
    temperature: Positive = 0.01
    running_share: PositiveShare = 0.01  # of a batch's thresholds in the running ones
    memory: Batches = field(default=0, metadata=LATER)  # as in Relational


@dataclass(frozen=True)
class Margin:
    """Cross-entropy of the identities with a margin. An elastic margin is drawn for each face."""

    name: str
    weight: Positive = 1.0
    scale: Positive = 64.0
    margin: Annotated[float, Interval(ge=0.0, le=1.5)] = 0.5  # radians, or of a cosine
    margin_spread: NotNegative = 0.0  # elastic-*: standard deviation
    concentration: NotNegative = 0.333  # adaface: of the norms' effect
    running_share: PositiveShare = 0.01  # adaface: of a batch in the running mean of norms
    # adaface: where mean and spread of norms begin: at 20 and 100, or at the first batch's
    first_norms: Literal["released", "batch"] = field(default="batch", metadata=LATER)
    # arcface: past pi - m, cos t - m sin m; false: cos(t + m), which rises again there
    monotonic: bool = field(default=True, metadata=LATER)
    # of the identities, those of the batch among them, that a step looks at and moves; 1: all
    sample_rate: PositiveShare = field(default=1.0, metadata=LATER)
    # what prototypes follow: the gradient, or the teacher's embeddings of their faces
    centres: Centres = field(default="learnt", metadata=LATER)


@dataclass(frozen=True)
class Grouped:
    """GKD: the teacher's logits, by groups; both heads are needed."""

    name: str
    head: str  # the run that trained the teacher, with its margin head: runs/NAME
    weight: Positive = 1.0
    temperature: Positive = 4.0  # of what is taught
    primary_weight: NotNegative = 4.0
    group_size: PositiveInt | None = None  # identities of a primary group; null: by its mass
    mass: PositiveShare = 0.93  # of the student's probability, that the primary group holds
    group_step: PositiveInt = 100  # identities: sizes tried are 1, 1 + step, 1 + 2 steps, …
    group_temperature: Positive = 1.0  # of the probabilities whose mass is looked at
    # what is sorted for it: the batch's mean probabilities, or each face's own, averaged by place
    grouping: Literal["batch", "row"] = "batch"
    ramp_epochs: NotNegative = 10.0  # until the full weight


@dataclass(frozen=True)
class CertaintyRatio:
    """CR-FIQA: a linear head learns to tell from a face's embedding how certain the margin's
    prototypes are of it, which is the face's quality."""

    name: str
    weight: Positive = 10.0
    beta: Positive = 0.5  # of the smooth L1 loss: where it turns from squares to absolutes
    ratio: Ratio = "paper"  # what is learnt
    on_top: str | None = None  # the run whose student and margin head stay as they are: runs/NAME


Term = Plain | Relational | Cosine | UnitMse | ThresholdRanks | Margin | Grouped | CertaintyRatio
MARGINS: Mapping[str, Mapping[str, float | str]] = {  # where they differ from the class's defaults
    "arcface": {},
    "cosface": {"margin": 0.4},
    "adaface": {"margin": 0.4, "first_norms": "released"},
    "elastic-arcface": {"margin_spread": 0.05},
    "elastic-cosface": {"margin": 0.35, "margin_spread": 0.05},
}
TERMS: Mapping[str, type] = {
    "mse": Plain,
    "standardised-mse": Plain,
    "relational": Relational,
    "cosine": Cosine,
    "unit-mse": UnitMse,
    "ekd": ThresholdRanks,
    "gkd": Grouped,
    "cr-fiqa": CertaintyRatio,
    **dict.fromkeys(MARGINS, Margin),
}
ONLY = {  # what is in the names of the margins that have an option
    "margin_spread": "elastic-",
    "concentration": "adaface",
    "running_share": "adaface",
    "first_norms": "adaface",
    "monotonic": "arcface",
}
OF_MASS = ("mass", "group_step", "group_temperature", "grouping")  # by which gkd finds a size


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

    @classmethod
    def schema(cls, defs: Schema) -> Schema:
        bare = [name for name, kind in TERMS.items() if required_of(kind) == ["name"]]
        defs["Loss"] = {"anyOf": [{"enum": sorted(bare)}, *_sections(defs)]}
        one = {"$ref": "#/$defs/Loss"}
        return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}

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
    def follows_teacher(self) -> bool:
        """Are the centres of a margin the teacher's?"""
        return self.margin is not None and self.margin.centres != "learnt"

    @property
    def needs_teacher(self) -> bool:
        others = any(not isinstance(term, Margin | CertaintyRatio) for term in self.terms)
        return others or self.follows_teacher

    @property
    def remembers(self) -> bool:
        """Are faces compared with those of earlier batches?"""
        pairs = (Relational, ThresholdRanks)
        return any(isinstance(term, pairs) and term.memory > 0 for term in self.terms)

    @property
    def needs_identities(self) -> tuple[str, ...]:
        """Names of the terms that look at identity labels."""
        kinds = (Margin, Grouped, ThresholdRanks, CertaintyRatio)
        return tuple(term.name for term in self.terms if isinstance(term, kinds))


def _sections(defs: Schema) -> Iterator[Schema]:
    """Of the terms with the same options, each once."""
    alike: dict[tuple[type, frozenset[str]], list[str]] = {}
    for name, kind in TERMS.items():
        alike.setdefault((kind, frozenset(_not_of(name, kind))), []).append(name)
    for (kind, without), names in alike.items():
        section = section_of(kind, defs)
        options = section["properties"] | {"name": {"enum": names}}
        own = {key: options[key] for key in options if key not in without}
        yield section | {"properties": own}


def _not_of(name: str, kind: type) -> list[str]:
    """Options of the margins that this one has not."""
    return [key for key, only in ONLY.items() if kind is Margin and only not in name]


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
    if losses.grouped and losses.margin and losses.margin.sample_rate < 1.0:
        raise InputError(
            f"{where}: gkd compares the logits of all identities, sample_rate "
            f"{losses.margin.sample_rate:g} of {losses.margin.name} leaves some out; leave it out"
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
    if name not in TERMS:
        raise InputError(f"{where}: unknown loss {name!r}; valid names: {', '.join(sorted(TERMS))}")
    kind = TERMS[name]
    for key in _not_of(name, kind):
        if key in section:
            raise InputError(f"{where}: {name} has no {key}")
    both = [key for key in OF_MASS if kind is Grouped and key in section]
    if both and section.get("group_size") is not None:
        raise InputError(
            f"{where}: group_size {section['group_size']} beside {both[0]}, which finds a size; "
            "leave one out"
        )
    term: Term = parse_fields(kind, {**MARGINS.get(name, {}), **section}, where)
    return term


@dataclass(frozen=True)
class Tuition:
    """How much a teacher counts, and whether the student meets it through a linear map of its
    own, which is trained and not exported."""

    weight: Positive = 1.0
    projection: bool = False

    @classmethod
    def parsed(cls, value: Any, where: str) -> Tuition:
        if isinstance(value, Mapping):
            own: Tuition = parse_fields(cls, value, where)
            return own
        return cls(parse(Positive, value, f"{where}: weight"))

    @classmethod
    def schema(cls, defs: Schema) -> Schema:
        return {"anyOf": [form_of(Positive, defs), section_of(cls, defs)]}


@dataclass(frozen=True)
class IdentityPart:
    """One of `parts` disjoint groups of the identities: a specialist sees no others."""

    part: Count  # 0 .. parts - 1
    parts: PositiveInt

    @classmethod
    def parsed(cls, value: Any, where: str) -> IdentityPart:
        found: IdentityPart = parse_fields(cls, value, where)
        if found.part >= found.parts:
            raise InputError(f"{where}: part {found.part} of {found.parts}, counted from 0")
        return found
