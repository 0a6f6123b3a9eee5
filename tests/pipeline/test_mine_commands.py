"""Mining's commands: what they say, and what they refuse."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from manifests.core import layout
from manifests.core.errors import run_command
from manifests.core.files import write_json
from manifests.core.tables import write_table
from manifests.records.gaps import FIRST_KIND, FIRST_SCHEMA, GapTable
from manifests.settings.params import PATH, Params
from manifests.settings.presets import merged
from manifests.stores.latents import LatentManifest
from manifests.stores.reading import FaceStore
from pipeline.mine import Measured, load_round, main


class TestRefused:
    """Bad input is one line on stderr and exit 2, before anything is written."""

    @pytest.fixture
    def refused(
        self,
        gaps: dict[str, GapTable],
        mining: Params,
        monkeypatch: pytest.MonkeyPatch,
        capsys: Any,
    ) -> Callable[..., str]:
        def run(*arguments: str, **mine: object) -> str:
            settings = {"mine": {"regions": 3, "least_spread": 0.0} | mine}
            values = merged(yaml.safe_load(PATH.read_text()), settings)
            PATH.write_text(yaml.safe_dump(values))
            monkeypatch.setattr(
                sys, "argv", ["mine", *(arguments or ("mined-1", "--gaps", "start"))]
            )
            with pytest.raises(SystemExit) as ended:
                run_command(main)
            out, err = capsys.readouterr()
            assert (ended.value.code, out, err.count("\n")) == (2, "", 1), out + err
            assert (
                not layout.manifest("mined-1").exists() and not layout.regions("mined-1").exists()
            )
            return err

        return run

    @staticmethod
    def change(name: str, **columns: object) -> None:
        path = layout.gap_table("start", name)
        replace(GapTable.read(path), **columns).write(path)

    @staticmethod
    def forge(
        monkeypatch: pytest.MonkeyPatch, change: Callable[[Measured, Measured], None]
    ) -> None:
        """Manifests that `change`(pool, probe) has been at: no two recipes give the same ids or
        latents, so that only other hands can make them."""
        read, known = load_round, {}

        def forged(name: str, *rest: Any) -> Measured:
            known[name] = read(name, *rest)
            if name == "probe":
                change(known["pool"], known["probe"])
            return known[name]

        monkeypatch.setattr("pipeline.mine.load_round", forged)

    def test_a_probe_that_is_trained_on_by_latent(
        self, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def change(pool: Measured, probe: Measured) -> None:
            latents, table = probe.manifest.latents.copy(), probe.manifest.table
            latents[[3, 8]] = pool.manifest.latents[[20, 5]]
            column = pa.FixedSizeListArray.from_arrays(latents.reshape(-1), latents.shape[1])
            at = table.schema.get_field_index("latent")
            object.__setattr__(probe.manifest, "table", table.set_column(at, "latent", column))

        self.forge(monkeypatch, change)
        ids = LatentManifest.read(layout.manifest("probe")).face_id
        assert refused() == (
            f"error: 2 faces of probe are in pool, too, the first of them {ids[3]}, {ids[8]}; "
            "sample one round with another seed\n"
        )

    def test_a_probe_that_is_trained_on_by_id(
        self, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def change(pool: Measured, probe: Measured) -> None:
            probe.manifest.__dict__["face_id"] = pool.manifest.face_id[: len(probe.manifest)]

        self.forge(monkeypatch, change)
        first = LatentManifest.read(layout.manifest("pool")).face_id[0]
        assert f"40 faces of probe are in pool, too, the first of them {first}, " in refused()

    def test_a_pool_of_imported_faces(
        self, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def change(pool: Measured, probe: Measured) -> None:
            pool.manifest.latents[pool.rows[4]] = np.nan

        self.forge(monkeypatch, change)
        assert "pool: 1 of its faces have no latent, the first is " in refused()

    @pytest.mark.parametrize("name", ["pool", "probe"])
    def test_gaps_of_another_student(self, refused: Callable[..., str], name: str) -> None:
        self.change(name, student_digest="12" * 32)
        wanted = f"{name}.parquet: of student 121212121212, run start holds abababababab; run gap"
        assert wanted in refused()

    @pytest.mark.parametrize("log", [{}, {"student": {}}, {"student": "x"}, []])
    def test_a_run_that_names_no_student(self, refused: Callable[..., str], log: object) -> None:
        write_json(layout.run("start") / "log.json", log)
        assert "log.json: names no student; train run start again" in refused()

    def test_a_run_that_is_not_there(self, refused: Callable[..., str]) -> None:
        shutil.rmtree(layout.run("start"))
        assert "runs/start/log.json: no such file" in refused()
        assert "data/gaps/nope/pool.parquet: no such file" in refused("mined-1", "--gaps", "nope")

    @pytest.mark.parametrize("name", ["pool", "probe"])
    def test_gaps_to_another_teacher_store(self, refused: Callable[..., str], name: str) -> None:
        self.change(name, teacher_root="12" * 32)
        assert f"{name}.parquet: measured against teacher store 121212121212" in refused()

    def test_gaps_of_other_faces(
        self, refused: Callable[..., str], gaps: dict[str, GapTable]
    ) -> None:
        self.change("probe", face_id=gaps["probe"].face_id + 1)
        assert "round probe: the gap table of start holds other faces; run gap again" in refused()

    def test_more_regions_than_faces(self, refused: Callable[..., str]) -> None:
        num = int(FaceStore.open(layout.faces("pool")).ok().sum())
        wanted = f"{num + 1} regions of {num} usable pool faces; lower mine.regions in params.yaml"
        assert wanted in refused(regions=num + 1)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -0.5, 1e30])
    def test_gaps_that_no_student_can_have(
        self, refused: Callable[..., str], gaps: dict[str, GapTable], value: float
    ) -> None:
        """Written by other hands: ours are refused before they are written."""
        table, path = gaps["pool"], layout.gap_table("start", "pool")
        forged = table.gap.copy()
        forged[5] = value
        object.__setattr__(table, "gap", forged)
        table.write(path)
        message = refused()
        assert str(path) in message and "gap table" in message

    def test_a_gap_table_that_is_none(self, refused: Callable[..., str]) -> None:
        layout.gap_table("start", "pool").write_bytes(b"PAR1")
        assert "pool.parquet: not a readable Parquet file" in refused()

    def test_neighbours_of_an_older_table(
        self, refused: Callable[..., str], gaps: dict[str, GapTable]
    ) -> None:
        path = layout.gap_table("start", "pool")
        columns = gaps["pool"]._columns()[:-1]
        table = FIRST_SCHEMA.empty_table().from_arrays(columns, schema=FIRST_SCHEMA)
        write_table(path, FIRST_KIND, table, gaps["pool"]._links())
        assert "hardness neighbours: an older gap table; run gap again" in refused(
            hardness="neighbours"
        )

    @pytest.mark.parametrize(
        ("mine", "message"),
        [
            (
                {"law": "dynamics"},
                "params.yaml: mine: law: 'dynamics', expected one of dynamic",
            ),
            ({"hardness": "gaps"}, "hardness: 'gaps', expected one of gap, margin, neighbours"),
            ({"prior_share": 1.5}, "mine: prior_share: 1.5, expected 0 to 1"),
            ({"region_cap": 0.0}, "mine: region_cap: 0, expected more than 0 and at most 1"),
            ({"coefficient": -1.0}, "mine: coefficient: -1, expected 0 to 1000"),
            ({"parent_cap": 0}, "mine: parent_cap: 0, expected at least 1"),
        ],
    )
    def test_settings_that_make_no_sense(
        self, refused: Callable[..., str], mine: dict[str, object], message: str
    ) -> None:
        assert message in refused(**mine)

    def test_settings_are_refused_before_any_store_is_read(
        self, refused: Callable[..., str]
    ) -> None:
        shutil.rmtree(layout.faces("pool"))
        assert "mine: law: 'x'" in refused(law="x")
        assert "mine: hardness: 'x'" in refused(law="dynamic", hardness="x")

    def test_rounds_that_cannot_be_mined(self, refused: Callable[..., str]) -> None:
        for name in ("pool", "identities", "mined-9", "../x"):
            wanted = f"unknown mined round {name!r}; valid names: mined-1, mined-2"
            assert wanted in refused(name, "--gaps", "start")
        wanted = "--gaps mined-1: that run trains on this round; name the run before"
        assert wanted in refused("mined-1", "--gaps", "mined-1")

    def test_a_round_that_collapses(self, refused: Callable[..., str]) -> None:
        assert "the round collapsed: its mined latents spread" in refused(least_spread=5.0)


class TestCommands:
    @pytest.fixture
    def say(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> Callable[..., tuple[int, str, str]]:
        def run(*arguments: str) -> tuple[int, str, str]:
            monkeypatch.setattr(sys, "argv", ["mine", *arguments])
            with pytest.raises(SystemExit) as ended:
                run_command(main)
            return (ended.value.code, *capsys.readouterr())

        return run

    def test_mining_says_what_summary_says(
        self, gaps: dict[str, GapTable], say: Callable[..., tuple[int, str, str]]
    ) -> None:
        PATH.write_text(
            yaml.safe_dump(
                merged(
                    yaml.safe_load(PATH.read_text()),
                    {"mine": {"regions": 3, "least_spread": 0.0, "count": 40}},
                )
            )
        )
        code, text, _ = say("mined-1", "--gaps", "start")
        assert code == 0 and text.startswith("mined-1: 40 latents, digest ")
        ending = f"{layout.manifest('mined-1')}: 40 latents\nnext: facestill render mined-1\n"
        assert text.endswith(ending)
        assert say("summary", "mined-1") == (0, text.removesuffix(ending), "")
        assert say("summary", "pool") == (0, "pool: 72 latents, not mined\n", "")
        child = LatentManifest.read(layout.manifest("mined-1")).table
        row = child["parent_id"].is_valid().to_pylist().index(True)
        code, text, _ = say("explain", str(child["face_id"][row]))
        assert code == 0
        assert [line.split(": ")[1].split(",")[0] for line in text.splitlines()] == [
            "round mined-1",
            "round pool",
        ]

    @pytest.mark.parametrize(
        "text", ["[]", "{}", '"x"', '{"round": "a", "mining": 3}', "{", "null"]
    )
    def test_a_summary_that_is_none_is_named(
        self, rounds: Path, say: Callable[..., tuple[int, str, str]], text: str
    ) -> None:
        path = layout.manifest_summary("mined-1")
        path.write_text(text)
        code, _, err = say("summary", "mined-1")
        assert code == 2 and err.startswith(f"error: {path}: not ") and err.count("\n") == 1

    @pytest.mark.parametrize(
        "arguments",
        [(), ("mined-1",), ("explain",), ("explain", "x"), ("summary",), ("summary", "no")],
    )
    def test_wrong_usage_is_one_line(
        self, rounds: Path, say: Callable[..., tuple[int, str, str]], arguments: tuple[str, ...]
    ) -> None:
        code, out, err = say(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
