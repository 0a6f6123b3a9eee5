"""One folder a person: all pairs within person-disjoint folds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.benchmarks.folder import _deal
from manifests.core.errors import InputError
from tests.protocols import make_folder, measure, opened


@given(
    st.lists(st.integers(1, 4), min_size=4, max_size=40).filter(lambda n: sum(np.array(n) > 1) > 1)
)
@settings(max_examples=50)
def test_everybody_is_in_one_fold_and_every_fold_has_both_kinds(counts: list[int]) -> None:
    people = {f"p{k}": ["x"] * count for k, count in enumerate(counts)}
    folds = _deal(Path("."), people)
    assert sorted(name for fold in folds for name in fold) == sorted(people)
    for fold in folds:
        assert len(fold) > 1 and max(len(people[name]) for name in fold) > 1


def test_the_pairs_are_all_of_each_fold(tmp_path: Path) -> None:
    make_folder(tmp_path, {"ada": 3, "bob": 2, "cyd": 1, "dan": 1})
    (tmp_path / "ada/Thumbs.db").write_text("not an image by its name")
    (tmp_path / "ada/.hidden.png").write_text("nor is this")
    (tmp_path / "empty").mkdir()
    protocol = opened(f"folder:{tmp_path}")
    frozen = protocol.benchmark
    assert frozen.images == ["ada/0.png", "ada/1.png", "ada/2.png", "bob/0.png", "bob/1.png",
                             "cyd/0.png", "dan/0.png"]  # fmt: skip
    home = {}
    for fold, *pair in zip(frozen.fold.tolist(), frozen.left, frozen.right, strict=True):
        home |= {name.split("/")[0]: fold for name in pair}
    assert home["ada"] != home["bob"] and home["cyd"] != home["dan"]
    # ada's fold: 4 images, 6 pairs, 3 of them genuine; bob's: 3 images, 3 pairs, 1 genuine
    assert np.bincount(frozen.fold).tolist() in ([6, 3], [3, 6])
    assert int(frozen.same.sum()) == 4
    assert opened(f"folder:{tmp_path}").benchmark.protocol_sha256 == frozen.protocol_sha256


def test_all_pairs_serve_tar_and_rank_one(tmp_path: Path) -> None:
    make_folder(tmp_path, {"ada": 3, "bob": 3})
    make_folder(tmp_path, {"cyd": 2, "dan": 2})
    metrics = measure(f"folder:{tmp_path}").metrics
    assert metrics["tar_at_far_num_pairs"] == 45  # of ten photographs
    # RED ada and cyd, CYAN bob and dan: a mate ties with somebody else's photographs
    assert metrics["rank_1"] == 0.0
    assert metrics["num_subjects"] == 4


@pytest.mark.parametrize(("people", "borne"), [(9, False), (10, True)])
def test_rates_of_all_pairs_need_enough_people(tmp_path: Path, people: int, borne: bool) -> None:
    made = make_folder(tmp_path, {f"p{number}": 6 for number in range(people)})
    metrics = measure(f"folder:{made}").metrics  # 1,296 impostor pairs or more
    assert (metrics["tar_at_far"]["0.01"] is not None) == borne


@pytest.mark.parametrize(
    ("people", "message"),
    [
        ({}, r"no images \(.*\) below it"),
        ({"a": 5, "b": 5, "c": 1}, "3 people with photographs, 2 of them with more than one"),
        ({"a": 5, "b": 1, "c": 1, "d": 1}, "1 of them with more than one"),
    ],
)
def test_too_few_people_are_refused(tmp_path: Path, people: dict[str, int], message: str) -> None:
    make_folder(tmp_path, people)
    with pytest.raises(InputError, match=message):
        opened(f"folder:{tmp_path}")


def test_too_many_pairs_are_refused_before_any_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(tmp_path, {"ada": 3, "bob": 3, "cyd": 3, "dan": 3})
    monkeypatch.setattr("eval.benchmarks.folder.MOST_PAIRS", 29)
    with pytest.raises(InputError, match="30 pairs, at most 29; name fewer in pairs:DIR"):
        opened(f"folder:{tmp_path}")


def test_no_folder_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder; folder:DIR needs one folder a person"):
        opened(f"folder:{tmp_path / 'none'}")
