"""Every number that is parsed has a bound beside it, and is held to it."""

from __future__ import annotations

import importlib
import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import yaml
from annotated_types import Interval

from eval.attributes.head_networks import SHARED
from manifests.cards.verifications import Figures, OperatingPoint
from manifests.core import layout
from manifests.core.bounds import Real, Seed, limits_of
from manifests.core.errors import InputError
from manifests.core.parsing import parse
from manifests.records.exports import Export
from manifests.records.marks import REASONS
from manifests.settings.heads import HeadSettings
from manifests.settings.objectives import TERMS, Losses, UnitMse
from manifests.settings.params import (
    BoundaryParams,
    Identities,
    Mine,
    Params,
    Threshold,
    load_params,
    read_yaml,
)
from manifests.settings.presets import merged
from manifests.settings.training import Engine, Fuse, Optimizer, Reason
from manifests.stores.latents import SPACES
from manifests.studies.usynthface import Contrast
from manifests.takeaway.hdf5 import Contents
from pipeline.generators.base import AUTO
from pipeline.identities.labels import RULES
from pipeline.identities.planes import SOLVERS
from pipeline.identities.sampling_laws import LAWS as SAMPLING_LAWS
from pipeline.mining.mining_laws import AS_PUBLISHED, PRIOR
from pipeline.mining.mining_laws import LAWS as MINING_LAWS
from pipeline.mining.regions import HARDNESS
from tests.conftest import ROOT
from train.engine.optimizers import OPTIMIZERS, SCHEDULES
from train.losses.adaptors import KINDS
from train.losses.regression import CONVENTIONS
from train.studies.usynthface.margin_nce import REPLACEMENTS

STUDIES = sorted(
    path.stem for path in (ROOT / layout.STUDY_PARAMS).glob("*.yaml") if path.stem != "dvc"
)
ROOTS: dict[str, type] = {
    kind.__name__: kind for kind in (Params, Export, Figures, OperatingPoint, Contents)
} | {
    name: importlib.import_module(f"manifests.studies.{name.replace('-', '_')}").Study
    for name in STUDIES
}


def leaves(kind: Any, where: str) -> Iterator[tuple[str, Any]]:
    """(place, type) of whatever is no section, list or mapping of others."""
    if kind is Losses:
        for name, term in TERMS.items():
            yield from leaves(term, f"{where}: {name}")
    elif is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        for field in fields(kind):
            yield from leaves(hints[field.name], f"{where}: {field.name}")
    elif get_origin(kind) in (Annotated, Literal, None):
        yield where, kind
    elif get_origin(kind) in (Union, types.UnionType):
        yield from leaves(get_args(kind)[0], where)
    else:
        yield from leaves(get_args(kind)[0 if get_origin(kind) is tuple else 1], where)


LEAVES = [leaf for name, kind in ROOTS.items() for leaf in leaves(kind, name)]
BOUNDED = [(where, kind) for where, kind in LEAVES if get_origin(kind) is Annotated]


def test_no_number_is_without_a_bound() -> None:
    assert [where for where, kind in LEAVES if kind in (int, float)] == []
    assert all(isinstance(get_args(kind)[1], Interval) for _, kind in BOUNDED)
    assert len({where.partition(":")[0] for where, _ in BOUNDED}) == len(ROOTS)


def outside(kind: Any) -> Iterator[tuple[float | int, float | int]]:
    """(a value next to a limit and beyond it, the nearest that is allowed) for each limit."""
    whole, bound = get_args(kind)
    for name, limit in limits_of(bound).items():
        far = -math.inf if name in ("ge", "gt") else math.inf
        if whole is int:
            step = -1 if far < 0 else 1
            yield (limit + step, limit)
        elif name in ("ge", "le"):
            yield (math.nextafter(limit, far), limit)
        else:
            yield (limit, math.nextafter(limit, -far))


@pytest.mark.parametrize(("where", "kind"), BOUNDED, ids=[where for where, _ in BOUNDED])
def test_a_number_is_held_to_its_bound(where: str, kind: Any) -> None:
    for wrong, right in outside(kind):
        assert parse(kind, right, where) == right
        with pytest.raises(InputError) as caught:
            parse(kind, wrong, where)
        shown = f"{wrong:g}" if isinstance(wrong, float) else str(wrong)
        assert str(caught.value).startswith(f"{where}: {shown}, expected ")
    with pytest.raises(InputError, match="is a bool, not"):
        parse(kind, True, where)
    if get_args(kind)[0] is float:
        with pytest.raises(InputError, match="inf is not a finite number"):
            parse(kind, math.inf, where)


def names_of(kind: type, field: str) -> set[str]:
    return set(get_args(get_type_hints(kind, include_extras=True)[field]))


@pytest.mark.parametrize(
    ("said", "served"),
    [
        (names_of(Params, "latent_space"), {*SPACES, AUTO}),
        (names_of(BoundaryParams, "solver"), SOLVERS),
        (names_of(Threshold, "rule"), RULES),
        (names_of(Identities, "law"), SAMPLING_LAWS),
        (names_of(Mine, "law"), {*MINING_LAWS, PRIOR, AS_PUBLISHED}),
        (names_of(Mine, "hardness"), HARDNESS),
        (set(get_args(Optimizer)), OPTIMIZERS),
        (names_of(Engine, "schedule"), SCHEDULES),
        (names_of(Fuse, "kind"), KINDS),
        (set(get_args(Reason)), REASONS),
        (names_of(UnitMse, "convention"), CONVENTIONS),
        (names_of(Contrast, "replacement"), REPLACEMENTS),
        (names_of(HeadSettings, "architecture"), SHARED),
    ],
)
def test_each_name_that_may_be_said_is_served(said: set[str], served: Mapping[str, Any]) -> None:
    assert said == set(served)


def refusal(folder: Path, file: str, over: Mapping[str, Any]) -> str:
    path = folder / Path(file).name
    path.write_text(yaml.safe_dump(merged(read_yaml(ROOT / file), over)))
    kind = ROOTS["Params" if file == "params.yaml" else Path(file).stem]
    with pytest.raises(InputError) as caught:
        load_params(path) if kind is Params else parse(kind, read_yaml(path), str(path))
    return str(caught.value).removeprefix(f"{folder}/")


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"render": {"shard_rows": 0}}, "render: shard_rows: 0, expected at least 1"),
        (
            {"render": {"retries": [{"detect_size": 0, "detect_threshold": 0.0}]}},
            "render: retries[0]: detect_size: 0, expected at least 1",
        ),
        ({"sample": {"pool": {"seed": -1}}}, "sample: pool: seed: -1, expected at least 0"),
        (
            {"sample": {"pool": {"seed": 2**32}}},
            f"sample: pool: seed: {2**32}, expected at most {2**32 - 1}",
        ),
        (
            {"sample": {"pool": {"count": 2**31}}},
            f"sample: pool: count: {2**31}, expected at most {2**31 - 1}",
        ),
        ({"train": {"learning_rate": 1e39}}, "train: learning_rate: 1e+39, expected at most 1e+38"),
        ({"psi": -1e39}, "psi: -1e+39, expected at least -1e+38"),
        (
            {"train": {"student": {"width": 1e300}}},
            "train: student: width: 1e+300, expected more than 0 and at most 100",
        ),
        (
            {"train": {"student": {"input_size": 10**9}}},
            "train: student: input_size: 1000000000, expected 1 to 4096",
        ),
        ({"train": {"noise": {"zoom": 1e300}}}, "train: noise: zoom: 1e+300, expected 0 to 10"),
        ({"train": {"noise": {"blur": 1e9}}}, "train: noise: blur: 1e+09, expected 0 to 32"),
        (
            {"train": {"noise": {"randaugment": 10**9}}},
            "train: noise: randaugment: 1000000000, expected 0 to 100",
        ),
        (
            {"train": {"runs": {"start": {"faces_seen": 10**30}}}},
            f"train: runs: start: faces_seen: {10**30}, expected 0 to 1000000000000",
        ),
        (
            {"train": {"learning_rate": 10**400}},
            "train: learning_rate: 10000000000000000000… is no number of float",
        ),
        (
            {"train": {"round_weights": {1: 2.0}}},
            "train: round_weights: key 1 is a int; quote a name",
        ),
        ({"fuse": {"epochs": 10**9}}, "fuse: epochs: 1000000000, expected 1 to 10000"),
        ({"screen": {"least_cosine": 1.5}}, "screen: least_cosine: 1.5, expected -1 to 1"),
        (
            {"boundaries": {"solver": "svm"}},
            "boundaries: solver: 'svm', expected one of ridge, linear_svc",
        ),
        ({"boundaries": {"penalty": 1e308}}, "boundaries: penalty: 1e+308, expected 0 to 1e+06"),
        (
            {"boundaries": {"most_alike": -1}},
            "boundaries: most_alike: -1, expected more than -1 and at most 1",
        ),
        (
            {"boundaries": {"threshold": {"rule": "mode"}}},
            "boundaries: threshold: rule: 'mode', expected one of median, quantile, cosine",
        ),
        (
            {"boundaries": {"threshold": {"rule": "quantile", "value": 1.0}}},
            "boundaries: threshold: value: 1, expected more than 0 and less than 1 for rule "
            "quantile",
        ),
        (
            {"boundaries": {"threshold": {"rule": "cosine", "value": -1.0}}},
            "boundaries: threshold: value: -1, expected more than -1 and less than 1 for rule "
            "cosine",
        ),
        ({"identities": {"jitter": 1e300}}, "identities: jitter: 1e+300, expected 0 to 1000"),
        ({"identities": {"decorrelation": 2}}, "identities: decorrelation: 2, expected 0 to 1"),
        ({"quality": {"most_eer": 5}}, "quality: most_eer: 5, expected 0 to 1"),
        ({"train": {"learning_rate": -1e-3}}, "train: learning_rate: -0.001, expected more than 0"),
        (
            {"train": {"runs": {"start": {"rate_to": -0.5}}}},
            "train: runs: start: rate_to: -0.5, expected 0 to 1",
        ),
        ({"train": {"noise": {"grey": 1.5}}}, "train: noise: grey: 1.5, expected 0 to 1"),
        ({"train": {"noise": {"strongest": 31}}}, "train: noise: strongest: 31, expected 0 to 30"),
        (
            {"train": {"engine": {"ema": 1.0}}},
            "train: engine: ema: 1, expected at least 0 and less than 1",
        ),
        (
            {"train": {"engine": {"drops": [0.5, 1.0]}}},
            "train: engine: drops[1]: 1, expected more than 0 and less than 1",
        ),
        (
            {"train": {"engine": {"precision": "fp8"}}},
            "train: engine: precision: 'fp8', expected one of auto, float32, bfloat16",
        ),
        (
            {"train": {"round_weights": {"pool": 0}}},
            "train: round_weights: pool: 0, expected more than 0 and at most 1000",
        ),
        (
            {"train": {"leave_out": ["ugly"]}},
            "train: leave_out[0]: 'ugly', expected one of near_duplicate, low_quality, "
            "off_identity, low_utility",
        ),
        ({1: 2, "minus": 3}, "unknown key 1; known keys: generator, "),
        ({"latent_space": True}, "latent_space: True, expected one of z, w, w+, auto"),
    ],
    ids=str,
)
def test_a_wrong_value_is_named_with_file_section_and_bound(
    tmp_path: Path, over: dict[str, Any], message: str
) -> None:
    assert refusal(tmp_path, "params.yaml", over).startswith(f"params.yaml: {message}")


@pytest.mark.parametrize(
    ("name", "over", "message"),
    [
        ("usynthface", {"contrast": {"queue": 0}}, "contrast: queue: 0, expected at least 1"),
        ("usynthface", {"contrast": {"margin": 2.5}}, "contrast: margin: 2.5, expected 0 to 2"),
        (
            "usynthface",
            {"contrast": {"replacement": "lifo"}},
            "contrast: replacement: 'lifo', expected one of fifo, most-similar, least-similar",
        ),
        ("usynthface", {"augmentation": {"strongest": 31}}, "strongest: 31, expected 1 to 30"),
        ("usynthface", {"descent": {"optimizer": "lamb"}}, "'lamb', expected one of adamw, sgd"),
        ("cr-fiqa", {"distilled": {"seeds": 0}}, "distilled: seeds: 0, expected at least 1"),
        (
            "cr-fiqa",
            {"distilled": {"quarantined": 1}},
            "distilled: quarantined: 1, expected more than 0 and less than 1",
        ),
        ("fair-distillation", {"fairness": {"groups": 1}}, "groups: 1, expected at least 2"),
        (
            "fair-distillation",
            {"data": {"real": {"parts": [{"rounds": ["pool"], "share": 1.2}]}}},
            "data: real: parts[0]: share: 1.2, expected more than 0 and at most 1",
        ),
        (
            "fair-distillation",
            {"data": {"real": {"labels": "most"}}},
            "data: real: labels: 'most', expected one of all, some, none",
        ),
        ("attribute-drift", {"heads": {"batch": 1}}, "heads: batch: 1, expected 2 to 1048576"),
    ],
    ids=str,
)
def test_so_it_is_in_studies(tmp_path: Path, name: str, over: dict[str, Any], message: str) -> None:
    found = refusal(tmp_path, layout.study_params(name).as_posix(), over)
    assert found.startswith(f"{name}.yaml: ") and message in found


def test_a_whole_number_that_no_float_can_be_is_refused() -> None:
    with pytest.raises(InputError, match=r"x: 1000.* is no number of float"):
        parse(Real, 10**400, "x")
    with pytest.raises(InputError, match="x: 4294967296, expected at most 4294967295"):
        parse(Seed, 1 << 32, "x")
