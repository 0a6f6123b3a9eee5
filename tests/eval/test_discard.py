"""Error versus discard: against counting, cases worked by hand, and the command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.discard import discard_text, main
from eval.scoring.discarding import (
    FIXED,
    GRID,
    RE_ESTIMATED,
    discard_figures,
    fnmr_statistic,
    pair_quality,
)
from eval.scoring.roc import roc
from eval.scoring.scored import ScoredPairs, read_scores
from manifests.core.errors import InputError
from manifests.photographs.lists import read_qualities
from tests.references import fnmr_after_discarding
from tests.results import people_pairs, people_table, write_result

FMR = 0.05


def many(seed: int) -> ScoredPairs:
    return people_pairs(seed, people=60)


@given(st.integers(0, 10_000))
def test_a_fixed_threshold_gives_what_counting_gives(seed: int) -> None:
    pairs = many(seed)  # 360 of them: every share of the grid is a whole number
    quality = np.random.default_rng(seed).permutation(len(pairs)).astype(float)
    figures = fnmr_statistic(pairs.score, pairs.same, quality, FMR, FIXED)(np.ones(len(pairs)))
    threshold = roc(pairs.score, pairs.same).threshold_at(FMR)
    slow = [
        fnmr_after_discarding(pairs.score, pairs.same, quality, threshold, 18 * step)
        for step in range(len(GRID))
    ]
    np.testing.assert_allclose(figures[: len(GRID)], slow)


def test_a_re_estimated_threshold_is_that_of_the_pairs_left() -> None:
    pairs = many(3)
    quality = np.random.default_rng(3).permutation(len(pairs)).astype(float)
    rule = fnmr_statistic(pairs.score, pairs.same, quality, FMR, RE_ESTIMATED)
    figures = rule(np.ones(len(pairs)))
    for step in (0, 5, 10):
        left = quality >= 18 * step
        curve = roc(pairs.score[left], pairs.same[left])
        assert figures[step] == pytest.approx(1 - curve.tar_at(FMR))


@pytest.mark.parametrize("rule", [FIXED, RE_ESTIMATED])
def test_a_quality_that_tells_nothing_is_random_discarding(rule: str) -> None:
    pairs = many(1)
    figures = fnmr_statistic(pairs.score, pairs.same, np.zeros(len(pairs)), FMR, rule)(
        np.ones(len(pairs))
    )
    np.testing.assert_allclose(figures[: len(GRID)], figures[0])
    np.testing.assert_allclose(figures[-2:], 1.0)  # areas over those of random


def test_areas_by_hand() -> None:
    """100 genuine pairs, the ten of lowest quality missed: FNMR falls 0.1, 0.05/0.95, 0."""
    scores = np.concatenate([np.where(np.arange(100) < 10, 0.2, 0.9), np.full(100, 0.1)])
    scores[100:105] = 0.5  # FMR 0.05 lies at 0.1: none of the genuine are missed there
    same = np.arange(200) < 100
    quality = np.concatenate([np.arange(100), np.full(100, 1000.0)]).astype(float)
    found = fnmr_statistic(scores, same, quality, 0.01, FIXED)(np.ones(200))
    # at FMR 0.01 the threshold is 0.5: ten of 100 are missed; a share of 0.05 is ten pairs
    np.testing.assert_allclose(found[:4], [0.1, 0.0, 0.0, 0.0])
    auc, pauc, over_random, _ = found[len(GRID) :]
    assert auc == pauc == pytest.approx(0.1 * 0.05 / 2)
    assert over_random == pytest.approx(auc / (0.1 * 0.95))


def test_pairs_are_as_good_as_their_worse_image() -> None:
    pairs = many(0)
    names = sorted({*pairs.left, *pairs.right})
    quality = {name: float(row) for row, name in enumerate(names)}
    found = pair_quality(pairs, quality)
    assert found[7] == min(quality[pairs.left[7]], quality[pairs.right[7]])
    spelled = {name.replace("/", "\\"): value for name, value in quality.items()}
    np.testing.assert_array_equal(pair_quality(pairs, spelled), found)
    del quality[pairs.left[7]]
    with pytest.raises(InputError, match=f"lacks 1 images .* first is '{pairs.left[7]}'"):
        pair_quality(pairs, quality)


def test_an_informative_quality_beats_random_with_its_whole_interval() -> None:
    pairs = many(2)
    rng = np.random.default_rng(0)
    informed = np.where(pairs.same, pairs.score, 0.4) + rng.normal(0, 0.05, len(pairs))
    found = discard_figures(pairs, informed, pairs.subjects("folder"), fmr=FMR, resamples=100)
    assert found["pauc_over_random"]["ci95_identity"][1] < 1.0
    assert found["fnmr"][6] < found["fnmr"][0]
    with pytest.raises(InputError, match="240 impostor pairs are too few"):
        discard_figures(pairs, informed, pairs.subjects("folder"), fmr=0.001)


def test_a_curve_says_how_far_its_pairs_bear_it() -> None:
    pairs = many(2)  # 120 genuine, 240 impostors
    quality = np.random.default_rng(3).permutation(len(pairs)) - 100.0 * pairs.same
    subjects, order = pairs.subjects("folder"), np.argsort(quality)
    for rule, bears in (
        (FIXED, lambda genuine, impostors: genuine >= 10),
        (RE_ESTIMATED, lambda genuine, impostors: genuine >= 10 and impostors >= 200),
    ):
        found = discard_figures(pairs, quality, subjects, fmr=FMR, rule=rule, resamples=20)
        shares = []
        for step, share in enumerate(GRID):
            left = pairs.same[order[18 * step :]]
            if not bears(int(left.sum()), int((~left).sum())):
                break
            shares.append(share)
        assert found["borne_to"] == shares[-1] < GRID[-1]
        assert f"beyond {shares[-1]:.0%} discarded too few pairs are left" in discard_text(found)


def test_no_misses_leave_no_ratio() -> None:
    pairs = many(2)
    perfect = np.where(pairs.same, 0.9, 0.1)
    apart = ScoredPairs(
        pairs.pair_id, pairs.fold, pairs.left, pairs.right, pairs.same, perfect, pairs.failed
    )
    found = discard_figures(apart, perfect, apart.subjects("folder"), fmr=FMR, resamples=10)
    assert found["auc_over_random"] is None and found["auc"]["value"] == 0.0


def quality_file(folder: Path, suffix: str) -> Path:
    pairs = many(0)
    names = sorted({*pairs.left, *pairs.right})
    table = pa.table({"image": names, "extra": names, "quality": np.arange(len(names)) / 7})
    path = folder / f"quality{suffix}"
    if suffix == ".parquet":
        pq.write_table(table, path)
    else:
        rows = zip(names, names, (np.arange(len(names)) / 7).tolist(), strict=True)
        path.write_text("image,extra,quality\n" + "".join(f"{a},{b},{c!r}\n" for a, b, c in rows))
    return path


def test_csv_and_parquet_say_the_same(tmp_path: Path) -> None:
    read = [read_qualities(quality_file(tmp_path, suffix)) for suffix in (".csv", ".parquet")]
    assert read[0] == read[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,score\na,1\n", "quality"),
        ("image,quality\na,1\na,2\n", "names image 'a' more than once"),
        ("image,quality\na,inf\n", "the quality of 'a' is inf"),
        ("image,quality\na,\n", "column quality has 1 empty values"),
        ("image,quality\na,good\n", "not a readable table"),
        ("", "not a readable table"),
    ],
)
def test_bad_quality_tables_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "quality.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as raised:
        read_qualities(path)
    assert str(raised.value).startswith(str(path))


def test_other_bad_quality_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_qualities(tmp_path / "none.csv")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 not really")
    with pytest.raises(InputError, match="not a readable table"):
        read_qualities(broken)
    with pytest.raises(InputError, match="not a readable table"):
        read_qualities(tmp_path)


def test_the_command_writes_figures_and_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = write_result(tmp_path / "run", people_table(0, people=60)) / "scores.parquet"
    outputs = [str(tmp_path / "curve.json"), str(tmp_path / "curve.svg")]
    command = ["discard", str(scores), "--quality", str(quality_file(tmp_path, ".csv"))]
    monkeypatch.setattr(sys, "argv", [*command, "--fmr", "0.05", "--out", *outputs])
    main()
    said = json.loads((tmp_path / "curve.json").read_text())
    assert said["threshold_rule"].startswith("fixed") and len(said["fnmr"]) == 20
    assert said["protocol_sha256"] == read_scores(scores)[1]["protocol_sha256"]
    assert (tmp_path / "curve.svg").read_text().startswith("<?xml")
    assert "FNMR at FMR 0.05" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threshold", "best"], "valid names: fixed, re-estimated"),
        (["--out", "curve.pdf"], r"curve.pdf: --out takes files that end in .json, .png, .svg"),
    ],
)
def test_bad_options_are_refused_before_reading(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["discard", "none", "--quality", "none", *arguments])
    with pytest.raises(InputError, match=message):
        main()
