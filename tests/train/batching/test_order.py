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
from train.batching.order import Order, Pool
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
