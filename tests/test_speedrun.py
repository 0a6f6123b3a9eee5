"""The speedrun on made-up results, and in a tiny run, so that it cannot rot."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eval.reporting.style import picture
from eval.suites.formats import BEGIN, END, with_table
from manifests.core import layout
from manifests.core.digests import canonical_json
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.core.layout import POOL, PROBE
from manifests.settings.params import Params, PriorRound
from manifests.settings.training import Student
from manifests.stores.reading import FaceStore
from pipeline.sample import sample_prior, save
from tests.conftest import ROOT
from tests.experiments import tables
from tests.experiments.arms import ARM, SHARED, make
from tests.experiments.arms import RESULTS as RESULTS_FOLDER
from tests.experiments.speedrun import recipes, runs
from tests.experiments.speedrun.__main__ import SCRATCH, main
from tests.experiments.speedrun.figure import (
    extent_of,
    label_offsets,
    overlaps,
    published,
    speedrun_figure,
)
from tests.experiments.speedrun.recipes import (
    ARMS,
    BASE,
    FACES_SEEN,
    MORE,
    RECIPES,
    Arm,
    Recipe,
    spelt,
)
from tests.experiments.speedrun.runs import check_hardware, facts_of, measured, more_faces
from tests.experiments.speedrun.table import front, markdown, on_page, tabled
from tests.experiments.tables import read_results
from tests.students import count
from train.checkpoint import LOG

PAIRS, FACES = 1000, 50
Result = dict[str, np.ndarray]


def result(right: int, cpu_minutes: float, *, gap: float = 0.3, **facts: Any) -> Result:
    """Of so many pairs of lfw_dev called rightly, and 20 more of ORL."""
    known = {
        "recipe": {"run": {}, "rounds": []}, "cpu_seconds": 60 * cpu_minutes,
        "seconds": 50 * cpu_minutes, "num_params": 981_712, "macs": 40_000_000,
        "faces_seen": 120_000, "steps": 1875, "faces": 52_000, "precision": "bfloat16",
        "loss": 0.5, "hardware": {"processor": "a CPU", "threads": 1}, "commit": "abc",
    }  # fmt: skip
    return {
        "gap": np.full(FACES, gap),
        "lfw_dev": np.arange(PAIRS) < right,
        "orl": np.arange(PAIRS) < right + 20,
        "facts": np.array(canonical_json({**known, **facts})),
    }


RESULTS = {
    "base-1": result(850, 3.0),
    "base-2": result(870, 3.2),
    "base-x3-1": result(900, 9.0, gap=0.2),
    "ema-2": result(880, 3.1),
    "ema-3": result(890, 3.3),
    "ema-x3-1": result(910, 9.3),
    "wide-1": result(840, 3.05),
}
TARGET = 0.9


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here depends on the third digit of an interval."""
    monkeypatch.setattr(tables, "RESAMPLED", 200)


class TestArms:
    @pytest.mark.parametrize("name", [*ARMS, "ema+rate-double-x0.5"])
    def test_every_arm_is_what_params_yaml_may_say(self, name: str, params: Params) -> None:
        own = Arm.parsed(name).params(5, params)
        train = own.of_run(ARM).train
        assert train.seed == 5 and train.student.name
        assert own.train.runs[ARM].rate_to == 0.0
        assert own.train.runs[ARM].faces_seen >= train.warmup_faces

    def test_no_two_arms_are_the_same(self) -> None:
        arms = [Arm.parsed(name) for name in ARMS]
        said = [canonical_json({"run": arm.run, "rounds": arm.recipe.rounds}) for arm in arms]
        assert len(set(said)) == len(ARMS) == len({arm.name for arm in arms})

    def test_no_recipe_s_name_reads_as_several_or_as_a_length(self) -> None:
        for name in RECIPES:
            assert Arm.parsed(name).name == name and "+" not in name

    def test_no_photograph_trains(self) -> None:
        rounds = {name for recipe in RECIPES.values() for name in recipe.rounds}
        assert rounds == {POOL, MORE} and PROBE not in rounds

    def test_the_base_stays_what_it_was_whatever_ships(self, params: Params) -> None:
        train = replace(params.train, learning_rate=1.0, batch=7, student=Student("other", 1, 1.0))
        engine = replace(train.engine, optimizer="sgd", precision="float32")
        quiet = replace(train.noise, rotation=0.0, grey=0.1)
        other = replace(params, train=replace(train, engine=engine, noise=quiet))
        base, again = (
            Arm.parsed(BASE).params(5, each).of_run(ARM).train for each in (params, other)
        )
        assert replace(base, runs={}) == replace(again, runs={})
        ema = Arm.parsed("ema").params(5, params).of_run(ARM).train
        assert ema.engine == replace(base.engine, ema=0.99)  # and bfloat16 still
        assert replace(ema, engine=base.engine, runs={}) == replace(base, runs={})

    def test_lengths_multiply(self) -> None:
        assert Arm.parsed("base-x3").run["faces_seen"] == 3 * FACES_SEEN
        assert Arm.parsed("wide-x3").run["faces_seen"] == FACES_SEEN * 6 // 5
        assert Arm.parsed("base-x1").name == Arm.parsed("base-x1.0").name == "base"
        assert Arm.parsed("base-x3.50").name == "base-x3.5"

    def test_of_several_recipes_the_later_one_holds(self) -> None:
        arm = Arm.parsed("ema+rate-double+pool-only+float32+ema-long-x2")
        assert arm.run["engine"] == {"ema": 0.999, "precision": "float32", "optimizer": "adamw"}
        assert arm.run["learning_rate"] == 4e-3
        assert arm.recipe.rounds == (POOL,)
        assert arm.run["faces_seen"] == 2 * FACES_SEEN

    @pytest.mark.parametrize("name", ["emu", "ema+", "", "ema-x", "ema-x0", "ema-x-1"])
    def test_what_is_no_arm_is_refused(self, name: str) -> None:
        with pytest.raises(InputError, match=r"unknown recipe|sees no face"):
            Arm.parsed(name)


class TestTable:
    def test_means_deviations_and_who_reaches_the_target(self) -> None:
        rows = tabled(RESULTS, TARGET)["arms"]
        assert rows["base"]["lfw_dev"]["mean"] == 0.86
        assert rows["base"]["lfw_dev"]["std"] == pytest.approx(0.02 / 2**0.5, abs=1e-5)
        assert rows["base"]["cpu_minutes"]["by_seed"] == [3.0, 3.2]
        assert rows["base"]["orl"]["mean"] == 0.88
        assert rows["base-x3"]["lfw_dev"]["std"] is None  # of one seed
        low, high = rows["base-x3"]["lfw_dev"]["ci95"]
        assert low < 0.9 < high and high - low == pytest.approx(4 * (0.09 / PAIRS) ** 0.5, rel=0.3)
        assert [arm for arm, row in rows.items() if row["reaches_target"]] == ["base-x3", "ema-x3"]

    def test_differences_are_of_the_seeds_that_both_have(self) -> None:
        rows = tabled(RESULTS, TARGET)["arms"]
        ema = rows["ema"]["difference_to_base"]["lfw_dev"]
        assert (ema["mean"], ema["seeds"], ema["by_seed"]) == (0.01, 1, [0.01])
        longer = rows["ema-x3"]
        assert longer["difference_to_base"]["lfw_dev"]["mean"] == 0.06
        assert longer["difference_to_base_as_long"]["lfw_dev"]["mean"] == 0.01
        assert longer["difference_to_base"]["probe_gap"]["mean"] == 0.0
        assert rows["base"]["difference_to_base"] == {}
        assert rows["base-x3"]["difference_to_base_as_long"] == {}
        alone = tabled({"base-1": RESULTS["base-1"], "ema-2": RESULTS["ema-2"]}, TARGET)["arms"]
        assert alone["ema"]["difference_to_base"] == {}

    def test_the_front_has_whoever_is_better_than_all_that_are_cheaper(self) -> None:
        rows = tabled(RESULTS, TARGET)["arms"]
        assert front(rows) == ["wide", "base", "ema", "base-x3", "ema-x3"]
        worse = {**RESULTS, "wide-1": result(840, 3.15)}  # as dear as base and less accurate
        assert front(tabled(worse, TARGET)["arms"]) == ["base", "ema", "base-x3", "ema-x3"]

    def test_orl_chooses_nothing(self) -> None:
        """Whoever only ORL is right about neither reaches the target nor stands on the front."""
        known = {**RESULTS["wide-1"], "orl": np.ones(PAIRS, bool)}
        with_orl = tabled({**RESULTS, "wide-1": known}, TARGET)
        without = tabled(RESULTS, TARGET)
        for table in (with_orl, without):
            table["arms"]["wide"].pop("orl")
            table["arms"]["wide"]["difference_to_base"].pop("orl")
            table["arms"]["wide"]["difference_to_base_as_long"].pop("orl")
        assert with_orl == without

    @pytest.mark.parametrize(
        ("key", "value"), [("recipe", {"run": {"batch": 32}, "rounds": []}), ("faces", 13_700)]
    )
    def test_seeds_of_unlike_recipes_or_faces_are_not_one_arm(self, key: str, value: Any) -> None:
        changed = result(870, 3.2, **{key: value})
        with pytest.raises(InputError, match=f"arm base: seed 2 had another {key} than seed 1"):
            tabled({**RESULTS, "base-2": changed}, TARGET)

    def test_as_markdown(self) -> None:
        lines = markdown(tabled(RESULTS, TARGET)).splitlines()
        assert lines[0] == (
            "`base-x3` reaches 90 % on lfw-dev in the fewest CPU minutes: 9.00 (seeds: 1)."
        )
        assert [line.split("|")[1].strip(" *`") for line in lines[4:]] == [
            "wide", "base", "ema", "base-x3", "ema-x3"
        ]  # fmt: skip
        assert lines[5] == (
            "| **`base`** | 0.98 M | 120,000 | 3.10 ± 0.14 | 0.300 ± 0.000 | 86.0 ± 1.4 % | "
            "88.0 ± 1.4 % | 2 | – | – |"
        )
        assert "| **9.00** |" in lines[7]
        assert lines[4].endswith("| 1 | −1.0 (1) | −1.0 (1) |")
        assert markdown(tabled(RESULTS, 0.99)).startswith("No arm reaches 99 % on lfw-dev.")

    def test_the_page_shows_what_was_measured_and_nothing_else(self) -> None:
        found, page = ROOT / "docs/results/speedrun.json", ROOT / "docs/SPEEDRUN.md"
        shown = page.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip()
        measured = on_page(read_json(found), "results/speedrun.svg") if found.exists() else ""
        assert shown == measured

    def test_of_nothing_there_is_no_table(self) -> None:
        with pytest.raises(InputError, match="no result is there yet"):
            tabled({}, TARGET)

    def test_a_page_takes_it_between_its_marks(self, tmp_path: Path) -> None:
        page = tmp_path / "PAGE.md"
        page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
        assert with_table(page, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
        page.write_text(f"{END} {BEGIN}")
        with pytest.raises(InputError, match="no lines"):
            with_table(page, "new")
        with pytest.raises(InputError, match="no such page"):
            with_table(tmp_path / "none.md", "new")


def many() -> dict[str, Result]:
    """Of every arm there is, with three seeds each, whose minutes are much the same."""
    rng = np.random.default_rng(0)
    found = {}
    for arm in ARMS:
        times = spelt(arm)[1]
        right, cost = 850 + 25 * np.log2(times) + rng.normal(0, 8), 3.0 * times
        for seed in (1, 2, 3):
            own = round(right + rng.normal(0, 5)), cost * np.exp(rng.normal(0, 0.02))
            found[f"{arm}-{seed}"] = result(own[0], float(own[1]))
    return found


class TestFigure:
    def test_every_arm_is_named_and_no_name_lies_on_another(self) -> None:
        figure = speedrun_figure(tabled(many(), TARGET))
        figure.draw_without_rendering()
        (axes,) = figure.axes
        boxes = {text.get_text(): extent_of(text) for text in axes.texts}
        assert set(boxes) == {*ARMS, "target 90%"}
        places = np.array(list(boxes.values()))
        shared = overlaps(places, places)
        np.fill_diagonal(shared, 0.0)
        assert shared.max() < 1.0, "square pixels"
        assert overlaps(places, axes.get_window_extent().extents[None])[:, 0] == pytest.approx(
            np.prod(places[:, 2:] - places[:, :2], axis=1)
        )

    def test_the_same_bytes_for_the_same_table(self) -> None:
        first, again = (picture(speedrun_figure(tabled(RESULTS, TARGET)), ".svg") for _ in range(2))
        assert first == again and b"<svg" in first
        other = picture(speedrun_figure(tabled(RESULTS, 0.8)), ".svg")
        assert other != first

    def test_every_published_system_has_a_place_on_the_axis(self) -> None:
        (axes,) = speedrun_figure(tabled(RESULTS, TARGET)).axes
        (right,) = axes.child_axes
        said = " ".join(label.get_text() for label in right.get_yticklabels())
        low, high = axes.get_ylim()
        assert len(published()) >= 6
        for name, value in published().items():
            assert name in said and f"{value:.1%}" in said and low < value < high

    def test_a_single_arm_is_drawn(self) -> None:
        picture(speedrun_figure(tabled({"base-1": RESULTS["base-1"]}, TARGET)), ".svg")

    def test_a_label_lies_beside_its_mark_or_where_there_is_room(self) -> None:
        inside, size = np.array([0.0, 0.0, 400.0, 300.0]), np.array([[40.0, 10.0]])
        mark = np.array([[200.0, 150.0]])
        (free,) = label_offsets(mark, size, np.zeros((0, 4)), inside)
        assert free == pytest.approx([25.0, 0.0])  # to its right
        wall = np.array([[205.0, 0.0, 206.0, 300.0]])
        (moved,) = label_offsets(mark, size, wall, inside)
        assert moved[0] + size[0, 0] / 2 <= 5.0
        (at_edge,) = label_offsets(np.array([[395.0, 150.0]]), size, np.zeros((0, 4)), inside)
        assert at_edge[0] + size[0, 0] / 2 <= 5.0


def test_the_command_shows_the_results_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in SHARED:  # of the default run, at which a table does not look
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    SCRATCH.joinpath(RESULTS_FOLDER).mkdir(parents=True)
    for name, own in RESULTS.items():
        np.savez(SCRATCH / RESULTS_FOLDER / f"{name}.npz", **own)
    Path("PAGE.md").write_text(f"{BEGIN}\n{END}\n")
    options = ["--pairs", "none", "--arms", "--out", "found/speed.json", "--page", "PAGE.md"]
    monkeypatch.setattr("sys.argv", ["speedrun", *options])
    main()
    table = read_json(Path("found/speed.json"))
    assert table == json.loads(json.dumps(tabled(RESULTS, TARGET)))
    assert Path("PAGE.md").read_text() == f"{BEGIN}\n{on_page(table, 'found/speed.svg')}\n{END}\n"
    assert Path("found/speed.svg").read_bytes() == picture(speedrun_figure(table), ".svg")
    assert capsys.readouterr().out == f"{markdown(table)}\n"


SMALL = {"student": {"name": "small-resnet", "input_size": 32, "width": 0.25}, "batch": 32}


def test_a_tiny_run(pairs: str, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the real parts: what is recorded; a result is kept while its arm says the same; what is
    trained again is paid for again."""
    monkeypatch.setattr(recipes, "FACES_SEEN", 96)
    monkeypatch.setattr(recipes, "COMMON", {**recipes.COMMON, **SMALL})
    train = replace(params.train, pool_rows=64, warmup_faces=16)
    params = replace(params, train=train)
    for name in (POOL, PROBE):
        save(sample_prior(name, PriorRound(24, params.sample[name].seed), params))
        make(name, params)
    more_faces(24, params)
    RESULTS_FOLDER.mkdir()
    benchmarks = {"orl": pairs, "lfw_dev": pairs}
    log = layout.run("ema-1") / LOG

    def measure(name: str) -> dict[str, Any]:
        measured(Arm.parsed(name), 1, params, benchmarks)
        return facts_of(read_results(RESULTS_FOLDER)["ema-1"])

    facts = measure("ema")
    assert (facts["faces_seen"], facts["steps"]) == (96, 3)
    assert facts["num_params"] == count("small-resnet", size=32, width=0.25, outputs=128)
    assert facts["macs"] > facts["num_params"] and facts["precision"] == "bfloat16"
    assert 0 < facts["faces"] <= 48 and 0 < facts["loss"] < 3
    assert 0 < facts["cpu_seconds"] and 0 < facts["seconds"]
    assert facts["hardware"]["threads"] == torch.get_num_threads()
    own = read_results(RESULTS_FOLDER)["ema-1"]
    assert own["gap"].shape == (FaceStore.open(layout.faces(PROBE)).passport.num_ok,)
    assert own["orl"].shape == own["lfw_dev"].shape == (8,)
    before = log.stat().st_mtime_ns
    assert measure("ema") == facts and log.stat().st_mtime_ns == before
    (RESULTS_FOLDER / "ema-1.npz").unlink()  # trained, and stopped while it was measured
    assert measure("ema")["steps"] == 3
    assert log.stat().st_mtime_ns > before
    monkeypatch.setitem(RECIPES, "ema", Recipe({"batch": 16}))
    assert measure("ema")["steps"] == 6
    measured(Arm.parsed("base"), 1, params, benchmarks)
    table = tabled(read_results(RESULTS_FOLDER), TARGET)
    assert table["arms"]["ema"]["difference_to_base"]["lfw_dev"]["seeds"] == 1
    assert json.loads(json.dumps(table, allow_nan=False)) == table
    check_hardware()
    monkeypatch.setattr(runs, "hardware", lambda: {"processor": "another", "threads": 1})
    with pytest.raises(InputError, match="here are another with threads: 1"):
        check_hardware()
