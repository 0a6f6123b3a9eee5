"""Parameters of the study mst-kd.

Caldeira et al., "MST-KD: Multiple Specialized Teachers Knowledge Distillation for Fair Face
Recognition" (ECCV-W 2024, arXiv 2408.16563): teachers that know one group of people each, fused
into one target, against as many that know a like part of everybody.
"""

from __future__ import annotations

from dataclasses import dataclass

from manifests.core import layout
from manifests.core.bounds import PositiveInt
from manifests.core.errors import InputError
from manifests.settings.objectives import BALANCED, IdentityPart
from manifests.studies import multi_step
from manifests.studies.fair_distillation import Fairness

NAME = "mst-kd"
WHERE = layout.study_params(NAME)
SINGLE, SPECIALISED = "single", "specialised"
FUSED = (BALANCED, SPECIALISED)
NO_KD = multi_step.NO_KD
UNLABELLED = f"{SPECIALISED}-unlabelled"  # taught by the target alone: the paper's a-KD
ARMS = (NO_KD, f"{SINGLE}-kd", *(f"{kind}-kd" for kind in FUSED), UNLABELLED)


@dataclass(frozen=True)
class Groups:
    by: str  # region, round, or an attribute that `facestill annotate` measured
    parts: PositiveInt  # specialists, and balanced teachers beside them


@dataclass(frozen=True)
class Study(multi_step.Study):
    groups: Groups
    fairness: Fairness  # groups of people in photographs, that bias is measured between


def teachers_of(study: Study) -> dict[str, IdentityPart | None]:
    """{teacher: whom it is taught on}; None: everybody."""
    parts = range(study.groups.parts)
    rules = {BALANCED: BALANCED, SPECIALISED: study.groups.by}
    groups = {
        f"{kind}-{part}": IdentityPart(part, study.groups.parts, rule)
        for kind, rule in rules.items()
        for part in parts
    }
    return {SINGLE: None, **groups}


def fused_of(study: Study, kind: str) -> list[str]:
    """The teachers of whose embeddings one target is made."""
    return [f"{kind}-{part}" for part in range(study.groups.parts)]


def check_study(study: Study) -> None:
    """Raises InputError, in one line, for what no training can have, whatever the faces."""
    multi_step.check_study(study, NAME)
    if study.groups.by == BALANCED or study.groups.parts < 2:
        raise InputError(
            f"{WHERE}: groups: {study.groups.parts} by {study.groups.by}: specialists are of two "
            "groups or more that have something of their own: by region, round or an attribute"
        )
