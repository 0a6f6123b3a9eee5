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

STATEMENT = re.compile(r"\S[^\x00-\x1f\x7f]{0,199}")


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
    """What whoever brings pictures of people states of them; logs, files and cards repeat it.

    Either they are synthetic, and it is said what made them; or they are photographs, and both are
    said: the switch, and whose they are and who agreed. Raises InputError for anything else.
    """

    synthetic_source: str | None
    real_faces: str | None
    allow_real_faces: bool
    licence: str

    def __post_init__(self) -> None:
        if (self.synthetic_source is None) == (self.real_faces is None):
            raise InputError(
                "say what made the pictures with --synthetic-source TEXT; photographs of people "
                "are trained on only where --allow-real-faces and --real-faces TEXT both say so"
            )
        if self.allow_real_faces != (self.real_faces is not None):
            raise InputError(
                "--real-faces TEXT and --allow-real-faces go together: whose faces they are and "
                "who agreed, and that photographs of people may train here"
            )
        for option, text in (("statement", self.statement), ("--licence", self.licence)):
            if not STATEMENT.fullmatch(text):
                raise InputError(
                    f"{option} {text[:80]!a}: expected one line of up to 200 characters"
                )

    @property
    def statement(self) -> str:
        return self.synthetic_source or self.real_faces or ""
