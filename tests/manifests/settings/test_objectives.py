"""What `train.loss` and its neighbours may say, and how what they may not is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from manifests.core.errors import InputError
from manifests.settings.objectives import (
    MARGINS,
    TERMS,
    CertaintyRatio,
    Cosine,
    IdentityPart,
    Losses,
    Margin,
    Plain,
    Tuition,
)
from manifests.settings.params import load_params
from manifests.settings.presets import merged
from manifests.settings.training import Run, Train
from tests.conftest import ROOT


def loaded(folder: Path, train: dict[str, Any]) -> Train:
    """The `train` section with `train` merged in."""
    values = merged(yaml.safe_load((ROOT / "params.yaml").read_text()), {"train": train})
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    return load_params(folder / "params.yaml").train


def test_the_default_is_one_plain_name(params) -> None:
    assert params.train.loss == Losses((Plain("standardised-mse"),))


@pytest.mark.parametrize("name", sorted(set(TERMS) - {"gkd", "cr-fiqa"}))
def test_every_loss_may_be_a_name_a_section_or_a_list(tmp_path: Path, name: str) -> None:
    plain = loaded(tmp_path, {"loss": name}).loss
    assert loaded(tmp_path, {"loss": {"name": name}}).loss == plain
    assert loaded(tmp_path, {"loss": [name]}).loss == plain
    (term,) = loaded(tmp_path, {"loss": [{"name": name, "weight": 2}]}).loss.terms
    assert term == replace(plain.terms[0], weight=2.0)


def test_margins_have_the_papers_defaults(tmp_path: Path) -> None:
    found = {name: loaded(tmp_path, {"loss": name}).loss.margin for name in MARGINS}
    assert found["arcface"] == Margin("arcface", scale=64.0, margin=0.5)
    assert found["cosface"] == Margin("cosface", margin=0.4)
    adaface = Margin("adaface", margin=0.4, concentration=0.333, first_norms="released")
    assert found["adaface"] == adaface
    assert found["elastic-arcface"] == Margin("elastic-arcface", margin=0.5, margin_spread=0.05)


def test_terms_say_what_they_need(tmp_path: Path) -> None:
    alone = loaded(tmp_path, {"loss": "arcface"}).loss
    both = loaded(tmp_path, {"loss": ["cosine", {"name": "arcface", "weight": 0.1}]}).loss
    assert (alone.needs_teacher, alone.needs_identities) == (False, ("arcface",))
    assert (both.needs_teacher, both.needs_identities) == (True, ("arcface",))
    assert loaded(tmp_path, {"loss": "ekd"}).loss.needs_identities == ("ekd",)
    assert not loaded(tmp_path, {"loss": "relational"}).loss.needs_identities
    centred = loaded(tmp_path, {"loss": {"name": "arcface", "centres": "adadistill"}}).loss
    assert centred.needs_teacher and centred.needs_identities == ("arcface",)
    assert both.terms[0] == Cosine("cosine")


def test_quality_is_learnt_beside_a_margin_or_on_top_of_a_run(tmp_path: Path) -> None:
    joint = loaded(tmp_path, {"loss": ["arcface", "cr-fiqa"]}).loss
    on_top = loaded(tmp_path, {"loss": {"name": "cr-fiqa", "on_top": "runs/x"}}).loss
    assert joint.certainty == CertaintyRatio("cr-fiqa", 10.0, 0.5, "paper", None)
    assert (joint.on_top, on_top.on_top) == (None, "runs/x")
    assert not joint.needs_teacher and not on_top.needs_teacher
    assert joint.needs_identities == ("arcface", "cr-fiqa")
    assert on_top.needs_identities == ("cr-fiqa",)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("mean", r"loss: unknown loss 'mean'; valid names: adaface, arcface"),
        ([], r"loss: an empty list; name a loss: adaface"),
        (3, r"loss: 3, expected the name of a loss"),
        ({"weight": 1}, r"loss: \{'weight': 1\}, expected the name of a loss"),
        (
            [{"name": "mse", "wieght": 1}],
            r"loss\[0\]: unknown key 'wieght'; known keys: name, weigh",
        ),
        ({"name": "mse", "weight": 0}, r"loss: weight: 0, expected more than 0"),
        ({"name": "mse", "weight": -1}, r"loss: weight: -1, expected more than 0"),
        ({"name": "mse", "weight": "1"}, r"loss: weight: '1' is a str, not float"),
        ({"name": "mse", "centred": True}, r"unknown key 'centred'"),
        (
            {"name": "unit-mse", "convention": "mine"},
            r"loss: convention: 'mine', expected one of squared-distance, pocketnet, kd-",
        ),
        ({"name": "arcface", "margin": -0.1}, r"margin: -0.1, expected 0 to 1.5"),
        ({"name": "arcface", "margin": 3}, r"loss: margin: 3, expected 0 to 1.5"),
        ({"name": "arcface", "scale": 0}, r"scale: 0, expected more than 0"),
        ({"name": "arcface", "margin_spread": 0.1}, r"arcface has no margin_spread"),
        ({"name": "elastic-cosface", "concentration": 1}, r"elastic-cosface has no concentration"),
        ({"name": "ekd", "thresholds": 0}, r"thresholds: 0, expected 1 to 12"),
        ({"name": "ekd", "thresholds": 13}, r"thresholds: 13, expected 1 to 12"),
        ({"name": "ekd", "running_share": 1.5}, r"running_share: 1.5, expected more than 0 and at"),
        ({"name": "gkd"}, r"loss: missing key 'head'"),
        (
            [{"name": "gkd", "head": "runs/t"}],
            r"gkd compares the logits .* name a margin beside it",
        ),
        (["arcface", "cosface"], r"loss: arcface, cosface: one margin, gkd and cr-fiqa at most"),
        ({"name": "cosface", "monotonic": False}, r"cosface has no monotonic"),
        ({"name": "arcface", "first_norms": "batch"}, r"arcface has no first_norms"),
        ({"name": "adaface", "first_norms": "none"}, r"first_norms: 'none', expected one of rel"),
        ({"name": "arcface", "sample_rate": 0}, r"sample_rate: 0, expected more than 0 and at mo"),
        ({"name": "arcface", "centres": "mine"}, r"centres: 'mine', expected one of learnt, adad"),
        ({"name": "mse", "memory": 2}, r"unknown key 'memory'"),
        ({"name": "relational", "memory": 70000}, r"memory: 70000, expected 0 to 65536"),
        (
            [{"name": "cosface", "sample_rate": 0.5}, {"name": "gkd", "head": "runs/t"}],
            r"gkd compares the logits of all identities, sample_rate 0.5 of cosface leaves some o",
        ),
        (
            ["cosface", {"name": "gkd", "head": "runs/t", "group_size": 50, "mass": 0.9}],
            r"loss\[1\]: group_size 50 beside mass, which finds a size; leave one out",
        ),
        ("cr-fiqa", r"cr-fiqa learns from the prototypes of a margin; name one beside it"),
        (["arcface", "cr-fiqa", "cr-fiqa"], r"one margin, gkd and cr-fiqa at most"),
        (
            ["arcface", {"name": "cr-fiqa", "ratio": "best"}],
            r"loss\[1\]: ratio: 'best', expected one of paper, released, ccs",
        ),
        (["arcface", {"name": "cr-fiqa", "beta": 0}], r"beta: 0, expected more than 0"),
        (
            ["arcface", {"name": "cr-fiqa", "on_top": "runs/x"}],
            r"cr-fiqa on top of runs/x trains its own head alone; leave the other terms out",
        ),
    ],
    ids=str,
)
def test_a_loss_that_is_none_is_refused_by_its_key(tmp_path: Path, loss: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        loaded(tmp_path, {"loss": loss})


def test_a_teacher_has_a_weight_or_a_section(tmp_path: Path) -> None:
    found = loaded(tmp_path, {"teachers": {"a": 2, "b": {"projection": True}}}).teachers
    assert found == {"a": Tuition(2.0), "b": Tuition(1.0, projection=True)}


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"teachers": {"a": 0}}, r"teachers: a: weight: 0, expected more than 0"),
        ({"teachers": {"a": None}}, r"teachers: a: weight: None is a NoneType"),
        ({"teachers": ["a"]}, r"teachers: \['a'\], expected a section with keys"),
        ({"teachers": {"a": {"wait": 1}}}, r"teachers: a: unknown key 'wait'"),
        ({"snapshots": "a"}, r"snapshots: 'a', expected a list"),
        ({"embedding_width": 0}, r"embedding_width: 0, expected 1 to 65536"),
    ],
    ids=str,
)
def test_teachers_that_are_none_are_refused(tmp_path: Path, train: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        loaded(tmp_path, train)


def test_a_run_may_see_a_part_of_the_identities(tmp_path: Path) -> None:
    run = {"faces_seen": 64, "rate_from": 1.0, "rate_to": 0.0}
    found = loaded(tmp_path, {"runs": {"one": {**run, "identities": {"part": 1, "parts": 2}}}})
    assert found.runs["one"] == Run(64, 1.0, 0.0, IdentityPart(1, 2))
    with pytest.raises(InputError, match=r"identities: part 2 of 2, counted from 0"):
        loaded(tmp_path, {"runs": {"one": {**run, "identities": {"part": 2, "parts": 2}}}})
