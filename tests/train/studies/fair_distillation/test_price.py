"""Prices of a grid: exact counts, rates that say where they are from, nothing written."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import read_json, write_json
from manifests.studies.fair_distillation import NAME, Study, models
from tests.study_students import lay_out_params
from train.checkpoint import LOG
from train.studies.fair_distillation.price import (
    load_size,
    main,
    parse_rates,
    prices,
    recorded_rate,
)

RATES = {"iresnet-50": 1000.0, "iresnet-34": 1500.0, "mobilefacenet": 2000.0}


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lay_out_params()


@pytest.fixture
def smoke() -> Study:
    """With students that are built and measured in no time."""
    study = load_size(None)
    small = {name: replace(own, input_size=32) for name, own in study.students.items()}
    return replace(study, students=small)


def test_the_full_size_is_a_plan_of_33_models_a_seed() -> None:
    study = load_size("full")
    found = prices(study, RATES, "cpu", real_faces=False)
    assert sum(own.num_models for own in found) == 33 * len(study.seeds)
    assert sum(own.waiting for own in found) == (33 - 6) * len(study.seeds)
    first = found[0]
    assert (first.student, first.num_models, first.source) == ("iresnet-50", 33, "stated")
    assert first.num_params == 43_590_848  # IResNet-50 of 512 dimensions
    assert first.hours == pytest.approx(33 * 32_472_232 / 1000 / 3600)
    assert first.hours_now == pytest.approx(first.hours * 6 / 33)
    assert first.num_bytes == 4 * 43_590_848 * (33 + 4)


def test_without_a_rate_it_is_measured_or_taken_from_runs(smoke: Study) -> None:
    student = smoke.students["small-resnet"]
    assert recorded_rate(student) is None
    measured = {own.student: own for own in prices(smoke, {}, "cpu", real_faces=False)}
    assert measured["small-resnet"].source.startswith("measured now, 3 steps of 16 faces on cpu")
    assert measured["small-resnet"].faces_a_second > 0
    for number, seconds in enumerate((10.0, 20.0, 40.0)):
        log = {
            "student": {"faces_seen": 1000}, "params": {"student": asdict(student)},
            "after": None, "train_seconds": seconds,
        }  # fmt: skip
        write_json(layout.study_run(NAME, f"x/run-{number}") / LOG, log)
    assert recorded_rate(student) == (50.0, "median of 3 runs here")
    assert recorded_rate(replace(student, width=1.0)) is None


def test_what_is_trained_is_what_is_priced_less_what_waits(smoke: Study) -> None:
    for allowed in (False, True):
        rates = dict.fromkeys(smoke.students, 100.0)
        found = prices(smoke, rates, "cpu", real_faces=allowed)
        trained = models(smoke, real_faces=allowed)
        assert sum(own.num_models - own.waiting for own in found) == len(trained)


def test_the_command_says_it_and_merges_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = layout.study_params(NAME).read_bytes()
    stated = [word for name, rate in RATES.items() for word in ("--rate", f"{name}={rate}")]
    monkeypatch.setattr("sys.argv", ["price", "full", *stated, "--json", "prices.json"])
    main()
    said = capsys.readouterr().out
    assert "99 models: 33 of the grid x 3 seeds" in said
    assert "81 of them wait for a folder of real faces" in said
    assert [own["student"] for own in read_json(Path("prices.json"))] == [*RATES]
    assert layout.study_params(NAME).read_bytes() == before


@pytest.mark.parametrize("text", ["iresnet-50", "iresnet-50=fast", "iresnet-50=0", "x=nan"])
def test_a_rate_is_a_number_above_0(text: str) -> None:
    with pytest.raises(InputError, match="expected STUDENT=FACES_A_SECOND, above 0"):
        parse_rates([text])


def test_unknown_names_are_answered_with_the_valid_ones(smoke: Study) -> None:
    with pytest.raises(InputError, match=r"unknown student of the grid 'r100'; valid names: sm"):
        prices(smoke, {"r100": 1.0}, "cpu", real_faces=False)
    with pytest.raises(InputError, match="unknown size of fair-distillation 'huge'; valid names:"):
        load_size("huge")
