"""Mixes of rounds: exact shares, and faces chosen by what they are, not by where they stand."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.records.attributes import FACES, Attribute, AttributeTable
from manifests.records.attributes import Source as Table
from manifests.settings.params import Params
from manifests.settings.training import Mix, Run
from manifests.stores.rounds import open_round
from tests.toys import make_round
from train.batching.mixing import Portion, chosen, draws, mix, mix_groups, most_faces, quotas
from train.batching.sources import Source, num_usable, open_source
from train.engine.supervised import Supervised, open_plan

WEIGHTS = st.lists(st.integers(1, 100), min_size=1, max_size=6)
IDS = st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=60, unique=True)


@given(st.integers(0, 10_000), WEIGHTS)
def test_quotas_add_up_and_are_exact_to_one_face(total: int, weights: list[int]) -> None:
    shares = [weight / sum(weights) for weight in weights]
    found = quotas(total, shares)
    assert sum(found) == total
    for count, share in zip(found, shares, strict=True):
        assert abs(count - total * share) < 1 + 1e-6


def test_quotas_by_hand() -> None:
    assert quotas(10, [0.7, 0.3]) == [7, 3]
    assert quotas(11, [0.7, 0.3]) == [8, 3]  # 7.7 and 3.3
    assert quotas(5, [0.5, 0.5]) == [3, 2]  # of two equal remainders the first
    assert quotas(0, [0.5, 0.5]) == [0, 0]


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 20)), min_size=1, max_size=4))
def test_the_most_faces_fit_and_one_more_does_not(parts: list[tuple[int, int]]) -> None:
    available = [count for count, _ in parts]
    whole = sum(weight for _, weight in parts)
    shares = [weight / whole for _, weight in parts]
    total = most_faces(available, shares)
    fits = [
        all(q <= a for q, a in zip(quotas(some, shares), available, strict=True))
        for some in (total, total + 1)
    ]
    assert fits == [True, False]


@given(IDS, st.integers(0, 60), st.integers(0, 2**31), st.randoms())
def test_who_is_chosen_does_not_depend_on_the_order(
    ids: list[int], count: int, seed: int, random: object
) -> None:
    shuffled = list(ids)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (np.array(each)[chosen(np.array(each), count, seed)] for each in (ids, shuffled))
    assert set(one.tolist()) == set(other.tolist())
    assert len(one) == min(count, len(ids))


@given(IDS, st.integers(0, 2**31))
def test_a_smaller_choice_is_part_of_a_larger_one(ids: list[int], seed: int) -> None:
    sets = [set(chosen(np.array(ids), count, seed).tolist()) for count in range(len(ids) + 1)]
    assert all(small < large for small, large in pairwise(sets))


def test_draws_are_even_and_those_of_two_seeds_are_strangers() -> None:
    ids = np.arange(20_000)
    one, other = (draws(ids, seed) / 2**64 for seed in (1, 2))
    assert abs(one.mean() - 0.5) < 0.01 and abs(np.corrcoef(one, other)[0, 1]) < 0.03
    assert np.abs(np.histogram(one, 20, (0, 1))[0] - 1000).max() < 150
    assert len(np.unique(draws(ids, 1))) == len(ids)  # a bijection


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Source]:
    """Two rounds, of 100 and of 50 faces, some of which were not found."""
    monkeypatch.chdir(tmp_path)
    found = []
    for name, count in (("pool", 100), ("mined-1", 50)):
        make_round(name, count, seed=count)
        files = open_round(name, "toy")
        found.append(open_source(files.faces, {"toy": files.teacher}, manifest=files.manifest))
    return found


def portions(sources: list[Source], *shares: float) -> list[Portion]:
    return [
        Portion(f"part {at}", share, {at: source.usable})
        for at, (source, share) in enumerate(zip(sources, shares, strict=True))
    ]


def test_a_mix_has_its_shares_of_usable_faces(sources: list[Source]) -> None:
    mixed = mix(sources, portions(sources, 0.7, 0.3), 40, seed=1)
    assert [len(source.usable) for source in mixed] == [28, 12]
    for before, after in zip(sources, mixed, strict=True):
        assert set(after.usable) <= set(before.usable)
        assert (np.diff(after.usable) > 0).all()
    again = mix(sources[::-1], portions(sources[::-1], 0.3, 0.7), 40, seed=1)
    assert [list(source.usable) for source in again[::-1]] == [list(s.usable) for s in mixed]
    other = mix(sources, portions(sources, 0.7, 0.3), 40, seed=2)
    assert list(other[0].usable) != list(mixed[0].usable)


def test_several_rounds_of_one_part_are_one_set(sources: list[Source]) -> None:
    both = {at: source.usable for at, source in enumerate(sources)}
    total = sum(map(len, both.values()))
    mixed = mix(sources, [Portion("part", 1.0, both)], None, seed=1)
    assert sum(len(source.usable) for source in mixed) == total
    half = mix(sources, [Portion("part", 1.0, both)], total // 2, seed=1)
    share = len(half[0].usable) / (total // 2)
    assert abs(share - len(both[0]) / total) < 0.2


def test_more_faces_than_there_are_is_refused(sources: list[Source]) -> None:
    have = len(sources[1].usable)
    message = f"part 1: {have} usable faces, its share of 0.5 asks for 60; lower faces or the share"
    with pytest.raises(InputError, match=message):
        mix(sources, portions(sources, 0.5, 0.5), 120, seed=1)
    empty = [sources[0], replace(sources[1], usable=sources[1].usable[:0])]
    with pytest.raises(InputError, match="part 1: 0 usable faces"):
        mix(empty, portions(empty, 0.5, 0.5), None, seed=1)


def test_a_face_cannot_be_of_two_parts(sources: list[Source]) -> None:
    twice = [Portion(f"part {at}", 0.5, {0: sources[0].usable}) for at in (1, 2)]
    path = layout.faces("pool").as_posix()
    with pytest.raises(InputError, match=rf"part 2: face \d+ of {path} may be of an earlier part"):
        mix(sources, twice, 10, seed=1)


MALE = Attribute("Male", "", 0.0, 1.0, (0.0, 0.5, 1.0), "said to be")
TABLES = {"pool": "pool.parquet", "mined-1": "mined-1.parquet"}


def annotate(sources: list[Source], seed: int = 3) -> None:
    """A third of the faces are female; what was not found is undefined, as are a few more."""
    for source, path in zip(sources, TABLES.values(), strict=True):
        rng = np.random.default_rng(seed + len(source.faces))
        values = np.where(rng.random(len(source.faces)) < 1 / 3, 0.2, 0.9).astype(np.float32)
        values[~source.faces.ok() | (rng.random(len(values)) < 0.05)] = np.nan
        AttributeTable(
            {"name": "toy"}, Table(FACES, path, source.faces.root), (MALE,), values[:, None],
            source.face_ids, None, ("",) * len(values),
        ).write(Path(path))  # fmt: skip


def group_of(source: Source, path: str) -> np.ndarray:
    values = AttributeTable.read(Path(path)).column("Male")
    return np.where(np.isnan(values), "", np.where(values >= 0.5, "Male", "not Male"))


def test_a_mix_of_groups_has_its_shares_whatever_the_rounds_hold(sources: list[Source]) -> None:
    annotate(sources)
    wanted = Mix(("Male",), TABLES, {"Male": 0.5, "not Male": 0.5})
    found = mix_groups("mix", wanted, sources, seed=1)
    counts = found.facts["by_group"]
    assert counts["Male"] - counts["not Male"] in (0, 1)  # of all of the rarer one
    groups = [group_of(source, path) for source, path in zip(sources, TABLES.values(), strict=True)]
    rarer = sum((own[s.usable] == "not Male").sum() for s, own in zip(sources, groups, strict=True))
    assert counts["not Male"] == rarer
    for source, own in zip(found.sources, groups, strict=True):
        assert (own[source.usable] != "").all()
    again = mix_groups("mix", wanted, sources, seed=1)
    assert again.facts == found.facts and set(found.tables) == set(TABLES.values())
    other = mix_groups("mix", wanted, sources, seed=2)
    assert other.facts["rows_sha256"] != found.facts["rows_sha256"]
    few = mix_groups("mix", replace(wanted, faces=10), sources, seed=1)
    assert few.facts["by_group"] == {"Male": 5, "not Male": 5}
    alone = mix_groups("mix", Mix(("Male",), TABLES, {"Male": 1.0}), sources, seed=1)
    assert "not Male" not in alone.facts["by_group"]


def test_the_faces_of_one_identity_are_of_one_group(sources: list[Source]) -> None:
    annotate(sources)
    people = np.arange(len(sources[0].faces)) // 5
    one = [replace(sources[0], identities=people)]
    found = mix_groups("mix", Mix(("Male",), TABLES, {"not Male": 1.0}), one, seed=1)
    values = AttributeTable.read(Path(TABLES["pool"])).column("Male")
    chosen = {int(people[row]) for row in found.sources[0].usable}
    female = {int(p) for p in np.unique(people) if np.nanmean(values[people == p]) < 0.5}
    assert chosen == female and 0 < len(female) < 20


def test_a_group_with_too_few_faces_is_refused_with_the_numbers(sources: list[Source]) -> None:
    annotate(sources)
    wanted = Mix(("Male",), TABLES, {"Male": 0.5, "not Male": 0.5}, faces=400)

    def refused(message: str, wanted: Mix = wanted) -> None:
        with pytest.raises(InputError, match=message):
            mix_groups("run start: mix", wanted, sources, seed=1)

    refused(
        r"mix: group 'Male' \(of Male \d+, not Male \d+\): \d+ usable faces, its share of 0\.5 a"
    )
    refused(r"group 'Asian' \(of Male \d+, not Male \d+\): 0 usable faces",
            replace(wanted, shares={"Asian": 1.0}))  # fmt: skip
    refused("tables: none of round mined-1", replace(wanted, tables={"pool": TABLES["pool"]}))
    swapped = {"pool": TABLES["mined-1"], "mined-1": TABLES["pool"]}
    refused("measured on face store", replace(wanted, tables=swapped))


def test_a_run_sees_its_mix_and_depends_on_it(sources: list[Source], params: Params) -> None:
    annotate(sources)
    small = replace(params.train.student, input_size=32, width=0.125)
    wanted = Mix(("Male",), TABLES, {"Male": 0.25, "not Male": 0.75})

    def plan(mix: Mix | None, **changes: int) -> Supervised:
        runs = {"start": Run(64, 1.0, 0.0, mix=mix)}
        train = replace(params.train, student=small, batch=8, leave_out=(), runs=runs, **changes)
        own = replace(params, train=train, teacher="toy")
        return open_plan("start", ["pool", "mined-1"], None, own)

    plain, mixed = plan(None), plan(wanted)
    assert mixed.settings["chosen"]["by_group"]["Male"] * 3 <= num_usable(mixed.sources)
    assert "mix" not in plain.settings["runs"]["start"]
    assert mixed.settings["runs"]["start"]["mix"]["shares"] == dict(wanted.shares)
    assert set(TABLES.values()) <= set(mixed.stores) and not {*TABLES.values()} & {*plain.stores}
    assert mixed.digest == plan(wanted).digest != plain.digest
    assert plan(wanted, seed=99).settings["chosen"] != mixed.settings["chosen"]
    assert "; faces of Male " in mixed.how_trained and ";" not in plain.how_trained


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shares": {"a": 0.5, "b": 0.4}}, "mix: shares that add up to 0.9 by 1 attributes"),
        ({"by": []}, "mix: shares that add up to 1 by 0 attributes; expected 1, and at least one"),
        ({"shares": {"a": 1.0, "b": 0.0}}, "mix: shares: b"),
    ],
)
def test_shares_that_make_no_mix_are_refused(changes: dict, message: str) -> None:
    section = {"by": ["Male"], "tables": {}, "shares": {"a": 1.0}, **changes}
    with pytest.raises(InputError, match=message):
        Mix.parsed(section, "mix")
