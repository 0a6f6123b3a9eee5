"""The order of faces: every one as often as its round weighs, any starting face, any readers."""

from __future__ import annotations

from collections import Counter
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.toys import make_round
from train.batching.batches import Batch, BatchStream
from train.batching.order import Order, Pool, Together, by_identity
from train.batching.sources import Source, open_source

WEIGHTS = st.floats(0.05, 3.5)


def faces(pools: list[Pool]) -> list[tuple[int, int]]:
    """(source, row) of each face, as it is seen."""
    seen = []
    for pool in pools:
        rows = [(part.source, int(row)) for part in pool.parts for row in part.rows]
        seen += [rows[at] for at in pool.order]
    return seen


def first_faces(order: Order, count: int, start: int = 0) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for pool in order.pools(start):
        found += faces([pool])
        if len(found) >= count:
            return found[:count]
    raise AssertionError("the order ended")


SOURCES = st.lists(st.tuples(st.integers(1, 300), WEIGHTS), max_size=2)


def order_of(others: list[tuple[int, float]], pool_rows: int, seed: int) -> Order:
    """Of a source of weight 1 and some others, of which some faces have failed."""
    sizes, weights = zip((120, 1.0), *others, strict=True)
    usable = [np.flatnonzero((7 * np.arange(n) + 1) % 5) for n in sizes]
    return Order(usable, weights, pool_rows=pool_rows, seed=seed)


POOLS, SEEDS = st.sampled_from([64, 192]), st.integers(0, 100)


@given(SOURCES, POOLS, SEEDS, st.integers(0, 2))
def test_an_epoch_shows_each_face_as_often_as_its_source_weighs(
    others: list[tuple[int, float]], pool_rows: int, seed: int, epoch: int
) -> None:
    order = order_of(others, pool_rows, seed)
    seen = Counter(first_faces(order, order.num_faces, epoch * order.num_faces))
    for source, (whole, extra) in enumerate(zip(order.passes, order.extras, strict=True)):
        times = [seen[source, int(row)] for row in order.usable[source]]
        assert sorted(times) == [whole] * (len(times) - extra) + [whole + 1] * extra
    assert sum(seen.values()) == order.num_faces


@given(SOURCES, POOLS, SEEDS, st.integers(0, 900))
def test_any_face_can_be_the_first(
    others: list[tuple[int, float]], pool_rows: int, seed: int, start: int
) -> None:
    order = order_of(others, pool_rows, seed)
    assert first_faces(order, 50, start) == first_faces(order, start + 50)[start:]


def test_weights_of_one_change_nothing() -> None:
    usable = [np.arange(500), np.arange(0, 300, 2)]
    plain, heavy = (Order(usable, [1.0, w], pool_rows=128, seed=3) for w in (1.0, 2.0))
    assert plain.num_faces == 650 and heavy.num_faces == 800
    blocks = [(part.source, part.start) for part in chain(*plain.epoch(0))]
    order = np.random.default_rng((3, 1, 0)).permutation(len(blocks))
    by_source = [(0, at) for at in range(0, 500, 64)] + [(1, at) for at in range(0, 300, 64)]
    assert blocks == [by_source[index] for index in order]


def test_extras_are_drawn_anew_every_epoch() -> None:
    order = Order([np.arange(256)], [0.25], pool_rows=64, seed=1)
    first, second = (set(first_faces(order, 64, at)) for at in (0, 64))
    assert len(first) == len(second) == 64 and first != second


LABELLED = st.tuples(st.integers(0, 100), st.integers(1, 30), st.sampled_from([2, 3, 4, 8]))


def balanced(seed: int, people: int, faces: int, pool_rows: int = 192) -> Order:
    """Of 500 rows with an identity, stored together as rounds have them, and 90 of nobody, in two
    sources; the second is shown twice and a half."""
    rng = np.random.default_rng(seed)
    labels = [np.sort(rng.integers(0, people, 500)), np.full(90, -1)]
    labels[1][::3] = people
    together = Together(faces, labels)
    usable = [np.flatnonzero((7 * np.arange(len(own)) + 1) % 5) for own in labels]
    return Order(usable, [1.0, 2.5], pool_rows=pool_rows, seed=seed, together=together)


@given(LABELLED, st.integers(0, 1))
def test_faces_of_an_identity_together_are_each_seen_as_often(
    drawn: tuple[int, int, int], epoch: int
) -> None:
    order = balanced(*drawn)
    plain = Order(order.usable, [1.0, 2.5], pool_rows=192, seed=order.seed)
    start = epoch * order.num_faces
    found, expected = (first_faces(each, order.num_faces, start) for each in (order, plain))
    assert Counter(found) == Counter(expected)
    assert found != expected


@given(LABELLED, st.integers(0, 900))
def test_any_face_can_be_the_first_of_those_together(
    drawn: tuple[int, int, int], start: int
) -> None:
    order = balanced(*drawn)
    assert first_faces(order, 50, start) == first_faces(order, start + 50)[start:]


@given(LABELLED)
def test_as_many_slots_as_a_pool_has_are_one_identity_s(drawn: tuple[int, int, int]) -> None:
    """A slot is counted where every batch of a multiple of it begins; a pool of everybody's whole
    slots may have to break one up where it begins amid one."""
    order, faces = balanced(*drawn), drawn[2]
    assert order.together is not None
    at, whole = 0, 0
    stream: list[int] = []
    for pool in islice(order.pools(0), 12):
        labels = order.together.of(pool.parts)
        counts = Counter(labels[labels >= 0].tolist())
        whole += sum(count // faces for count in counts.values())
        stream += labels[pool.order].tolist()
        slots = np.array(stream[: len(stream) // faces * faces]).reshape(-1, faces)
        alike = int(((slots == slots[:, :1]).all(axis=1) & (slots[:, 0] >= 0)).sum())
        at += 1
        assert alike >= whole - at


def test_slots_of_one_identity_are_not_told_by_their_place() -> None:
    """Those of nobody are not all at the end of a pool."""
    rng, labels = np.random.default_rng(0), np.repeat([-1, 0, 1, 2, 3], [64, 16, 16, 16, 16])
    places = [np.flatnonzero(labels[by_identity(labels, 4, 0, rng)] < 0).mean() for _ in range(200)]
    assert np.mean(places) == pytest.approx(63.5, abs=5 * 13 / 200**0.5)  # a mean of 16 slots' own


def test_each_slot_of_a_whole_pool_is_another_identity_s() -> None:
    labels = np.repeat(np.arange(8), 4)
    found = labels[by_identity(labels, 4, 0, np.random.default_rng(0))].reshape(8, 4)
    assert (found == found[:, :1]).all() and sorted(found[:, 0].tolist()) == list(range(8))
    shifted = labels[by_identity(labels, 4, 3, np.random.default_rng(0))]  # one is broken up
    inner = shifted[1:29].reshape(7, 4)
    assert (inner == inner[:, :1]).all() and len(set(shifted[[0, 29, 30, 31]].tolist())) == 1


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Source]:
    monkeypatch.chdir(tmp_path)
    made = [
        make_round(name, count, seed=seed) for name, count, seed in (("a", 500, 1), ("b", 90, 2))
    ]
    return [open_source(faces, {"toy": teacher}) for faces, teacher in made]


def drawn(sources: list[Source], readers: int) -> list[Batch]:
    stream = BatchStream(
        sources, batch=48, pool_rows=192, seed=4, weights=[1.0, 1.5], readers=readers
    )
    return list(islice(stream.batches(3), 14))


@pytest.mark.parametrize("readers", [2, 5])
def test_any_number_of_readers_gives_the_same_batches(sources: list[Source], readers: int) -> None:
    for one, other in zip(drawn(sources, 1), drawn(sources, readers), strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets["toy"], other.targets["toy"])
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.face_ids, other.face_ids)


def test_a_reader_that_fails_stops_the_stream(
    sources: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = BatchStream(sources, batch=48, pool_rows=64, seed=4).batches()
    next(batches)

    def broken(*_: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr("train.batching.batches.read_block", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        list(islice(batches, 20))
