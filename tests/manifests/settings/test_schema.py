"""The schema of params.yaml: current, true to the comments, and as strict as the parser."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.core.parsing import parse
from manifests.params import main
from manifests.settings.objectives import TERMS
from manifests.settings.params import Params, read_yaml
from manifests.settings.presets import merged
from manifests.settings.schema import SCHEMA, comments_of, schema_of
from tests.conftest import ROOT
from tests.references.json_schema import fits

WRITTEN = read_json(ROOT / SCHEMA)
VALUES = read_yaml(ROOT / "params.yaml")
RUN = {"faces_seen": 64, "rate_from": 1.0, "rate_to": 0.0, "identities": {"part": 0, "parts": 2}}
OWN = {  # of a run alone
    "loss": [{"name": "arcface", "margin": 0.4}, "cosine"],
    "student": {"name": "mobilefacenet", "width": 1.0},
    "engine": {"optimizer": "sgd"},
    "noise": {"grain": 0.1},
    "teachers": {"a": 2},
    "embedding_width": None,
    "batch": 32,
}
EVERY_LOSS = [{"name": name, "weight": 2.0} for name in sorted(set(TERMS) - {"gkd"})]
WHOLE = merged(  # what params.yaml leaves out is said here
    VALUES,
    {
        "teachers": {"other": "onnx:models/other.onnx"},
        "render": {"retries": [{"detect_size": 160, "detect_threshold": -1.0}]},
        "train": {
            "student": {"projected_from": 64},
            "engine": {"beta2": 0.999, "faces_an_identity": 4},
            "teachers": {"a": 2, "b": {"weight": 0.5, "projection": True}},
            "embedding_width": 128,
            "snapshots": ["one"],
            "round_weights": {"pool": 2.5},
            "face_weights": {"pool": "a.parquet"},
            "runs": {"start": RUN, "arc": RUN | OWN},
        },
        "verify": {"pairs": "folder"},
    },
)


def parses(values: Any) -> bool:
    try:
        parse(Params, values, "params.yaml")
    except InputError:
        return False
    return True


def with_loss(loss: Any) -> Any:
    return merged(WHOLE, {"train": {"loss": loss}})


def test_the_file_is_as_the_dataclasses_are(workspace: Path, monkeypatch: Any) -> None:
    """If not: facestill params --schema."""
    SCHEMA.unlink(missing_ok=True)
    monkeypatch.setattr("sys.argv", ["params", "--schema"])
    main()
    assert SCHEMA.read_text(encoding="utf-8") == (ROOT / SCHEMA).read_text(encoding="utf-8")


def test_an_editor_finds_it() -> None:
    first = (ROOT / "params.yaml").read_text(encoding="utf-8").partition("\n")[0]
    assert first == f"# yaml-language-server: $schema={SCHEMA}"


@pytest.mark.parametrize("name", ["", *sorted(path.stem for path in ROOT.glob("params/*.yaml"))])
def test_params_and_every_preset_fit(name: str) -> None:
    over = read_yaml(ROOT / f"params/{name}.yaml") if name else {}
    assert fits(merged(VALUES, over), WRITTEN)


def test_what_is_left_out_of_params_fits_too() -> None:
    assert parses(WHOLE) and fits(WHOLE, WRITTEN)


def test_comments_are_descriptions() -> None:
    render = WRITTEN["properties"]["render"]["properties"]
    assert render["frame_size"]["description"] == "pixels of the stored crop"
    assert render["frame_size"] | {"description": ""} == {
        "type": "integer",
        "minimum": 1,
        "maximum": 2**31 - 1,
        "description": "",
    }
    engine = WRITTEN["properties"]["train"]["properties"]["engine"]
    assert engine["description"] == "How steps are made, whatever is learnt in them."
    assert engine["properties"]["batch_norm"] == {
        "enum": ["batch", "frozen"],
        "description": "normalises by the batch, or by its running statistics as they are",
    }
    assert WRITTEN["properties"]["fuse"]["properties"]["loss"] == {
        "$ref": "#/$defs/Losses",
        "description": "a margin alone",
    }


@dataclass(frozen=True)
class Told:
    """Of the test."""

    plain: int
    # first,
    # second
    above: int
    beside: int  # third
    # fourth
    both: (
        int  # fifth
    ) = 0


def test_a_comment_belongs_to_the_field_below_or_beside_it() -> None:
    assert comments_of(Told) == {
        "": "Of the test.",
        "above": "first, second",
        "beside": "third",
        "both": "fourth fifth",
    }
    assert schema_of(Told)["required"] == ["plain", "above", "beside"]


@pytest.mark.parametrize("loss", [*EVERY_LOSS, *(each["name"] for each in EVERY_LOSS)], ids=str)
def test_a_loss_is_a_name_or_a_section_alone_or_in_a_list(loss: Any) -> None:
    beside = ["arcface"] if "cr-fiqa" in str(loss) else []
    assert parses(with_loss([*beside, loss]))
    assert fits(with_loss([*beside, loss]), WRITTEN) and fits(with_loss(loss), WRITTEN)


@pytest.mark.parametrize(
    "loss",
    [
        "mean",
        "gkd",
        3,
        None,
        [],
        {},
        ["arcface", {"name": "gkd"}],
        {"name": "mse", "centred": True},
        {"name": "mse", "weight": 0},
        {"name": "arcface", "margin_spread": 0.1},
        {"name": "elastic-arcface", "running_share": 0.1},
        {"name": "unit-mse", "convention": "mine"},
        [{"name": "ekd", "thresholds": 13}],
    ],
    ids=str,
)
def test_a_loss_that_is_none_is_refused_by_both(loss: Any) -> None:
    assert not parses(with_loss(loss)) and not fits(with_loss(loss), WRITTEN)


Place = tuple[str | int, ...]


def places(value: Any, above: Place = ()) -> Iterator[Place]:
    """Of every value in a tree, sections and lists among them."""
    yield above
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*above, key))


def put(values: Any, place: Place, item: Any) -> Any:
    """A copy of the tree with another value in one place."""
    if not place:
        return item
    values = copy.copy(values)
    values[place[0]] = put(values[place[0]], place[1:], item)
    return values


NUMBERS = st.sampled_from(
    [-1001, -1.5, -1, -1e-9, 0, 1e-9, 0.3, 0.5, 0.999, 1, 1.001, 1.5, 2, 12, 13, 30.5, 31, 1001]
)
OTHERS = st.sampled_from([None, True, "", "ridge", "adamw", [], [1], ["pool"], {}, {"name": "mse"}])
# The parser alone sees two values at once: a rule and its value, a part and how many there are,
# losses that do not go together, rounds and runs that name each other, a folder and its switch.
TOGETHER = {("boundaries", "threshold"), ("train", "runs"), ("train", "loss"), ("fuse", "loss")}
NAMES = {"sample", "mined", "report", "real_faces"}


def seen_together(place: Place) -> bool:
    return place[0] in NAMES or place[:2] in TOGETHER


@given(st.sampled_from(list(places(WHOLE))[1:]), NUMBERS | OTHERS)
def test_the_schema_refuses_what_the_parser_refuses(place: Place, item: Any) -> None:
    values = put(WHOLE, place, item)
    if seen_together(place):
        assert fits(values, WRITTEN) or not parses(values)
    else:
        assert fits(values, WRITTEN) == parses(values)


@given(st.sampled_from(list(places(WHOLE))[1:]), st.booleans())
def test_a_key_too_many_or_too_few_is_refused_by_both(place: Place, more: bool) -> None:
    *above, key = place
    section: Any = WHOLE
    for step in above:
        section = section[step]
    if not isinstance(section, dict):
        return
    others = section | {"surplus": 1} if more else {k: v for k, v in section.items() if k != key}
    values = put(WHOLE, tuple(above), others)
    if seen_together(place):
        assert fits(values, WRITTEN) or not parses(values)
    else:
        assert fits(values, WRITTEN) == parses(values)


OPTIONS = [
    (name, field.name)
    for name, kind in TERMS.items()
    for field in fields(kind)
    if field.name not in ("name", "on_top")
]


@given(st.sampled_from(OPTIONS), NUMBERS | OTHERS)
def test_so_it_does_with_the_options_of_losses(option: tuple[str, str], item: Any) -> None:
    name, key = option
    head = {"head": "runs/x"} if name == "gkd" else {}
    beside = ["arcface"] if name in ("gkd", "cr-fiqa") else []
    values = with_loss([*beside, {"name": name, **head, key: item}])
    assert fits(values, WRITTEN) == parses(values)


@pytest.mark.parametrize(
    "own",
    [
        {"studen": {}}, {"student": {"widt": 1.0}}, {"student": {"width": 0.0}}, {"student": None},
        {"loss": "arcfac"}, {"batch": 0}, {"runs": {}}, {"own": {}}, {"engine": {"ema": 1.0}},
    ],
    ids=str,
)  # fmt: skip
def test_what_a_run_has_of_its_own_is_held_to_the_same_types(own: dict[str, Any]) -> None:
    for place in ({"train": {"runs": {"start": own}}}, {"mined": {"mined-2": own}}):
        values = merged(VALUES, place)
        assert not parses(values) and not fits(values, WRITTEN)
