"""Forecasts are exact where they say so: against stores that were sealed, and by arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.building.ledger import NAME as LEDGER
from manifests.building.writing import METADATA, Column, plan_tasks, shard_path
from manifests.core import layout
from manifests.settings.params import load_params
from manifests.stores.metadata import files_of
from manifests.stores.passport import NAME as PASSPORT
from manifests.stores.reading import COLUMN_SHARD_TASKS
from pipeline.building.embeddings import columns_of
from pipeline.building.faces import COLUMNS
from pipeline.generators.base import Generator
from pipeline.planning.estimates import Estimate, Estimates, Parts, row_bytes, spread_over
from pipeline.planning.forecasts import Forecast, count_files, forecast, online_seconds, total
from pipeline.teachers.base import Teacher
from tests.conftest import ROOT
from tests.pipeline.conftest import LONG_ROWS, LONG_SHARD, SHARDED_ROWS, LongRound
from tests.toys import toy_faces, toy_teacher

CHUNK = 64
TOY_FACES = [Column("ok", "bool"), Column("reason", "uint8"), Column("quality", "float32")]
TOY_TEACHER = [Column("embeddings", "float16", (2, 3)), Column("norms", "float32", (2,))]
COUNTS = st.integers(0, 10**9)


def estimates(**values: float) -> Estimates:
    given = {
        "face_bytes": 20_000.0, "embedding_bytes": 400.0, "usable": 0.8, "render_rate": 500.0,
        "embed_rate": 200.0, **values,
    }  # fmt: skip
    return Estimates(**{name: Estimate(value, "told") for name, value in given.items()})


@pytest.fixture(scope="module")
def parts(dcgan: Generator, dlib_resnet: Teacher) -> Parts:
    return Parts(load_params(ROOT / "params.yaml"), dcgan, dlib_resnet)


class TestFiles:
    @pytest.mark.parametrize(
        ("rows", "shard_rows"),
        [
            *((rows, CHUNK) for rows in (0, 1, 64, 65, 64 * 16, 64 * 16 + 1, 64 * 33)),
            *((rows, 1024) for rows in (1024, 1100, 1024 * 16 + 1)),
        ],
    )
    def test_toy_stores_have_as_many_as_counted(
        self, tmp_path: Path, rows: int, shard_rows: int
    ) -> None:
        images = np.zeros((rows, 2, 2, 3), np.uint8)
        faces = toy_faces(tmp_path / "f", images, task_rows=shard_rows)
        rng = np.random.default_rng(0)
        embeddings = rng.standard_normal((rows, 2, 3)).astype(np.float32)
        teacher = toy_teacher(tmp_path / "t", embeddings, task_rows=shard_rows)
        for store, columns, pictures in ((faces, TOY_FACES, True), (teacher, TOY_TEACHER, False)):
            found = len(list(files_of(store.path)))
            assert count_files(rows, shard_rows, columns, pictures=pictures) == found

    def test_rendered_rounds_have_as_many_as_counted(
        self, rounds_once: Path, long_round: LongRound, sharded_once: Path, parts: Parts
    ) -> None:
        for root, name, rows, shard_rows in (
            (rounds_once, "pool", 72, 1024),
            (rounds_once, "probe", 40, 1024),
            (long_round.at_once, "pool", LONG_ROWS, LONG_SHARD),
            (sharded_once, "pool", SHARDED_ROWS, 64),
        ):
            faces = root / layout.faces(name)
            teacher = root / layout.teacher(name, parts.teacher.name)
            found = [len(list(files_of(store))) for store in (faces, teacher)]
            assert found == [
                count_files(rows, shard_rows, COLUMNS, pictures=True),
                count_files(rows, shard_rows, columns_of(parts.teacher), pictures=False),
            ]

    @given(
        num_rows=st.integers(0, 100_000),
        task_rows=st.sampled_from([64, 1024, 3072]),
        columns=st.integers(0, 5),
        pictures=st.booleans(),
    )
    def test_every_file_is_named_once(
        self, num_rows: int, task_rows: int, columns: int, pictures: bool
    ) -> None:
        tasks = plan_tasks(num_rows, task_rows)
        names = {METADATA, LEDGER, PASSPORT}
        for column in map(str, range(columns)):
            names |= {f"{column}/{METADATA}"}
            names |= {shard_path(column, task.shard // COLUMN_SHARD_TASKS, 1) for task in tasks}
        if pictures:
            names |= {f"images/{METADATA}", *(shard_path("images", t.shard, 4) for t in tasks)}
        several = [Column(str(index), "bool") for index in range(columns)]
        assert count_files(num_rows, task_rows, several, pictures=pictures) == len(names)


def test_pieces_are_as_large_as_rows_before_compression(
    sharded_once: Path, parts: Parts, tmp_path: Path
) -> None:
    piece = tmp_path / "piece.npz"
    for columns in (COLUMNS, columns_of(parts.teacher)):
        rows = {c.name: np.zeros((SHARDED_ROWS, *c.shape), c.dtype) for c in columns}
        np.savez(piece, allow_pickle=False, **rows)
        overhead = 400 * len(columns)  # names and shapes
        assert 0 < piece.stat().st_size - row_bytes(columns) * SHARDED_ROWS < overhead


def test_noise_is_stored_in_no_more_than_the_upper_bound(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (512, 32, 32, 3), dtype=np.uint8)
    store = toy_faces(tmp_path / "f", images, task_rows=CHUNK)
    stored = sum((store.path / name).stat().st_size for name in files_of(store.path))
    bound = 512 * row_bytes([Column("images", "uint8", (32, 32, 3)), *TOY_FACES])
    assert 0.95 * bound < stored < 1.02 * bound  # beside metadata, which 512 rows make visible


class TestForecast:
    def test_numbers_of_a_round(self, parts: Parts) -> None:
        found = forecast("pool", 100_000, parts, estimates())
        assert (found.num_usable, found.render.num_shards) == (80_000, 98)
        assert (found.render.seconds, found.embed.seconds) == (200.0, 400.0)
        assert found.render.num_bytes == 2e9
        assert found.embed.num_bytes == 4e7
        assert found.both.num_files == (98 + 1 + 4 * (7 + 1) + 3) + (2 * (7 + 1) + 3)
        assert found.bytes_needed == pytest.approx(2 * 2.04e9 + 100_000 * (2 * 128 * 2 + 8))

    def test_an_empty_round_takes_files_alone(self, parts: Parts) -> None:
        found = forecast("mined-9", 0, parts, estimates())
        assert (found.both.num_shards, found.bytes_needed, found.both.seconds_left) == (0, 0, 0)
        assert found.both.num_files == (1 + 4 + 3) + (2 + 3)

    def test_what_is_done_need_not_be_done(self, parts: Parts) -> None:
        found = forecast("pool", 4096, parts, estimates(), done=(4, 1))
        assert (found.render.bytes_left, found.render.seconds_left) == (0.0, 0.0)
        assert found.embed.seconds_left == pytest.approx(0.75 * found.embed.seconds)
        assert found.bytes_needed < forecast("pool", 4096, parts, estimates()).bytes_needed

    @settings(max_examples=50)
    @given(counts=st.lists(COUNTS, min_size=1, max_size=5))
    def test_rounds_add_up(self, parts: Parts, counts: list[int]) -> None:
        rounds = [forecast(str(n), n, parts, estimates()) for n in counts]
        whole = total("all", rounds)
        assert whole.num_faces == sum(counts)
        assert whole.both.num_files == sum(each.both.num_files for each in rounds)
        assert whole.both.seconds == pytest.approx(sum(each.both.seconds for each in rounds))
        largest = max(each.both.scratch_bytes for each in rounds)
        assert whole.both.scratch_bytes == largest  # pieces go when a store is sealed

    @settings(max_examples=50)
    @given(fewer=COUNTS, more=COUNTS)
    def test_more_faces_never_take_less(self, parts: Parts, fewer: int, more: int) -> None:
        def numbers(count: int) -> list[float]:
            found: Forecast = forecast("", count, parts, estimates())
            return [found.both.num_files, found.both.seconds, found.bytes_needed]

        low, high = sorted((fewer, more))
        assert all(a <= b for a, b in zip(numbers(low), numbers(high), strict=True))

    def test_hours_go_with_the_number_of_workers(self, parts: Parts) -> None:
        here = estimates()
        spread = spread_over(here, 16, 2)
        one, other = (forecast("", 10_000, parts, each) for each in (here, spread))
        assert other.both.seconds == pytest.approx(one.both.seconds / 8)
        assert "16 workers taken as 8 times the 2 cores" in spread.embed_rate.source
        assert spread.face_bytes == here.face_bytes


def test_an_online_run_embeds_one_view_of_forty_two_million_faces() -> None:
    found = online_seconds(estimates(render_rate=1000.0, embed_rate=500.0))
    assert found == pytest.approx(42.0e6 / 1000 + 42.0e6 / (2 * 500), rel=1e-3)
