"""A suite's benchmarks opened and measured: what is there already is taken, what is not is made.

A benchmark that is not there, or that cannot be measured, leaves a reason instead of results.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from eval.benchmarks import open_benchmark, open_pairs, require_kind
from eval.benchmarks.base import Protocol
from eval.photos.embedding import Kept
from eval.photos.models import Model
from eval.photos.verification import METRICS, identity_of, verify_models
from eval.scoring.results import read_result
from manifests.core import layout
from manifests.core.backends import split_kind
from manifests.core.errors import InputError, plain
from manifests.core.files import read_json
from manifests.settings.params import Params
from manifests.settings.suite import Places, Suite

PAIRS = "pairs"  # without an argument: the folder under verify: pairs in params.yaml
ALONE = ("orl", PAIRS)  # kinds that need no argument


@dataclass(frozen=True)
class Measured:
    """A benchmark of a suite: the folders of its results by model, and of each of the others why
    there is none."""

    opened: str = ""  # KIND:ARGUMENT
    results: Mapping[str, Path] = field(default_factory=dict)
    why_not: Mapping[str, str] = field(default_factory=dict)
    broken: bool = False  # it is there, and nothing or not all of it could be measured


class AbsentError(InputError):
    """A benchmark that is not there: no fault."""


def check_kinds(suite: Suite, where: Path) -> None:
    """Raises InputError for a benchmark of a kind that does not exist, and for one that says not
    where it lies."""
    for name, places in suite.benchmarks.items():
        for text in places.texts:
            try:
                require_kind(text)
                kind, argument = split_kind(text)
                if not argument and kind not in ALONE:
                    raise InputError(f"{text}: lies where? {kind}:PATH, relative to --data")
            except InputError as error:
                raise InputError(f"{where}: benchmarks: {name}: {error}") from None


def require_unlike(models: Sequence[Model]) -> None:
    """Raises InputError for a model that is named twice."""
    named: dict[str, str] = {}
    for model in models:
        if model.sha256 in named:
            before = named[model.sha256]
            raise InputError(f"--models: {before} and {model.name} are one model; name it once")
        named[model.sha256] = model.name


def locate(places: Places, data: Path) -> str:
    """KIND:ARGUMENT of the first place where something lies. Raises AbsentError."""
    missed = []
    for text in places.texts:
        kind, argument = split_kind(text)
        if not argument:
            return kind
        if (data / argument).exists():
            return f"{kind}:{data / argument}"
        way, _, place = argument.rpartition(":")  # unweighted:IJBC
        if way.isidentifier() and (data / place).exists():
            return f"{kind}:{way}:{data / place}"
        missed.append(f"{data / argument}")
    raise AbsentError(f"nothing lies at {' or '.join(missed)}")


Opened = tuple[str, Protocol] | InputError  # KIND:ARGUMENT and what lies there, or why not


def open_all(suite: Suite, data: Path, params: Params) -> dict[str, Opened]:
    """Every benchmark opened, with what was opened, or why not: all that can be refused is known
    before anything is measured."""
    found: dict[str, Opened] = {}
    for name, places in suite.benchmarks.items():
        try:
            found[name] = _open(locate(places, data), params)
        except InputError as error:
            found[name] = error
    return found


def _open(text: str, params: Params) -> tuple[str, Protocol]:
    """With what was opened."""
    if text != PAIRS:
        return text, open_benchmark(text)
    folder = params.verify.pairs
    if folder is None:
        raise AbsentError("no folder is named under verify: pairs in params.yaml")
    return f"{PAIRS}:{folder}", open_pairs(folder, params.verify.protocol)


def measure_all(opened: Mapping[str, Opened], models: Sequence[Model]) -> dict[str, Measured]:
    kept = Kept.among(own[1] for own in opened.values() if not isinstance(own, InputError))
    return {name: measure(name, own, models, kept) for name, own in opened.items()}


def measure(
    name: str, opened: Opened, models: Sequence[Model], kept: Kept | None = None
) -> Measured:
    """Of one benchmark; what is finished is on disk, so that a run that was stopped goes on."""
    if isinstance(opened, InputError):
        absent = isinstance(opened, AbsentError)
        if not absent:
            _say(f"error: {name}: {_line(opened)}")
        return Measured("", {}, dict.fromkeys((m.name for m in models), _line(opened)), not absent)
    text, protocol = opened
    results = find_results(models, protocol)
    missing = [model for model in models if model.name not in results]
    _say(f"{name}: {len(results)} of {len(models)} results are there")
    made, why_not = _made(name, missing, protocol, kept)
    every = results | made
    ordered = {model.name: every[model.name] for model in models if model.name in every}
    return Measured(text, ordered, why_not, bool(why_not))


def _say(line: str) -> None:
    print(plain(line), file=sys.stderr)


def _line(error: InputError) -> str:
    """Of several faults how many there are, and the first."""
    lines = str(error).splitlines()
    return lines[0] if len(lines) == 1 else f"{lines[0]}, the first: {' '.join(lines[1].split())}"


def find_results(models: Sequence[Model], protocol: Protocol) -> dict[str, Path]:
    """Results of these models on this protocol by their own views, a suite's or of the flow."""
    flow = sorted((layout.REPORTS / "verify").glob(f"*/*/{METRICS}"))
    found = {}
    for model in models:
        asked = identity_of(model, protocol)
        own = layout.suite_result(asked["protocol_sha256"], asked["model_sha256"])
        for folder in (own, *(path.parent for path in flow)):
            if _holds(folder, asked):
                found[model.name] = folder
                break
    return found


def _holds(folder: Path, asked: Mapping[str, str]) -> bool:
    """Whether a sound result of this lies there: one that is damaged is measured again."""
    with suppress(InputError):
        said = read_json(folder / METRICS)
        if isinstance(said, Mapping) and {name: said.get(name) for name in asked} == asked:
            try:
                if said.get("num_folds") != 1:  # of one fold no decision can be proven
                    read_result(folder)
            except InputError as error:
                _say(f"warning: {error}; measured again")
                return False
            return True
    return False


def _made(
    name: str, models: Sequence[Model], protocol: Protocol, kept: Kept | None
) -> tuple[dict[str, Path], dict[str, str]]:
    """Results, and why there is none: of all at once, each image decoded once; where that fails
    one by one, so that a model that cannot be measured costs no other one its result."""
    if not models:
        return {}, {}
    try:
        return _verified(models, protocol, kept), {}
    except InputError as error:
        if len(models) == 1:
            _say(f"error: {name}: {_line(error)}")
            return {}, {models[0].name: _line(error)}
    results: dict[str, Path] = {}
    why_not: dict[str, str] = {}
    for model in models:
        made, failed = _made(name, [model], protocol, kept)
        results |= made
        why_not |= failed
    return results, why_not


def _verified(models: Sequence[Model], protocol: Protocol, kept: Kept | None) -> dict[str, Path]:
    done = {}
    made = verify_models(models, protocol, None, kept)
    for model, verification in zip(models, made, strict=True):
        asked = identity_of(model, protocol)
        out = layout.suite_result(asked["protocol_sha256"], asked["model_sha256"])
        verification.write(out)
        done[model.name] = out
    return done
