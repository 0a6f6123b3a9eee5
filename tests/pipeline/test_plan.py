"""The plan of rounds that were really rendered and embedded, and of those that could be."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.building.ledger import NAME as LEDGER
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.settings.params import Params, load_params
from manifests.stores.metadata import files_of
from manifests.stores.passport import Passport
from pipeline.generators.base import Generator
from pipeline.plan import main, plan_of, rounds_here, shards_done
from pipeline.planning.estimates import Estimate, Parts, estimate
from pipeline.planning.report import in_bytes, in_time, table, warnings
from pipeline.render import open_rendering
from pipeline.teachers.base import Teacher
from tests.pipeline.conftest import POOL_ROWS, PROBE_ROWS

NAME = "dlib-resnet"
SAMPLED = {
    name: Estimate(value, "told")
    for name, value in (("usable", 0.75), ("render_rate", 300.0), ("embed_rate", 100.0))
}


@pytest.fixture
def parts(rounds: Path, dcgan: Generator, dlib_resnet: Teacher) -> Parts:
    """Of the rounds pool and probe, which lie in the current folder."""
    return Parts(load_params(), dcgan, dlib_resnet)


@pytest.fixture
def fresh(workspace: Path, params: Params, dcgan: Generator, dlib_resnet: Teacher) -> Parts:
    """Of a checkout in which nothing was made."""
    return Parts(params, dcgan, dlib_resnet)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample that needs no measuring."""
    monkeypatch.setattr(Parts, "sample", SAMPLED)


def record(stage: str, *lines: object) -> None:
    layout.COSTS.mkdir(parents=True, exist_ok=True)
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (layout.COSTS / f"{stage}.jsonl").write_text("".join(f"{text}\n" for text in texts))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["plan", *arguments])
    return main()


class TestEstimates:
    def test_bytes_are_those_of_the_stores_here(self, parts: Parts) -> None:
        found = estimate(parts)
        rows = POOL_ROWS + PROBE_ROWS
        for value, paths in (
            (found.face_bytes, [layout.faces(n) for n in ("pool", "probe")]),
            (found.embedding_bytes, [layout.teacher(n, NAME) for n in ("pool", "probe")]),
        ):
            stored = sum((path / f).stat().st_size for path in paths for f in files_of(path))
            assert value.value == pytest.approx(stored / rows)
            assert value.source == f"measured, {rows} rows in 2 stores"

    def test_usable_share_is_that_of_the_passports(self, parts: Parts) -> None:
        passports = [Passport.read(layout.faces(name)) for name in ("pool", "probe")]
        usable = sum(passport.num_ok for passport in passports)
        assert estimate(parts).usable.value == usable / (POOL_ROWS + PROBE_ROWS)

    def test_stores_of_other_parts_say_nothing(self, parts: Parts, told: None) -> None:
        passport = layout.faces("pool") / "passport.json"
        values = json.loads(passport.read_text())
        values["fingerprint"]["identity"]["name"] = "other"
        del values["digest"], values["metadata"]
        passport.unlink()
        passport.write_text(json.dumps(values | {"schema_version": 1}))
        assert estimate(parts).face_bytes.source == f"measured, {PROBE_ROWS} rows in 1 store"

    def test_without_stores_bytes_are_uncompressed(self, fresh: Parts, told: None) -> None:
        found = estimate(fresh)
        assert found.face_bytes.value == 96 * 96 * 3 + 1 + 1 + 5 * 2 * 4 + 4
        assert found.embedding_bytes.value == 2 * 128 * 2 + 2 * 4
        assert found.face_bytes.source.startswith("uncompressed, an upper bound")
        assert (found.usable.value, found.render_rate.value, found.embed_rate.value) == (
            0.75, 300.0, 100.0,
        )  # fmt: skip

    def test_rates_are_the_median_of_recorded_builds(self, fresh: Parts, told: None) -> None:
        record("render@a", {"stage": "render@a", "seconds": 10.0, "rows": 1000})
        record(
            "render@b",
            {"stage": "render@b", "seconds": 0.1, "rows": 9000},  # resumed at its last shard
            {"stage": "render@b", "seconds": 20.0, "rows": 9000},
            {"stage": "render@b", "seconds": 20.0, "rows": None},
            {"stage": "render@b", "seconds": 20.0},
            {"stage": "render@b", "seconds": 0.0, "rows": 0},
        )
        record("train", {"stage": "train", "seconds": 1.0, "rows": 7})
        found = estimate(fresh)
        assert found.render_rate.value == 450.0
        assert found.render_rate.source == "median of 3 builds here"
        assert found.embed_rate.source == "told"

    def test_another_teachers_hours_are_not_ours(self, fresh: Parts, told: None) -> None:
        record("embed@a", {"stage": "embed@a", "seconds": 1.0, "rows": 50})
        record("embed@b", {"stage": "embed@b", "seconds": 1.0, "rows": 9999})
        layout.teacher("b", "another").mkdir(parents=True)
        assert estimate(fresh).embed_rate.value == 50.0

    def test_a_sample_is_rendered_and_embedded(self, fresh: Parts) -> None:
        before = sorted(Path().rglob("*"))
        sample = fresh.sample
        usable, render, embed = (sample[n] for n in ("usable", "render_rate", "embed_rate"))
        assert 0.5 < usable.value < 1.0
        assert 1.0 < embed.value < render.value < 100_000.0
        assert usable.source.startswith("sampled now: 128 latents, one thread, times ")
        assert sorted(Path().rglob("*")) == before  # nothing was written


class TestDone:
    def done(self, name: str, parts: Parts) -> tuple[int, int]:
        return shards_done(open_rendering(name, parts.params), parts)

    def test_finished_rounds_are_done(self, parts: Parts) -> None:
        assert self.done("pool", parts) == (1, 1)

    def test_embeddings_that_were_never_begun_are_not(self, parts: Parts) -> None:
        shutil.rmtree(layout.WORK / f"embed-pool-{NAME}")
        assert self.done("pool", parts) == (1, 0)

    def test_without_scratch_everything_is_to_be_done(self, parts: Parts) -> None:
        shutil.rmtree(layout.WORK)
        assert self.done("pool", parts) == (0, 0)

    def test_other_parameters_have_nothing_done(self, parts: Parts) -> None:
        values = vars(parts.params.render) | {"frame_size": 64}
        render = type(parts.params.render)(**values)
        params = type(parts.params)(**vars(parts.params) | {"render": render})
        assert self.done("pool", Parts(params, parts.generator, parts.teacher)) == (0, 0)

    def test_an_interrupted_build_counts_its_shards(self, parts: Parts) -> None:
        work = open_rendering("pool", parts.params).work
        (work / "store/passport.json").unlink()
        assert self.done("pool", parts) == (1, 0)
        (work / LEDGER).write_text('{"shard":0,"inp')  # torn by the crash
        assert self.done("pool", parts) == (0, 0)


class TestPlan:
    def test_rounds_are_summed_and_numbers_are_not(self, parts: Parts) -> None:
        found = plan_of(["pool", "probe"], [1000, 10**6], parts)
        assert [whole.num_faces for whole in found.wholes] == [112, 1000, 10**6]
        assert found.wholes[0].bytes_needed == 0.0  # all is done
        assert replace(found, free_bytes=1 << 60).fits and not replace(found, free_bytes=0).fits

    def test_tables_are_right_aligned(self, parts: Parts) -> None:
        lines = table(plan_of(["pool", "probe"], [10**6], parts))
        assert len({len(line) for line in lines}) == 1
        assert [line.split()[0] for line in lines] == ["faces", "pool", "probe", "all", "1,000,000"]
        ends = [[m.end() for m in re.finditer(r"\S(?=  |$)", line)][1:8] for line in lines[1:]]
        assert all(found == ends[0] for found in ends)

    def test_large_rounds_are_warned_of(self, fresh: Parts, told: None) -> None:
        files, latents = warnings(plan_of([], [10**8], fresh))
        assert files.startswith("100,000,000: 134,294 files")
        assert latents.startswith("100,000,000: its latents fill 80 GB in each of")

    def test_a_shard_as_advised_is_as_it_should_be(self, fresh: Parts, told: None) -> None:
        (text,) = warnings(plan_of([], [10**5], with_shards(fresh, 64)))
        found = re.search(r"shard_rows: (\d+) gives", text)
        assert found is not None and int(found[1]) % 64 == 0
        assert not list(warnings(plan_of([], [10**5], with_shards(fresh, int(found[1])))))

    def test_one_shard_may_be_small(self, fresh: Parts, told: None) -> None:
        assert not list(warnings(plan_of([], [64], fresh)))

    def test_workers_change_hours_alone(self, fresh: Parts, told: None) -> None:
        here, spread = (
            plan_of([], [10**6], fresh, workers=workers).wholes[0] for workers in (1, 10)
        )
        assert spread.both.seconds == pytest.approx(here.both.seconds / 10)
        assert spread.both.num_files == here.both.num_files


def with_shards(parts: Parts, rows: int) -> Parts:
    render = type(parts.params.render)(**vars(parts.params.render) | {"shard_rows": rows})
    params = type(parts.params)(**vars(parts.params) | {"render": render})
    return Parts(params, parts.generator, parts.teacher)


class TestCommand:
    def test_all_rounds_without_arguments(
        self, rounds: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(monkeypatch, "--json", "plan.json") == 0
        out = capsys.readouterr().out
        assert re.search(r"^all rounds +112 +\d+ +2 +2 +2 ", out, re.MULTILINE)
        values = json.loads(Path("plan.json").read_text())
        assert [each["name"] for each in values["forecasts"]] == ["pool", "probe", "all rounds"]
        assert values["forecasts"][0]["render"]["num_files"] == len(
            list(files_of(layout.faces("pool")))
        )
        assert values["fits"] and values["teacher"] == NAME
        assert values["online"]["faces"] == 41_997_312

    def test_what_does_not_fit_fails(
        self, rounds: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        usage = shutil._ntuple_diskusage(10**12, 0, 10**9)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        assert run(monkeypatch, "--faces", "1000") == 0
        assert run(monkeypatch, "--faces", "1000", "--faces", "100000") == 1
        out = capsys.readouterr().out
        assert re.search(r"1 GB free", out)
        assert re.search(r"GB for 100,000: does not fit", out)
        assert re.search(r"MB for 1,000$", out, re.MULTILINE)

    def test_a_round_that_is_not_there_is_named(
        self, rounds: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(InputError, match=r"manifests/rounds/none\.parquet: no such file"):
            run(monkeypatch, "none")

    def test_without_manifests_a_number_is_asked_for(self, workspace: Path) -> None:
        with pytest.raises(InputError, match=r"manifests/rounds: no manifest; .* --faces N"):
            rounds_here()

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--faces", "0"),
            ("--faces", "1e6"),
            ("--faces", "5", "--faces", "-5"),
            ("--workers", "0"),
            ("--teacher", "none"),
            ("--json", "."),
        ],
    )
    def test_bad_arguments_are_refused(
        self, rounds: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
    ) -> None:
        with pytest.raises(InputError):
            run(monkeypatch, *arguments)

    def test_shards_of_broken_chunks_are_refused(
        self, workspace: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = Path("params.yaml").read_text().replace("shard_rows: 1024", "shard_rows: 1000")
        Path("params.yaml").unlink()
        Path("params.yaml").write_text(text)
        with pytest.raises(InputError, match="shard_rows: 1000, expected a multiple of 64"):
            run(monkeypatch, "--faces", "5")


@given(amount=st.floats(0.0, 1e18))
def test_amounts_are_short_and_right(amount: float) -> None:
    scales: list[tuple[Any, dict[str, float]]] = [
        (in_bytes, {"bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}),
        (in_time, {"s": 1, "min": 60, "h": 3600, "days": 86400}),
    ]
    for words, units in scales:
        number, unit = words(amount).split()
        assert float(number.replace(",", "")) * units[unit] == pytest.approx(amount, rel=0.006)


def test_amounts_read_as_one_would_say_them() -> None:
    assert [in_bytes(n) for n in (0, 999, 20_480, 2.04e9, 5e15)] == [
        "0 bytes", "999 bytes", "20.5 kB", "2.04 GB", "5,000 TB",
    ]  # fmt: skip
    assert [in_time(n) for n in (0, 90, 119, 600, 7200, 86400, 8.6e6)] == [
        "0 s", "90 s", "119 s", "10 min", "2 h", "24 h", "99.5 days",
    ]  # fmt: skip
