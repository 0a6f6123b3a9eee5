"""Drift between tables: what is lacking, what is refused, and the command."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.attributes.coverage import FaceSet, compare, lacking, why_not
from eval.attributes.divergence import SMOOTHING, histogram
from eval.drift import drift, main
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.records.attributes import FACES, Attribute, AttributeTable, Source
from manifests.stores.latents import LatentManifest
from tests import references
from tests.manifests.records.test_attributes import LIGHT, YAW, faces_table, photographs_table
from tests.toys import make_round

STEPS = Attribute(
    "yaw", "degrees", -90.0, 90.0, tuple(np.arange(-40.0, 41.0, 10.0).tolist()), "to the right"
)


def table(
    name: str, values: np.ndarray, *, kind: Attribute = YAW, first: int = 0, **changes: Any
) -> AttributeTable:
    """Faces of a store, each of a person of its own."""
    made = AttributeTable(
        {"name": "toy", "version": "1"}, Source(FACES, name, name * 8), (kind,),
        values.astype(np.float32)[:, None], np.arange(len(values)) + first, None,
        ("",) * len(values),
    )  # fmt: skip
    return replace(made, **changes)


def normal(seed: int, mean: float, count: int = 400) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).normal(mean, 15, count), -90, 90)


def face_set(name: str, values: np.ndarray, kind: Attribute = YAW) -> FaceSet:
    return FaceSet(name, (table(name, values, kind=kind),))


def test_divergences_are_those_of_the_histograms() -> None:
    real, synthetic = normal(0, 5), normal(1, -5, 900)
    found = compare(YAW, face_set("a", real), face_set("b", synthetic))
    first, second = (histogram(v.astype(np.float32), YAW.edges) for v in (real, synthetic))
    counts = (first.tolist(), second.tolist())
    expected = references.kl_divergence(*counts, SMOOTHING)
    assert found["kl_real_synthetic"]["value"] == pytest.approx(expected)
    expected = references.kl_divergence(*counts[::-1], SMOOTHING)
    assert found["kl_synthetic_real"]["value"] == pytest.approx(expected)
    assert found["real"]["counts"] == counts[0]
    assert found["kl_real_synthetic_by_source"] == {
        "b": pytest.approx(found["kl_real_synthetic"]["value"])
    }


def test_a_set_split_in_two_does_not_drift() -> None:
    values = normal(2, 0, 2000)
    found = compare(YAW, face_set("a", values[::2]), face_set("b", values[1::2]))
    for way in ("kl_real_synthetic", "kl_synthetic_real", "js"):
        assert found[way]["ci95"][0] == 0.0
        assert found[way]["value"] < 0.01
        assert found[way]["value"] < 1.5 * found[way]["null_first"]


def test_what_real_faces_have_and_synthetic_ones_lack_is_listed() -> None:
    """Real faces fill both halves, synthetic ones only the left: all of the right is lacking."""
    real, synthetic = np.tile([-35.0, -5.0, 5.0, 25.0, 25.0], 40), np.tile([-35.0, -5.0], 300)
    found = lacking(STEPS, face_set("r", real, STEPS), face_set("s", synthetic, STEPS))
    assert [(gap["low"], gap["high"]) for gap in found] == [(0, 10), (20, 30)]
    assert found[1]["real_share"] == pytest.approx(80.5 / 205)
    assert found[1]["synthetic_share"] == pytest.approx(0.5 / 605)
    assert found[1]["synthetic_examples"] == []
    assert found[1]["real_examples"][0] == "3"
    backwards = lacking(STEPS, face_set("s", synthetic, STEPS), face_set("r", real, STEPS))
    assert backwards[0]["low"] == -40 and len(backwards) <= 2  # where there are fewer


def test_lacking_bins_are_ranked_by_what_they_add() -> None:
    real = np.concatenate([np.full(40, 25.0), np.full(10, 35.0), np.full(150, 0.0)])
    synthetic = face_set("s", np.full(500, 0.0), STEPS)
    found = drift([face_set("r", real, STEPS)], synthetic)["real"]["r"]["lacking"]
    assert [gap["low"] for gap in found] == [20, 30]
    assert found[0]["kl_term"] > found[1]["kl_term"]


def test_faces_beyond_the_bins_can_be_lacking() -> None:
    real, synthetic = np.full(100, 80.0), np.full(100, 0.0)
    (gap,) = lacking(STEPS, face_set("r", real, STEPS), face_set("s", synthetic, STEPS))
    assert (gap["low"], gap["high"]) == (40, None)


def test_the_same_tables_give_the_same_report() -> None:
    sets = [face_set("r", normal(3, 0))], face_set("s", normal(4, 3))
    assert drift(*sets) == drift(*sets)


def test_what_is_undefined_is_left_out_and_said() -> None:
    both = faces_table(60)
    blank = replace(both, values=np.column_stack([both.values[:, 0], np.full(60, np.nan)]))
    other = replace(both, source=Source(FACES, "other", "cd" * 32))
    found = drift([FaceSet("r", (blank,))], FaceSet("s", (other,)))["real"]["r"]
    assert list(found["attributes"]) == ["yaw"]
    assert found["not_compared"] == {"light": "defined on no face of r, 30 are needed"}
    with pytest.raises(InputError, match="attribute light: defined on no face of r"):
        drift([FaceSet("r", (blank,))], FaceSet("s", (other,)), ["light"])


def test_one_person_is_no_distribution() -> None:
    one = photographs_table(np.zeros(50))
    alone = FaceSet("r", (replace(one, subject=("s1",) * 50),))
    assert why_not(YAW, [alone]) == "all faces of r are of one person"


@pytest.mark.parametrize(
    ("real", "names", "message"),
    [
        (table("r", normal(0, 0)), ["hue"], "unknown attribute 'hue'; there are yaw"),
        (table("r", normal(0, 0, 20)), [], "r: 20 faces with attributes, 30 are needed"),
        (table("r", np.full(50, np.nan)), [], "r: 0 faces with attributes"),
        (
            table("r", normal(0, 0), annotator={"name": "toy", "version": "2"}), [],
            r"of unlike annotator \(toy version 2 and toy version 1\); annotate both",
        ),
        (table("r", normal(0, 0), kind=STEPS), [], "of unlike attributes"),
        (
            table("r", np.clip(normal(0, 20), 0, 90), kind=LIGHT), [], "of unlike attributes",
        ),
        (table("s", normal(0, 0)), [], "attributes of s and s: of the same faces"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(
    real: AttributeTable, names: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        drift([FaceSet("r", (real,))], face_set("s", normal(1, 0)), names)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tables of two stores and of photographs, where stages put them."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("pool", "mined-1")):
        faces, _ = make_round(name, 60, seed=seed)
        values = normal(seed, 5.0 * seed, 60)
        ids = LatentManifest.read(layout.manifest(name)).face_id
        own = table(name, values, source=Source(FACES, name, faces.root), face_id=ids)
        own.write(layout.attributes(name, "toy"))
    photographs_table(normal(5, 0, 50)).write(layout.photograph_attributes("orl", "toy"))
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["drift", *arguments])
    main()


TABLES = ["data/attributes/toy/pool.parquet", "data/attributes/toy/mined-1.parquet"]


def test_the_command_writes_what_it_found(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--real", "data/photographs", "--synthetic", *TABLES, "--out", "r/drift.json")
    report = read_json(here / "r/drift.json")
    assert list(report["real"]) == ["orl"]
    assert [source["name"] for source in report["synthetic"]["sources"]] == ["pool", "mined-1"]
    by_source = report["real"]["orl"]["attributes"]["yaw"]["kl_real_synthetic_by_source"]
    assert set(by_source) == {"pool", "mined-1"}
    way = report["real"]["orl"]["attributes"]["yaw"]["kl_real_synthetic"]
    figure = f"{way['value']:.3f} [{way['ci95'][0]:.3f}, {way['ci95'][1]:.3f}]"
    said = capsys.readouterr().out.splitlines()
    lacks = "what synthetic faces lack, D(real || synthetic) in nats"
    assert said[0].startswith(f"orl: {lacks}: yaw {figure}")
    assert said[-2] == "r/drift.json: 2 tables of synthetic faces beside 1 of photographs"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--real", "data/nowhere", "--synthetic", *TABLES], "data/nowhere: no such file"),
        (["--real", "manifests", "--synthetic", *TABLES], "holds latent-manifest-1"),
        (["--real", "empty", "--synthetic", *TABLES], r"empty: no tables \(\*.parquet\)"),
        (["--real", "data/photographs", "--synthetic", *TABLES, "--attributes", "hue"], "'hue'"),
        (["--synthetic", *TABLES], "--real"),
    ],
)
def test_bad_arguments_are_one_line(
    here: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    (here / "empty").mkdir()
    with pytest.raises(InputError) as caught:
        run(monkeypatch, *arguments, "--out", "drift.json")
    assert re.search(message, str(caught.value))
    assert not (here / "drift.json").exists()


def test_all_tables_that_are_none_are_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        Path(f"{name}.parquet").write_text("no table")
    given = ["--real", "a.parquet", "data/photographs", "b.parquet", "--out", "drift.json"]
    with pytest.raises(InputError, match=r"tables: 2 faults\na\.parquet: .*\nb\.parquet: "):
        run(monkeypatch, *given, "--synthetic", *TABLES)


def test_no_file_is_written_where_none_can_be(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="data: no file can be there"):
        run(monkeypatch, "--real", "data/photographs", "--synthetic", *TABLES, "--out", "data")


def test_a_table_of_another_store_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_round("mined-1", 60, seed=9)
    with pytest.raises(InputError, match=r"mined-1: measured on face store .* annotate it again"):
        run(monkeypatch, "--real", "data/photographs", "--synthetic", *TABLES, "--out", "d.json")


def test_ids_that_are_not_in_the_store_are_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = AttributeTable.read(Path(TABLES[0]))
    replace(own, face_id=np.asarray(own.face_id) + 1).write(Path(TABLES[0]))
    with pytest.raises(InputError, match=r"pool: face .* is not in the store"):
        run(monkeypatch, "--real", "data/photographs", "--synthetic", *TABLES, "--out", "d.json")
