"""Groups of people and the pairs within them: equal sizes, no pair across, nobody's choice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.studies.fair_distillation.people_groups import (
    GroupedPairs,
    Groups,
    medians,
    own_groups,
    pairs_within,
    quantile_groups,
)
from manifests.core.errors import InputError
from manifests.photographs.protocols import Benchmark
from manifests.photographs.scores import subject_of

PEOPLE, EACH = 24, 4
VALUES = {f"p{number:02}": float(number) for number in range(PEOPLE)}


def benchmark_of(num_people: int = PEOPLE, each: int = EACH) -> Benchmark:
    """Two folds whose pairs name every image once."""
    images = [f"p{person:02}/{n}.jpg" for person in range(num_people) for n in range(each)]
    left, right = images[:-1], images[1:]
    same = [a.split("/")[0] == b.split("/")[0] for a, b in zip(left, right, strict=True)]
    fold = (2 * np.arange(len(left)) // len(left)).astype(np.int16)
    hashes = dict.fromkeys(images, "0" * 64)
    return Benchmark("toy", fold, tuple(left), tuple(right), np.array(same), hashes)


def grouped(impostors: int = 300, seed: int = 1, count: int = 3) -> GroupedPairs:
    benchmark = benchmark_of()
    people = {name: subject_of(name, "folder") for name in benchmark.images}
    groups = quantile_groups("number", VALUES, count)
    return pairs_within(benchmark, people, groups, impostors=impostors, seed=seed)


def test_a_persons_value_is_the_median_of_what_is_defined() -> None:
    values = np.array([1.0, 5.0, np.nan, 2.0, np.nan])
    assert medians(["a", "a", "a", "b", "c"], values) == {"a": 3.0, "b": 2.0}


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=40, unique=True), st.integers(2, 5))
def test_groups_are_of_equal_size_and_in_order(numbers: list[int], count: int) -> None:
    values = {str(number): float(number) for number in numbers}
    if len(values) < count:
        return
    groups = quantile_groups("number", values, count)
    sizes = [sum(title == own for own in groups.of_person.values()) for title in groups.titles]
    assert sum(sizes) == len(values) and max(sizes) - min(sizes) <= 1
    ranked = [groups.titles.index(groups.of_person[n]) for n in sorted(values, key=values.get)]  # type: ignore[arg-type]
    assert ranked == sorted(ranked)


def test_groups_by_hand() -> None:
    groups = quantile_groups("age", {"a": 1.0, "b": 9.0, "c": 5.0, "d": 4.0}, 2)
    assert groups.titles == ("below 5", "from 5")
    assert groups.of_person == {
        "a": "below 5", "d": "below 5", "c": "from 5", "b": "from 5",
    }  # fmt: skip
    assert quantile_groups("age", VALUES, 3).titles == ("below 8", "8 to 16", "from 16")


def test_too_few_values_make_no_groups() -> None:
    with pytest.raises(InputError, match="1 values of 4 people do not part them into 3"):
        quantile_groups("age", dict.fromkeys("abcd", 1.0), 3)


def test_pairs_are_within_groups_and_all_genuine_ones_are_there() -> None:
    found = grouped()
    groups = quantile_groups("number", VALUES, 3)
    pairs = list(zip(found.benchmark.left, found.benchmark.right, strict=True))
    for (left, right), group, same in zip(pairs, found.group, found.benchmark.same, strict=True):
        people = [subject_of(name, "folder") for name in (left, right)]
        assert {groups.of_person[person] for person in people} == {group}
        assert (people[0] == people[1]) == same
    assert len({frozenset(pair) for pair in pairs}) == len(pairs)
    for title in found.titles:
        assert found.count(title, same=True) == PEOPLE // 3 * 6  # of four photographs each
        assert found.count(title, same=False) == 100


def test_accuracy_is_of_pairs_that_are_balanced_in_every_fold() -> None:
    found = grouped()
    for title in found.titles:
        own = np.array([group == title for group in found.group])
        for fold in np.unique(found.benchmark.fold[own]):
            here = own & (found.benchmark.fold == fold)
            same = found.benchmark.same[here & found.balanced]
            rarer = min(found.benchmark.same[here].sum(), (~found.benchmark.same[here]).sum())
            assert same.sum() == (~same).sum() == rarer


def test_folds_share_few_people_and_every_group_has_them() -> None:
    found = grouped()
    fold_of = {
        subject_of(left, "folder"): fold
        for left, fold in zip(found.benchmark.left, found.benchmark.fold.tolist(), strict=True)
    }
    for left, fold in zip(found.benchmark.left, found.benchmark.fold.tolist(), strict=True):
        assert fold_of[subject_of(left, "folder")] == fold


def test_the_choice_is_the_seeds_alone() -> None:
    one, again, other = grouped(seed=1), grouped(seed=1), grouped(seed=2)
    assert one.benchmark.protocol_sha256 == again.benchmark.protocol_sha256
    assert (one.balanced == again.balanced).all()
    assert one.benchmark.protocol_sha256 != other.benchmark.protocol_sha256


def test_where_few_pairs_exist_all_are_taken() -> None:
    found = grouped(impostors=1_000_000)
    images = PEOPLE // 3 * EACH
    for title in found.titles:
        every = images * (images - 1) // 2 - PEOPLE // 3 * 6
        assert found.count(title, same=False) == every


def test_a_group_with_too_few_pairs_is_refused() -> None:
    with pytest.raises(InputError, match=r"group toy, number below 8: 48 genuine and 10 impost"):
        grouped(impostors=30)
    lonely = Groups("number", ("few", "many"), {n: "few" if n < "p02" else "many" for n in VALUES})
    benchmark = benchmark_of()
    people = {name: subject_of(name, "folder") for name in benchmark.images}
    with pytest.raises(InputError, match=r"number few: 12 genuine and 16 impostor pairs, expected"):
        pairs_within(benchmark, people, lonely, impostors=300, seed=1)


def test_a_protocol_may_bring_its_groups() -> None:
    found = grouped()
    names = {title: f"g{at}" for at, title in enumerate(found.titles)}
    group = tuple(names[title] for title in found.group)
    own = own_groups(replace(found.benchmark, group=("", *group[1:])), "group")  # one is of no one
    assert own.titles == ("g0", "g1", "g2") and own.balanced.all()
    assert own.group == ("", *group[1:])
    few = replace(found.benchmark, group=("g9", *group[1:]))
    with pytest.raises(InputError, match="group g9: 1 genuine and 0 impostor pairs"):
        own_groups(few, "group")
