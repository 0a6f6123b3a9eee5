"""Comparing results: what it computes, what it refuses, and what it prints and draws."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eval.compare import compare, leaderboard_text, main
from eval.scoring.intervals import PairSubjects, identity_bootstrap
from eval.scoring.results import paired, read_result
from manifests.core.errors import InputError
from manifests.core.files import read_json, write_json
from manifests.photographs.scores import GROUP
from tests.conftest import ROOT
from tests.results import people_table, write_result

OTHER_PROTOCOL = "12" * 32


def worse(table: pa.Table, noise: float, seed: int = 9) -> pa.Table:
    """The same pairs, scored by a noisier model."""
    scores = table["score"].to_numpy()
    noisy = scores + np.random.default_rng(seed).normal(0, noise, len(scores))
    return replaced(table, "score", np.clip(noisy, -1, 1))


def replaced(table: pa.Table, name: str, values: Any) -> pa.Table:
    place = table.schema.names.index(name)
    return table.set_column(place, table.schema.field(name), pa.array(values, table[name].type))


@pytest.fixture
def table() -> pa.Table:
    return people_table(4, people=60)


def test_a_result_less_itself_is_nothing(tmp_path: Path, table: pa.Table) -> None:
    one = read_result(write_result(tmp_path / "one", table))
    found = paired(one, one, resamples=30)
    for entry in found["difference"].values():
        assert entry == {"value": 0.0, "ci95_identity": [0.0, 0.0]}
    assert found["mcnemar"] == {"only_a": 0, "only_b": 0, "p_value": 1.0}


def test_groups_figures_follow_from_the_scores_too(tmp_path: Path, table: pa.Table) -> None:
    group = pa.array(["x" if row % 12 < 6 else "y" for row in range(len(table))])
    grouped = table.append_column(GROUP, group)
    folder = write_result(tmp_path / "own", grouped)
    own = read_result(folder).figures["by_group"]
    assert own["groups"].keys() == {"x", "y"} and own["accuracy_mean"]["value"] > 0.5
    said = read_json(folder / "metrics.json")
    said["by_group"]["groups"]["y"]["accuracy"]["value"] += 0.01
    write_json(folder / "metrics.json", said)
    with pytest.raises(InputError, match=r"says by_group .*, its scores\.parquet gives"):
        read_result(folder)


def test_differences_are_those_of_the_figures_and_change_sign(
    tmp_path: Path, table: pa.Table
) -> None:
    good = read_result(write_result(tmp_path / "good", table))
    bad = read_result(write_result(tmp_path / "bad", worse(table, 0.4)))
    forth, back = paired(good, bad, resamples=200), paired(bad, good, resamples=200)
    for name in ("accuracy", "auc", "eer"):
        wanted = good.figures[name] - bad.figures[name]
        assert forth["difference"][name]["value"] == pytest.approx(wanted)
        low, high = forth["difference"][name]["ci95_identity"]
        assert back["difference"][name]["ci95_identity"] == pytest.approx([-high, -low])
    low, _ = forth["difference"]["accuracy"]["ci95_identity"]
    assert low > 0 and forth["mcnemar"]["p_value"] < 1e-3
    assert set(forth["difference"]) == {"accuracy", "auc", "eer"}  # 240 impostors bear no FAR


def test_pairing_narrows_the_interval(tmp_path: Path, table: pa.Table) -> None:
    """Two models that err alike differ less than their own intervals tell."""
    good = read_result(write_result(tmp_path / "good", table))
    like = read_result(write_result(tmp_path / "like", worse(table, 0.02)))
    low, high = paired(good, like, resamples=200)["difference"]["auc"]["ci95_identity"]
    own_low, own_high = good.figures["auc_ci95_identity"]
    assert high - low < (own_high - own_low) / 2


def test_a_board_is_ranked_and_holds_each_against_the_first(
    tmp_path: Path, table: pa.Table
) -> None:
    results = [
        read_result(write_result(tmp_path / name, worse(table, noise)))
        for name, noise in (("middle", 0.15), ("last", 0.9), ("first", 0.0))
    ]
    found = compare(results)
    assert [Path(row["result"]).name for row in found["leaderboard"]] == ["first", "middle", "last"]
    assert [Path(pair["a"]).name for pair in found["paired"]] == ["first", "first"]
    assert found["leaderboard"][0]["accuracy"] == results[2].figures["accuracy"]
    assert found["num_subjects"] == 60


def test_intervals_over_too_few_people_are_said_to_be_narrow(tmp_path: Path) -> None:
    for people, said in ((9, True), (10, False)):
        few = people_table(people=people)
        results = [
            read_result(write_result(tmp_path / f"{name}{people}", few)) for name in ("a", "b")
        ]
        title, *_ = leaderboard_text(compare(results)).split("\n")
        assert title.endswith("with less than 10 they are far too narrow") == said


def test_unlike_protocols_are_refused_naming_both(tmp_path: Path, table: pa.Table) -> None:
    one = read_result(write_result(tmp_path / "one", table))
    other = read_result(write_result(tmp_path / "other", table, protocol=OTHER_PROTOCOL))
    with pytest.raises(InputError, match=r"one was measured on abababababab, .*other on 1212") as e:
        compare([one, other])
    assert str(tmp_path / "one") in str(e.value) and str(tmp_path / "other") in str(e.value)


def test_unlike_pairs_under_one_protocol_are_refused(tmp_path: Path, table: pa.Table) -> None:
    one = read_result(write_result(tmp_path / "one", table))
    shorter = read_result(write_result(tmp_path / "shorter", table.slice(0, 300)))
    with pytest.raises(InputError, match="differ in their number, 360 and 300"):
        compare([one, shorter])
    names = ["p0/another.jpg", *table["left"].to_pylist()[1:]]
    renamed = read_result(write_result(tmp_path / "renamed", replaced(table, "left", names)))
    with pytest.raises(InputError, match="differ in left of row 0"):
        compare([one, renamed])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"accuracy": 0.99}, r"says accuracy 0\.99, its scores\.parquet gives 0\.\d+"),
        ({"num_pairs": 6000}, "says num_pairs 6000, its scores.parquet gives 360"),
        ({"accuracy_ci95": [0.98, 0.99]}, "says accuracy_ci95"),
        ({"tar_at_far": {"0.01": 1.0}}, "says tar_at_far"),
        ({"auc": "0.9"}, "says auc 0.9"),
        ({"auc": True}, "says auc True"),
        ({"model_sha256": "ef" * 32}, "metrics.json is of model_sha256 'efef"),
        ({"protocol_sha256": "ef" * 32}, "metrics.json is of protocol_sha256 'efef"),
    ],
)
def test_a_metrics_file_that_contradicts_its_scores_is_refused(
    tmp_path: Path, table: pa.Table, changed: dict[str, Any], message: str
) -> None:
    folder = write_result(tmp_path / "run", table, changed=changed)
    with pytest.raises(InputError, match=message) as raised:
        read_result(folder)
    assert str(folder) in str(raised.value)


def test_rates_over_all_pairs_of_images_are_not_asked_of_the_scores(
    tmp_path: Path, table: pa.Table
) -> None:
    changed = {"tar_at_far": {"0.01": {"value": 0.5}}, "tar_at_far_num_pairs": 79800}
    assert read_result(write_result(tmp_path / "run", table, changed=changed))


def test_scores_changed_after_they_were_made_are_refused(tmp_path: Path, table: pa.Table) -> None:
    folder = write_result(tmp_path / "run", table)
    path = folder / "scores.parquet"
    stored = pq.read_table(path)
    flipped = replaced(stored, "score", -stored["score"].to_numpy())
    pq.write_table(flipped.replace_schema_metadata(stored.schema.metadata), path)
    with pytest.raises(InputError, match="changed after it was made"):
        read_result(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "metrics.json",
            None,
            "metrics.json: no such file; name folders that facestill verify wrote",
        ),
        ("scores.parquet", None, "scores.parquet: no such file"),
        ("metrics.json", b"{", "metrics.json: not JSON"),
        ("metrics.json", b"[1]", "metrics.json: holds no object of figures"),
        ("metrics.json", b"{}", "metrics.json: does not say model"),
        ("scores.parquet", b"PAR1", "scores.parquet: not a readable Parquet file"),
    ],
)
def test_missing_and_broken_files_are_refused(
    tmp_path: Path, table: pa.Table, name: str, content: bytes | None, message: str
) -> None:
    path = write_result(tmp_path / "run", table) / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_result(tmp_path / "run")


def test_one_fold_is_refused(tmp_path: Path, table: pa.Table) -> None:
    single = replaced(table, "fold", np.zeros(table.num_rows))
    with pytest.raises(InputError, match="pairs are in one fold"):
        read_result(write_result(tmp_path / "run", single))


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "eval.compare", *arguments], cwd=ROOT, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


def test_the_command_prints_a_board_and_draws_it(tmp_path: Path, table: pa.Table) -> None:
    folders = [
        str(write_result(tmp_path / name, worse(table, noise)))
        for name, noise in (("one", 0.0), ("two", 0.5))
    ]
    outputs = [str(tmp_path / f"board{suffix}") for suffix in (".json", ".png", ".svg")]
    done = command(*folders, "--out", *outputs)
    assert done.returncode == 0, done.stderr
    assert "protocol abababababab: 360 pairs of 60 people" in done.stdout
    assert f"{folders[0]} less {folders[1]}" in done.stdout and "McNemar" in done.stdout
    said = json.loads(Path(outputs[0]).read_text())
    assert len(said["leaderboard"]) == 2 and len(said["paired"]) == 1
    assert Path(outputs[1]).read_bytes().startswith(b"\x89PNG")
    assert "<svg" in Path(outputs[2]).read_text()


def test_the_command_ends_with_one_line_and_status_two() -> None:
    done = command("nowhere", "nothing")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line == (
        "error: nowhere/metrics.json: no such file; name folders that facestill verify wrote "
        "with --out"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["alone"], "one result only"),
        (["a", "b", "--out", "board.pdf"], "board.pdf: --out takes files that end in"),
        (["a", "b", "--out", "README.md/board.png"], "no file can be there"),
    ],
)
def test_bad_usage_is_refused_before_reading(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["compare", *arguments])
    with pytest.raises(InputError, match=message):
        main()


def two_models(seed: int) -> tuple[PairSubjects, np.ndarray, np.ndarray]:
    """Pairs of 150 people and which of them each model decides rightly."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(150), 4)
    first = rng.integers(150, size=600)
    second = (first + 1 + rng.integers(149, size=600)) % 150
    left, right = np.concatenate([person, first]), np.concatenate([person, second])
    own = rng.normal(0, 0.15, 150)
    a, b = decisions(own[left] + own[right], rng)
    return PairSubjects(left, right, 150), a, b


def decisions(shift: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    noise = rng.normal(0, 0.2, (2, len(shift)))
    return 0.35 + shift + noise[0] > 0, 0.25 + shift + noise[1] > 0


def population(count: int) -> tuple[float, float]:
    """Accuracies over half genuine pairs (one person's shift, twice) and half impostor ones."""
    rng = np.random.default_rng(77)
    own = rng.normal(0, 0.15, (2, count))
    shifts = np.concatenate([2 * own[0, : count // 2], own.sum(axis=0)[: count // 2]])
    a, b = decisions(shifts, rng)
    return float(a.mean()), float(b.mean())


def test_paired_intervals_cover_the_true_difference() -> None:
    """Two models on the same people, who shift both alike: 95 % intervals of the difference of
    their accuracies hold the difference that a large population shows."""
    truth = float(np.subtract(*population(10**6)))
    hits, trials = 0, 200
    for seed in range(1000, 1000 + trials):
        subjects, a, b = two_models(seed)

        def statistic(weights: np.ndarray, a: np.ndarray = a, b: np.ndarray = b) -> np.ndarray:
            return np.array([(weights[a].sum() - weights[b].sum()) / weights.sum()])

        low, high = identity_bootstrap(statistic, subjects, resamples=160, seed=seed).interval(0)
        hits += low <= truth <= high
    assert 0.91 <= hits / trials <= 0.99
