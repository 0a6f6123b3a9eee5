"""Bad input is one clear line each, before any step is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import train.engine.trainer as trainer
from manifests.core.errors import InputError
from manifests.settings.params import Params
from tests.train.toys import OUT, small_params, with_engine, with_train
from train.engine.preflight import check_run, differences
from train.engine.processes import ALONE, Processes
from train.engine.supervised import open_plan
from train.engine.trainer import train_run


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trainer, "train_steps", None)  # nothing may come so far
    return small_params()


def noise(params: Params, **changes: Any) -> Params:
    return with_train(params, noise=replace(params.train.noise, **changes))


BAD: list[tuple[Callable[[Params], Params], str]] = [
    (lambda p: with_engine(p, drops=(0.7, 0.2)), r"drops: \[0\.7, 0\.2\], expected them ascending"),
    (lambda p: with_train(p, round_weights={"mars": 2.0}), "'mars'; valid names: .*pool"),
    (lambda p: noise(p, randaugment=2, strongest=0), "strongest: 0, expected a bin of 1..30"),
    (lambda p: with_train(p, batch=1), r"batch: 1 among 1 processes: of one face BatchNorm"),
    (lambda p: with_train(p, batch=160), r"less than one batch of 160|fewer than one batch of 160"),
]


@pytest.mark.parametrize(("change", "text"), BAD, ids=[text[:20] for _, text in BAD])
def test_bad_parameters_are_said_in_one_line(
    params: Params, change: Callable[[Params], Params], text: str
) -> None:
    with pytest.raises(InputError, match=text) as found:
        train_run(open_plan("start", ["pool"], None, change(params)), OUT)
    assert "\n" not in str(found.value)


def test_a_batch_larger_than_the_set(params: Params) -> None:
    runs = {"start": replace(params.train.runs["start"], faces_seen=1600)}
    with pytest.raises(InputError, match=r"usable faces are fewer than one batch of 160; lower"):
        train_run(open_plan("start", ["pool"], None, with_train(params, batch=160, runs=runs)), OUT)


def test_a_run_that_never_warms_up_says_so(
    params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    for faces, said in ((1000, "start sees 160 faces, and warms up for 1000"), (32, "")):
        check_run(open_plan("start", ["pool"], None, with_train(params, warmup_faces=faces)), ALONE)
        err = capsys.readouterr().err
        assert (said in err) if said else "warning" not in err


def test_a_compiler_must_be_there_to_compile(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match=r"no C\+\+ compiler"):
        train_run(open_plan("start", ["pool"], None, with_engine(params, compile=True)), OUT)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_device_must_be_there(params: Params) -> None:
    with pytest.raises(InputError, match="device 'cuda'; expected auto, cpu, or cuda where"):
        train_run(open_plan("start", ["pool"], None, replace(params, device="cuda")), OUT)


def test_a_batch_must_divide_among_processes(params: Params) -> None:
    plan = open_plan("start", ["pool"], None, params, 3)
    with pytest.raises(InputError, match="16 cannot be shared out evenly among 3 processes"):
        train_run(plan, OUT, Processes(0, 3))


def test_weights_may_be_of_rounds_to_come(params: Params) -> None:
    plan = open_plan("start", ["pool"], None, with_train(params, round_weights={"mined-1": 3.0}))
    assert plan.weights == [1.0]


def test_differences_are_named_by_their_place() -> None:
    before = {"train": {"batch": 16, "engine": {"ema": 0.0}}, "threads": 1}
    now = {"train": {"batch": 16, "engine": {"ema": 0.5}}, "stores": []}
    assert list(differences(before, now)) == [
        ("stores", "null", "[]"), ("threads", "1", "null"), ("train.engine.ema", "0.0", "0.5"),
    ]  # fmt: skip
    assert not list(differences(now, now))


def test_a_long_difference_is_shown_from_its_place() -> None:
    """Else both texts begin alike, and end before they differ."""
    before, now = ({"terms": ["x" * 100, name, "y" * 100]} for name in ("one", "two"))
    ((key, old, new),) = differences(before, now)
    assert key == "terms" and "one" in old and "two" in new and len(old) == len(new) == 81
