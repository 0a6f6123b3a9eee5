from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from manifests.core.errors import InputError
from manifests.core.parsing import parse
from manifests.params import main
from manifests.settings.params import Params, load_params
from manifests.settings.presets import merge_file, merged
from manifests.settings.training import Run, check_training_rounds
from tests.conftest import ROOT

RUN = {"prev": "start", "faces_seen": 64, "rate_from": 0.5, "rate_to": 0.0}
NO_ROUND = {"faces_seen": 64, "rate_from": 0.5, "rate_to": 0.0}
TEXT = (ROOT / "params.yaml").read_text()


def changed(folder: Path, over: dict[str, Any], *, without: str = "") -> Path:
    """params.yaml with `over` merged in and the key `without` (of `mine`) taken out."""
    values = merged(yaml.safe_load(TEXT), over)
    values["mine"].pop(without, None)
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_a_changed_value_is_the_only_change(tmp_path: Path, params: Params) -> None:
    found = load_params(changed(tmp_path, {"mine": {"regions": 7}}))
    assert found == replace(params, mine=replace(params.mine, regions=7))


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"teacher": "onnx:a.onnx"}, r"teacher: 'onnx:a\.onnx' is a file's; give its name here"),
        ({"mine": {"depth": 3}}, r"changed\.yaml: mine: unknown key 'depth'; known keys: regions"),
        ({"minus": 3}, r"changed\.yaml: unknown key 'minus'"),
        ({"mine": {"regions": "48"}}, r"mine: regions: '48' is a str, not int"),
        ({"mine": {"regions": 4.5}}, r"mine: regions: 4.5 is a float, not int"),
        ({"mine": {"coefficient": True}}, r"mine: coefficient: True is a bool, not float"),
        ({"sample": {"pool": {"count": None}}}, r"sample: pool: count: None is a NoneType"),
        ({"mine": 3}, r"mine: 3, expected a section"),
        ({"sample": {"pool": 3}}, r"sample: pool: 3, expected a section"),
        ({"sample": 3}, r"sample: 3, expected a section"),
        ({"sample": None}, r"sample: None, expected a section"),
        (
            {"mine": {"prior_share": 1.01}},
            r"mine: prior_share: 1.01, expected 0 to 1",
        ),
        (
            {"mine": {"prior_share": -0.1}},
            r"mine: prior_share: -0.1, expected 0 to 1",
        ),
        (
            {"mine": {"false_discovery_rate": 2}},
            r"false_discovery_rate: 2, expected 0 to 1",
        ),
        ({"mine": {"region_cap": 0}}, r"region_cap: 0, expected more than 0 and at most 1"),
        ({"mine": {"hard_share": 0.0}}, r"hard_share: 0, expected more than 0 and at most 1"),
        ({"mine": {"hard_share": 1.5}}, r"hard_share: 1.5, expected more than 0 and at most 1"),
        ({"mine": {"coefficient": -1}}, r"mine: coefficient: -1, expected 0 to 1000"),
        ({"mine": {"near_step": -0.3}}, r"mine: near_step: -0.3, expected 0 to 1000"),
        ({"mine": {"walk_step": -2.0}}, r"mine: walk_step: -2, expected 0 to 1000"),
        ({"mine": {"least_distance": -0.1}}, r"mine: least_distance: -0.1, expected at least 0"),
        ({"mine": {"least_spread": -0.1}}, r"mine: least_spread: -0.1, expected at least 0"),
        ({"mine": {"least_gain": -0.1}}, r"mine: least_gain: -0.1, expected at least 0"),
        ({"mine": {"shrinkage": -16}}, r"mine: shrinkage: -16, expected at least 0"),
        (
            {"mine": {"coefficient": 1e308}},
            r"coefficient: 1e\+308, expected 0 to 1000",
        ),
        ({"mine": {"near_step": 1001}}, r"near_step: 1001, expected 0 to 1000"),
        ({"mine": {"parent_cap": 0}}, r"mine: parent_cap: 0, expected at least 1"),
        ({"mine": {"count": -1}}, r"mine: count: -1, expected at least 0"),
        ({"mine": {"least_gain": float("nan")}}, r"mine: least_gain: nan is not a finite number"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_bad_value_is_refused_by_its_key(tmp_path: Path, over: dict, message: str) -> None:
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(merged(yaml.safe_load(TEXT), over)))
    with pytest.raises(InputError, match=message):
        load_params(path)


def test_shares_may_be_as_large_and_as_small_as_shares_are(tmp_path: Path) -> None:
    bounds = {"prior_share": 0, "false_discovery_rate": 1, "region_cap": 1, "hard_share": 1.0}
    found = load_params(changed(tmp_path, {"mine": bounds})).mine
    assert {name: getattr(found, name) for name in bounds} == bounds


def test_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"changed\.yaml: mine: missing key 'seed'"):
        load_params(changed(tmp_path, {}, without="seed"))


@pytest.mark.parametrize("text", [None, "", "a: [", "- 1"])
def test_a_file_that_is_no_params_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "params.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=r"params\.yaml"):
        load_params(path)


def test_whole_numbers_pass_for_floats(tmp_path: Path) -> None:
    found = load_params(changed(tmp_path, {"mine": {"shrinkage": 16}})).mine.shrinkage
    assert isinstance(found, float)


@pytest.mark.parametrize("preset", sorted(path.stem for path in (ROOT / "params").glob("*.yaml")))
def test_every_preset_parses_and_changes_something(
    workspace: Path, params: Params, preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["params", preset])
    main()
    assert load_params() != params


@pytest.mark.parametrize(
    ("over", "key"),
    [
        ({"generator": "stylegan2:none.pkl"}, "generator"),
        ({"aligner": "onnx:none.pkl"}, "aligner"),
        ({"teachers": {"mine": "onnx:none.pkl"}}, "teachers: mine"),
    ],
)
def test_checking_looks_for_the_files(
    over: dict[str, Any], key: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("params.yaml").write_text(yaml.safe_dump(merged(yaml.safe_load(TEXT), over)))
    monkeypatch.setattr("sys.argv", ["params"])
    with pytest.raises(InputError, match=rf"^none\.pkl: no such file.*\(params\.yaml: {key}\)$"):
        main()
    Path("none.pkl").touch()
    main()


def test_preset_keeps_what_it_does_not_name(
    workspace: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["params", "toy"])
    main()
    assert load_params().sample["pool"] == replace(params.sample["pool"], count=640)


@pytest.mark.parametrize("preset", ["long", "toy"])
def test_a_preset_changes_values_in_their_places(
    workspace: Path, preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["params", preset])
    main()
    first, mark, *others = Path("params.yaml").read_text().splitlines()
    before = TEXT.splitlines()
    assert first == before[0] and first.startswith("# yaml-language-server: $schema=")
    assert mark == f"# params.yaml with params/{preset}.yaml merged in"
    assert len(others) == len(before) - 1
    for old, new in zip(before[1:], others, strict=True):
        assert new.partition(":")[0] == old.partition(":")[0]
        assert new.partition(" #")[2] == old.partition(" #")[2]
    assert "  adaptor: null # a run of `facestill fuse`" in "\n".join(others)


def test_presets_do_not_stack(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["params", "toy"])
    main()
    once = Path("params.yaml").read_text()
    main()
    assert Path("params.yaml").read_text() == once
    monkeypatch.setattr("sys.argv", ["params", "long"])
    with pytest.raises(InputError, match=r"params/toy\.yaml merged in; restore it \(git checkout"):
        main()


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        ("b: {c: 5}", "a: 1 # one\nb: {c: 5, d: 'no'} # two\ne: [1, 2]\n"),
        ("e: [3]\nf: on", "a: 1 # one\nb: {c: 2, d: 'no'} # two\ne: [3]\nf: on\n"),
        ("a: 1.0e-3", "a: 1.0e-3 # one\nb: {c: 2, d: 'no'} # two\ne: [1, 2]\n"),
        ("a: 1e-3", "a: 1e-3 # one\nb: {c: 2, d: 'no'} # two\ne: [1, 2]\n"),
        ("a: null", "a: null # one\nb: {c: 2, d: 'no'} # two\ne: [1, 2]\n"),
        ("a:\n  - {x: '1'}", "a:   # one\n  - {x: '1'}\nb: {c: 2, d: 'no'} # two\ne: [1, 2]\n"),
    ],
)
def test_a_merged_value_is_written_as_the_preset_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, over: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("manifests.settings.presets.parse", lambda *_: None)
    Path("base.yaml").write_text("a: 1 # one\nb: {c: 2, d: 'no'} # two\ne: [1, 2]\n")
    Path("over.yaml").write_text(over)
    merge_file(Path("base.yaml"), Path("over.yaml"), dict)
    assert Path("base.yaml").read_text() == f"# base.yaml with over.yaml merged in\n{expected}"


def test_a_key_that_is_there_twice_is_named(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("params/twice.yaml").write_text("mine: {count: 1, count: 2}")
    monkeypatch.setattr("sys.argv", ["params", "twice"])
    with pytest.raises(InputError, match=r"params/twice\.yaml: .*key 'count' on lines 1 and 1"):
        main()
    assert Path("params.yaml").read_text() == TEXT


def test_unknown_preset_is_answered_with_the_valid_ones(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["params", "huge"])
    with pytest.raises(InputError, match=r"unknown preset 'huge'; valid names: .*toy"):
        main()
    assert Path("params.yaml").read_text() == TEXT


@pytest.mark.parametrize("rounds", [[], ["pool", "pool"], ["pool", "probe"]])
def test_rounds_that_nothing_is_trained_on_are_refused(rounds: list[str]) -> None:
    named = ", ".join(rounds) or "none"
    with pytest.raises(InputError, match=f"^here: rounds {named}: name .* probe is never trained"):
        check_training_rounds(rounds, "here: ")


def test_rounds_are_trained_on() -> None:
    check_training_rounds(["pool", "identities"])


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"mined": {"mined-1": {"prev": "mined-2"}}}, "mined: mined-1: prev: 'mined-2', expected"),
        ({"mined": {"pool": RUN}}, "mined: pool: a round or run of that name is there"),
        ({"train": {"runs": {"mined-2": NO_ROUND}}}, "mined: mined-2: a round or run of that"),
        ({"mined": {"a; b": RUN}}, "round or run 'a; b': a name begins with a letter"),
        ({"mined": {"gaps": RUN}}, "round or run 'gaps': a name begins with a letter"),
        ({"sample": {"../x": {"count": 1, "seed": 1}}}, r"round or run '\.\./x': a name begins"),
        (
            {"mined": {"mined-1": {"student": {"width": 2}}}},
            "mined: mined-1: student: width: 2.0, but it continues start, which has 1.0; say",
        ),
        (
            {"train": {"embedding_width": 128, "runs": {"start": {"embedding_width": 64}}}},
            "mined: mined-1: embedding_width: 128, but it continues start, which has 64; say",
        ),
        ({"report": "mined-3"}, "report: 'mined-3', expected one of start, mined-1, mined-2"),
    ],
)
def test_rounds_and_runs_that_do_not_go_together_are_refused(
    changes: dict[str, Any], complaint: str
) -> None:
    values = merged(yaml.safe_load(TEXT), changes)
    with pytest.raises(InputError, match=f"here: {complaint}"):
        parse(Params, values, "here")


def test_one_more_round_is_one_line() -> None:
    values = merged(yaml.safe_load(TEXT), {"mined": {"mined-3": RUN}})
    found = parse(Params, {**values, "report": "mined-3"}, "here")
    assert found.runs["mined-3"] == Run(64, 0.5, 0.0)
    assert found.trained_rounds[-1] == "mined-3"


def test_a_file_with_anchors_takes_no_preset(tmp_path: Path) -> None:
    shared = TEXT.replace("pool: {", "pool: &p {").replace(
        "probe: {count: 2048, seed: 2}", "probe: *p"
    )
    assert "&p" in shared and "*p" in shared
    path, preset = tmp_path / "params.yaml", tmp_path / "preset.yaml"
    path.write_text(shared)
    preset.write_text("sample: {pool: {count: 3}}\n")
    with pytest.raises(InputError, match=r"params\.yaml: anchors \(&, \*\) share values"):
        merge_file(path, preset, Params)
    assert path.read_text() == shared


def test_a_run_has_fields_of_train_of_its_own() -> None:
    own = {
        "loss": "arcface", "student": {"name": "mobilefacenet", "width": 1},
        "engine": {"optimizer": "sgd"}, "noise": {"grain": 0.1}, "embedding_width": 64, "batch": 32,
    }  # fmt: skip
    values = merged(yaml.safe_load(TEXT), {"train": {"runs": {"arc": NO_ROUND | own}}})
    found = parse(Params, values, "here")
    arc, all_runs = found.of_run("arc").train, found.train
    assert arc.student == replace(all_runs.student, name="mobilefacenet", width=1.0)
    assert arc.engine == replace(all_runs.engine, optimizer="sgd")
    assert arc.noise == replace(all_runs.noise, grain=0.1)
    assert (arc.loss.margin is not None, arc.embedding_width, arc.batch) == (True, 64, 32)
    assert (arc.seed, arc.leave_out) == (all_runs.seed, all_runs.leave_out)
    assert found.of_run("start").train == all_runs


def test_mined_runs_may_have_a_student_of_their_own_all_along() -> None:
    own = {"student": {"width": 1.0}}
    values = merged(yaml.safe_load(TEXT), {"mined": dict.fromkeys(("mined-1", "mined-2"), own)})
    found = parse(Params, merged(values, {"train": {"runs": {"start": own}}}), "here")
    widths = {name: found.of_run(name).train.student.width for name in found.runs}
    assert widths == {"start": 1.0, "mined-1": 1.0, "mined-2": 1.0}


def test_the_recipe_is_told_as_it_is_written() -> None:
    own = {"faces_seen": 64, "engine": {"ema": 0.5}, "identities": None}
    values = merged(yaml.safe_load(TEXT), {"mined": {"mined-2": own}})
    told = parse(Params, values, "here").recipe
    assert told["mined"]["mined-2"] == values["mined"]["mined-2"]
    assert told["train"]["runs"]["start"] == {
        **values["train"]["runs"]["start"],
        "identities": None,
    }


@pytest.mark.parametrize("text", ["seed: " + "9" * 5000, "[" * 5000, "a: b: c"])
def test_what_yaml_itself_cannot_read_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(InputError, match=r"params\.yaml: not readable as YAML"):
        load_params(tmp_path / "params.yaml")
