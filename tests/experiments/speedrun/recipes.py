"""The recipes of the speedrun, and how an arm is made of them.

A recipe says what it has in place of the base's, as a run of params.yaml would: keys of `train`,
of `student`, `noise` and `engine` some of theirs. An arm is a recipe (`ema`), several at once
(`ema+rate-double`: where both say a key, the later one holds), for so many times their faces seen
(`ema-x3`). No real face is in the rounds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

from manifests.core.errors import InputError, pick
from manifests.core.layout import POOL
from manifests.settings.params import Params
from manifests.settings.training import SECTIONS, Run
from tests.experiments.arms import ARM

BASE = "base"
MORE = "more"  # a second round of the prior, which the experiment renders
FACES_SEEN = 120_000  # by an arm of length 1
ROUNDS = (POOL, MORE)
SPELLING = re.compile(r"(.+?)(?:-x(\d+(?:\.\d+)?))?")
STUDENT = {"name": "small-resnet", "input_size": 64, "width": 0.59}
NOISE = {
    "rotation": 0.06, "zoom": 0.05, "shift": 0.02, "gamma": 0.2, "contrast": 0.2,
    "brightness": 0.08, "tint": 0.08, "grey": 0.5,
}  # fmt: skip
# What all have that do not say otherwise: the default of November 2026, whatever ships today.
COMMON = {
    "rate_from": 1.0, "rate_to": 0.0, "learning_rate": 2e-3, "batch": 64, "student": STUDENT,
    "noise": NOISE, "engine": {"precision": "bfloat16", "optimizer": "adamw"},
}  # fmt: skip
STRONG = {"crop": 0.3, "hue": 0.2, "low_resolution": 0.3, "blur": 1.0}


def noise(times: float) -> dict[str, Any]:
    """The base's noise at so many times its strength."""
    return {"noise": {name: value * times for name, value in NOISE.items()}}


@dataclass(frozen=True)
class Recipe:
    changes: Mapping[str, Any] = field(default_factory=dict)  # as in a run of params.yaml
    length: float = 1.0  # times FACES_SEEN
    rounds: Sequence[str] = ROUNDS


def student(name: str, width: float, input_size: int = 64) -> dict[str, Any]:
    return {"student": {"name": name, "width": width, "input_size": input_size}}


# Lengths of other students: as many faces as cost the base's seconds (docs/STUDENTS.md).
RECIPES: Mapping[str, Recipe] = {
    BASE: Recipe(),
    # students
    "edgeface-xxs": Recipe(student("edgeface-xxs", 0.91)),
    "tinyfar-c": Recipe(student("tinyfar-c", 0.84), 4 / 5),
    "iresnet-18": Recipe(student("iresnet-18", 0.25), 1 / 2),
    "input-96": Recipe(student("small-resnet", 0.59, 96), 4 / 9),
    "half": Recipe(student("small-resnet", 0.5), 3 / 2),
    "wide": Recipe(student("small-resnet", 1.0), 2 / 5),
    "stillnet-m": Recipe(student("stillnet-m", 1.0)),
    "stillnet-s": Recipe(student("stillnet-s", 1.0)),
    # what is learnt from
    "mse": Recipe({"loss": "mse"}),
    "cosine": Recipe({"loss": "cosine"}),
    "relational-too": Recipe({"loss": ["standardised-mse", "relational"]}),
    "pool-only": Recipe(rounds=(POOL,)),
    "no-noise": Recipe(noise(0.0)),
    "noise-quarter": Recipe(noise(0.25)),
    "noise-half": Recipe(noise(0.5)),
    "strong-noise": Recipe({"noise": STRONG}),
    # steps
    "float32": Recipe({"engine": {"precision": "float32"}}),
    "rate-half": Recipe({"learning_rate": 1e-3}),
    "rate-double": Recipe({"learning_rate": 4e-3}),
    "rate-4": Recipe({"learning_rate": 8e-3}),
    "batch-32": Recipe({"batch": 32}),
    "batch-128": Recipe({"batch": 128}),
    "cosine-schedule": Recipe({"engine": {"schedule": "cosine"}}),
    "muon": Recipe({"engine": {"optimizer": "muon"}}),  # at 10 times the rate
    "muon-6": Recipe({"engine": {"optimizer": "muon", "muon_rate": 6.0}}),
    "muon-20": Recipe({"engine": {"optimizer": "muon", "muon_rate": 20.0}}),
    "ema": Recipe({"engine": {"ema": 0.99}}),
    "ema-long": Recipe({"engine": {"ema": 0.999}}),
}
# What is run when nothing is named: all of them, and some at other lengths.
ARMS = (
    *RECIPES, "base-x0.33", "base-x2", "base-x3", "pool-only-x3", "strong-noise-x3", "input-96-x3",
    "rate-half-x3", "rate-double-x3", "rate-4-x3", "batch-32-x3", "ema-x3",
)  # fmt: skip


def spelt(text: str) -> tuple[str, float]:
    """The recipes of an arm's name, and times their length."""
    found = SPELLING.fullmatch(text)
    name, times = found.groups() if found else ("", None)
    return name, float(times or 1.0)


@dataclass(frozen=True)
class Arm:
    name: str  # as its results are called
    recipe: Recipe  # of whole length

    @classmethod
    def parsed(cls, text: str) -> Arm:
        """Raises InputError for an unknown recipe, and for what sees no face."""
        names, times = spelt(text)
        if not times:
            raise InputError(f"arm {text!r}: sees no face; expected a length such as {names}-x3")
        found = reduce(both, (pick("recipe", name, RECIPES) for name in names.split("+")))
        ending = "" if times == 1.0 else f"-x{times:g}"
        return cls(f"{names}{ending}", replace(found, length=found.length * times))

    @property
    def run(self) -> dict[str, Any]:
        """As it would stand in params.yaml under `train: runs`."""
        faces_seen = round(FACES_SEEN * self.recipe.length)
        return {"faces_seen": faces_seen, **merged(COMMON, self.recipe.changes)}

    def params(self, seed: int, params: Params) -> Params:
        run = Run.parsed(self.run, f"arm {self.name}")
        return replace(params, train=replace(params.train, runs={ARM: run}, seed=seed))


def both(one: Recipe, other: Recipe) -> Recipe:
    """Changes of the first, then of the other; their lengths multiply."""
    rounds = other.rounds if other.rounds != ROUNDS else one.rounds
    return Recipe(merged(one.changes, other.changes), one.length * other.length, rounds)


def merged(changes: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    parts = {name: {**changes.get(name, {}), **more.get(name, {})} for name in SECTIONS}
    return {**changes, **more, **{name: part for name, part in parts.items() if part}}
