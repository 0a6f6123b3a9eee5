"""How a block before a frozen network is taught another modality, and whose faces teach it.

The numbers are of a re-use at Idiap (Luevano et al. 2026, arXiv 2608.06580); those of the paper
(George et al. 2022, arXiv 2210.06529) are not known here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Interval

from manifests.core.bounds import Count, InnerShare, NotNegative, Positive, Seed
from manifests.core.errors import InputError
from manifests.core.parsing import parse
from manifests.settings.params import read_yaml
from manifests.settings.real_faces import WHERE, RealFaces

STATEMENT = re.compile(r"(?=\S)[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,200}")


@dataclass(frozen=True)
class Adaptation:
    """Of `facestill adapt`; a file of --settings says what is to be otherwise."""

    # up to which unlike people are parted; unit embeddings are at most 2 apart
    margin: Annotated[float, Interval(gt=0.0, le=2.0)] = 2.0
    genuine: InnerShare | None = 0.5  # weight of pairs of one person; null: as many as they are
    people: Annotated[int, Interval(ge=2, le=1 << 14)] = 32  # of a step
    images: Annotated[int, Interval(ge=1, le=1 << 10)] = 8  # of each of them, in either modality
    epochs: Annotated[int, Interval(ge=1, le=10_000)] = 20  # in which everybody comes once
    warmup_epochs: Count = 1  # in which the rate rises from nothing; then it falls to nothing
    learning_rate: Positive = 1e-3  # of AdamW
    weight_decay: NotNegative = 0.05
    clip: Positive = 5.0  # largest norm of a gradient
    seed: Seed = 7


def load_adaptation(path: Path | None) -> Adaptation:
    """The numbers of a YAML file, those above for whatever it leaves out.

    Raises InputError naming the key that is unknown, of another type or beyond its bound.
    """
    if path is None:
        return Adaptation()
    found: Adaptation = parse(Adaptation, read_yaml(path), str(path))
    if found.warmup_epochs >= found.epochs:
        raise InputError(
            f"{path}: warmup_epochs {found.warmup_epochs}, expected less than epochs {found.epochs}"
        )
    return found


@dataclass(frozen=True)
class Origin:
    """What is stated of the pictures; logs, files and cards repeat it. Raises InputError for what
    is no line."""

    statement: str  # what made them; of photographs, whose they are and who agreed
    licence: str
    of_people: bool = False

    def __post_init__(self) -> None:
        for option, text in (("statement", self.statement), ("licence", self.licence)):
            if not STATEMENT.fullmatch(text):
                raise InputError(
                    f"{option} {text[:80]!a}: expected one line of up to 200 characters"
                )


def origin_of(
    pairs: Path, synthetic_source: str | None, licence: str | None, real: RealFaces
) -> Origin:
    """Of pictures below `pairs`: synthetic ones by what is said on the command line, photographs
    of people by the double switch of params.yaml, whose folder then is `pairs`, or holds it.

    Raises InputError where neither says it, or both do.
    """
    inside = real.folder is not None and pairs.resolve().is_relative_to(
        Path(real.folder).expanduser().resolve()
    )
    if synthetic_source is not None and real.shares(pairs):
        remedy = "leave --synthetic-source out" if inside else "name their folder alone"
        raise InputError(f"{pairs}: photographs of people by {WHERE}; {remedy}")
    if inside:
        real.check()
        return Origin(real.statement or "", real.licence or "", of_people=True)
    if synthetic_source is None or licence is None:
        raise InputError(
            "say what made the pictures with --synthetic-source TEXT and --licence TEXT; "
            f"photographs of people are trained on only where {WHERE} names their folder and "
            "allows it"
        )
    return Origin(synthetic_source, licence)
