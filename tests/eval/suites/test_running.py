"""Running a suite: known answers, what is reused, what goes on, and what leaves a dash."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from eval import benchmarks
from eval.photos.models import Model
from eval.suites import running
from eval.suites.rules import by_rules
from eval.suites.running import (
    AbsentError,
    Measured,
    locate,
    measure_all,
    open_all,
    require_unlike,
)
from eval.suites.table import Table, make_table
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import read_json, write_json
from manifests.settings.params import Params, Verify
from manifests.settings.suite import Places, Suite, load_suite
from tests.conftest import ROOT
from tests.eval.suites.test_table import suite_of, values
from tests.protocols import (
    ACCURACY,
    AUC,
    CUT,
    bin_lists,
    colours,
    known_pairs,
    make_rfw,
    make_templates,
    save,
    write_rows,
)

NOTHING: dict[str, Sequence[str]] = dict.fromkeys(("African", "Asian", "Caucasian", "Indian"), ())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkout with a folder of benchmarks, faces taken for where arcface112 has them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(benchmarks, "alignment_by", lambda *names, **choices: CUT)
    # Stand-ins have fewer pairs than the public files of these names.
    monkeypatch.setattr("eval.benchmarks.bin.PUBLIC", {}, raising=False)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/lfw.bin").write_bytes(pickle.dumps(bin_lists()))
    return tmp_path


def other(name: str = "other", *, finite: bool = True) -> Model:
    """A model that sees as `colours` does, with weights of its own."""
    network = colours().network if finite else lambda batch: batch.mean(dim=(2, 3)) * torch.nan
    return replace(colours(), name=name, sha256=name[0] * 64, network=network)


def run(suite: Suite, params: Params, models: Sequence[Model]) -> dict[str, Measured]:
    return measure_all(open_all(suite, Path("data"), params), models)


def suite_named(benchmarks: dict[str, object]) -> Suite:
    return suite_of(**{"benchmarks": benchmarks})


def test_a_known_answer_is_in_the_table(here: Path, params: Params) -> None:
    suite = suite_named({"LFW": ["lfw:lfw", "bin:lfw.bin"], "gone": "bin:gone.bin"})
    measured = run(suite, params, [colours()])
    table = make_table("t", suite, ["colours"], measured)
    assert values(table.measured[0]) == [pytest.approx(100 * ACCURACY), None, None]
    assert table.reasons[0] == "gone: nothing lies at data/gone.bin"
    assert table.benchmarks["LFW"]["opened"] == "bin:data/lfw.bin"  # the list is not there
    assert not any(found.broken for found in measured.values())


def test_a_result_that_is_there_is_taken_and_a_new_model_alone_is_measured(
    here: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = suite_named({"LFW": "bin:lfw.bin"})
    first = run(suite, params, [colours()])
    asked: list[str] = []
    real = running.verify_models

    def noted(models: Sequence[Model], *rest: object) -> object:
        asked.extend(model.name for model in models)
        return real(models, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(running, "verify_models", noted)
    again = run(suite, params, [other(), colours()])
    assert asked == ["other"]
    assert list(again["LFW"].results) == ["other", "colours"]  # in the order asked for
    assert again["LFW"].results["colours"] == first["LFW"].results["colours"]


def test_a_suite_that_was_stopped_goes_on_behind_what_is_finished(
    here: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = [jpeg for jpeg in bin_lists()[0]]
    (here / "data/two.bin").write_bytes(pickle.dumps((second[::-1], bin_lists()[1][::-1])))
    suite = suite_named({"one": "bin:lfw.bin", "two": "bin:two.bin"})
    real, calls = running.verify_models, []

    def stopped(models: Sequence[Model], protocol: object, *rest: object) -> object:
        calls.append(protocol)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(models, protocol, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(running, "verify_models", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(suite, params, [colours()])
    measured = run(suite, params, [colours()])
    assert len(calls) == 3 and all(found.results for found in measured.values())


def test_images_that_benchmarks_share_are_embedded_once(
    here: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(here / "data/lfw.bin", here / "data/two.bin")
    images, labels = bin_lists()
    (here / "data/three.bin").write_bytes(pickle.dumps((images[::-1], labels[::-1])))
    network, faces = colours().network, list[int]()

    def counted(batch: torch.Tensor) -> torch.Tensor:
        faces.append(len(batch))
        return network(batch)

    model = replace(colours(), network=counted)
    suite = suite_named({"one": "bin:lfw.bin", "two": "bin:two.bin", "three": "bin:three.bin"})
    run(suite_named({"one": "bin:lfw.bin"}), params, [replace(model, sha256="a" * 64)])
    alone, faces = sum(faces), []
    table = make_table("t", suite, ["colours"], run(suite, params, [model]))
    assert sum(faces) == alone
    assert values(table.measured[0]) == pytest.approx([100 * ACCURACY] * 4)


def test_the_flow_s_results_are_taken_and_those_of_other_views_not(
    here: Path, params: Params
) -> None:
    suite = suite_named({"LFW": "bin:lfw.bin"})
    made = run(suite, params, [colours()])["LFW"].results["colours"]
    flow = layout.verification("mine", "student")
    flow.parent.mkdir(parents=True)
    shutil.move(made, flow)
    assert run(suite, params, [colours()])["LFW"].results["colours"] == flow
    write_json(flow / "metrics.json", read_json(flow / "metrics.json") | {"views": "plain+flip"})
    assert run(suite, params, [colours()])["LFW"].results["colours"] == made


def test_a_result_that_does_not_follow_from_its_scores_is_measured_again(
    here: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = suite_named({"LFW": "bin:lfw.bin"})
    folder = run(suite, params, [colours()])["LFW"].results["colours"]
    write_json(folder / "metrics.json", read_json(folder / "metrics.json") | {"accuracy": 1.0})
    run(suite, params, [colours()])
    assert "says accuracy 1.0" in capsys.readouterr().err
    assert read_json(folder / "metrics.json")["accuracy"] == pytest.approx(ACCURACY)


@pytest.mark.parametrize("said", [None, [], 3])
def test_what_holds_no_figures_is_measured_again(here: Path, params: Params, said: object) -> None:
    suite = suite_named({"LFW": "bin:lfw.bin"})
    folder = run(suite, params, [colours()])["LFW"].results["colours"]
    write_json(folder / "metrics.json", said)
    assert run(suite, params, [colours()])["LFW"].results["colours"] == folder
    assert read_json(folder / "metrics.json")["accuracy"] == pytest.approx(ACCURACY)


def test_a_list_that_cannot_be_read_is_a_dash(here: Path, params: Params) -> None:
    (here / "data/lfw/pairs.txt").mkdir(parents=True)
    suite = suite_named({"L": "lfw:lfw", "LFW": "bin:lfw.bin"})
    measured = run(suite, params, [colours()])
    assert "data/lfw/pairs.txt: cannot be read" in measured["L"].why_not["colours"]
    assert measured["LFW"].results


def test_a_way_to_open_stands_before_its_folder(here: Path) -> None:
    (here / "data/IJBC").mkdir()
    for text, found in (
        ("ijb:unweighted:IJBC", "ijb:unweighted:data/IJBC"),
        ("ijb:IJBC", "ijb:data/IJBC"),
    ):
        assert locate(Places((text,)), Path("data")) == found
    with pytest.raises(AbsentError, match="nothing lies at data/unweighted:IJBB"):
        locate(Places(("ijb:unweighted:IJBB",)), Path("data"))


def test_a_broken_benchmark_is_a_dash_and_a_line_and_the_others_are_measured(
    here: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "data/broken.bin").write_bytes(b"no pickle")
    write_rows(here / "data/listed/pairs.csv", ("fold", "left", "right", "same"),
               [(0, "a.png", "b.png", 1), (1, "c.png", "d.png", 0)])  # fmt: skip
    (here / "data/listed/images").mkdir()
    suite = suite_named({"B": "bin:broken.bin", "C": "pairs:listed", "LFW": "bin:lfw.bin"})
    measured = run(suite, params, [colours()])
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if line.startswith("error: B: data/broken.bin")]
    assert len([line for line in said if line.startswith("error: ")]) == 2  # a line each
    assert measured["B"].broken and measured["C"].broken and not measured["LFW"].broken
    table = make_table("t", suite, ["colours"], measured)
    assert values(table.measured[0])[:3] == [None, None, pytest.approx(95.0)]


def test_a_model_that_cannot_be_measured_costs_no_other_one_its_result(
    here: Path, params: Params
) -> None:
    suite = suite_named({"LFW": "bin:lfw.bin"})
    (found,) = run(suite, params, [other("nan", finite=False), colours()]).values()
    assert list(found.results) == ["colours"] and found.broken
    assert "model nan: its embedding of image" in found.why_not["nan"]


def test_pairs_without_a_folder_are_those_of_the_parameters(here: Path, params: Params) -> None:
    suite = suite_named({"mine": "pairs", "LFW": "bin:lfw.bin"})
    (why,) = run(suite, params, [colours()])["mine"].why_not.values()
    assert why == "no folder is named under verify: pairs in params.yaml"
    named = replace(params, verify=Verify("nowhere", None))
    found = run(suite, named, [colours()])["mine"]
    assert found.broken and "nowhere: no such folder" in found.why_not["colours"]


def make_known(root: Path) -> None:
    """The known answer as pairs.csv, every pair of people of its own."""
    rows = []
    for row, (left, right, same) in enumerate(known_pairs()):
        names = f"p{row}/0.png", f"{'p' if same else 'q'}{row}/1.png"
        for name, colour in zip(names, (left, right), strict=True):
            save(root / "images" / name, colour)
        rows.append((row // 4, *names, int(same)))
    write_rows(root / "pairs.csv", ("fold", "left", "right", "same"), rows)


def table_of(name: str, params: Params) -> Table:
    """Of a suite of this repository, by rules where it has some."""
    suite = load_suite(ROOT / f"manifests/suites/{name}.yaml")
    measured = run(suite, params, [colours()])
    assert not any(found.broken for found in measured.values())
    return by_rules(make_table(name, suite, ["colours"], measured), suite, measured)


def test_synthdistill_on_stand_ins(here: Path, params: Params) -> None:
    for name in ("calfw", "cplfw", "cfp_fp", "agedb_30"):
        shutil.copy(here / "data/lfw.bin", here / f"data/{name}.bin")
    table = table_of("synthdistill", params)
    assert table.heads == ["LFW", "CA-LFW", "CP-LFW", "CFP-FP", "AgeDB-30", "mean"]
    assert values(table.measured[0]) == pytest.approx([95.0] * 6)
    assert len(table.published) == 6 and table.reasons == []


def test_rfw_on_stand_ins(here: Path, params: Params) -> None:
    make_rfw(here / "data/rfw", {**NOTHING, "African": ("genuine", "impostor")})
    found = values(table_of("rfw", params).measured[0])
    assert found[:5] == pytest.approx([95.0, 100.0, 100.0, 100.0, 98.75])
    assert found[5] == pytest.approx(2.5)  # of 5, 0, 0 and 0, with ddof 1
    assert found[6:] == [None] * 3  # over a best of 0, and with 80 impostors


def test_frcsyn_on_stand_ins(here: Path, params: Params) -> None:
    for name in ("bupt", "agedb", "cfp-fp", "rof"):
        make_known(here / "data/frcsyn" / name)
    table = table_of("frcsyn", params)
    found = dict(zip(table.heads, values(table.measured[0]), strict=True))
    for name in ("BUPT", "AgeDB", "CFP-FP", "ROF"):
        assert found[f"{name}, accuracy"] == pytest.approx(95.0)
        assert found[f"{name}, AUC"] == pytest.approx(100 * AUC)
    assert found["FRCSyn, AVG of sets"] == pytest.approx(95.0)
    assert found["FRCSyn, TO"] is None  # without a column of groups
    best = next(row for row in table.published if row.model == "sub-task 2.2, Idiap-SynthDistill")
    assert dict(zip(table.heads, values(best), strict=True))["FRCSyn, AVG of sets"] == 93.5


def test_ijb_on_stand_ins(here: Path, params: Params) -> None:
    folder = make_templates(here / "data/ijbb")
    write_rows(folder / "gallery.csv", ("template_id",), [(1,), (4,)])
    write_rows(folder / "probes.csv", ("template_id",), [(2,)])
    table = table_of("ijb", params)
    found = dict(zip(table.heads, values(table.measured[0]), strict=True))
    assert found["IJB-B, rank 1"] == pytest.approx(100.0)
    assert found["IJB-B, TAR at FAR 1 %"] is None  # of three people
    assert any(reason.startswith("IJB-C: nothing lies at ") for reason in table.reasons)


def test_a_model_is_named_once() -> None:
    require_unlike([colours(), other()])
    with pytest.raises(InputError, match="--models: colours and copy are one model"):
        require_unlike([colours(), replace(colours(), name="copy")])
