"""The report over fabricated runs: real writers, random pictures, no network trained."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eval.quality import judge_round, open_identities, report_of, write
from eval.report import check_replaced, gather, write_reports
from eval.reporting.exported import ROLE
from eval.reporting.mistakes import NUM_SHOWN
from eval.reporting.page import TITLES, commit, count, duration
from eval.reporting.sections import cost_table, mistake_section
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import read_json, write_json
from manifests.core.layout import IDENTITIES
from manifests.records.exports import FLOAT, INT8, LATENCY, WEIGHTS, Export
from manifests.settings.params import Params, Verify
from manifests.settings.schema import SCHEMA
from manifests.stores.rounds import open_round
from pipeline.screen import screen_round
from tests.conftest import ROOT
from tests.exports import toy_export
from tests.fabricated_runs import (
    TRAINED,
    make_costs,
    make_drift,
    make_everything,
    make_rounds,
    make_run,
)
from train.checkpoint import LOG, load_student


@pytest.fixture
def toy_params(params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(tmp_path)
    return Params(**{**vars(params), "teacher": "toy"})


def written(params: Params) -> tuple[dict[str, Any], str]:
    write_reports(gather("mined-2", params), params, layout.REPORTS)
    page = (layout.REPORTS / "index.html").read_text(encoding="utf-8")
    return read_json(layout.REPORTS / "summary.json"), page


def leaves(tree: Mapping[str, Any]) -> Iterator[Any]:
    for value in tree.values():
        yield from leaves(value) if isinstance(value, Mapping) else [value]


def table(name: str) -> list[dict[str, str]]:
    text = (layout.REPORTS / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def test_summary_and_page_of_a_whole_chain(toy_params: Params) -> None:
    make_everything(benchmarks=("orl", "pairs"))
    summary, page = written(toy_params)
    paths = list(leaves(summary["stores"]))
    assert len(paths) == 10
    assert all(not Path(path).is_absolute() and Path(path).is_dir() for path in paths)
    assert set(summary["num_faces"]) == set(summary["digests"]) == {*TRAINED, "probe"}
    assert summary["student"]["train_seconds"] == 4.5
    assert summary["gap_by_round"] == {
        "identities": {"before": 0.5, "after": 0.4},
        "mined-1": {"before": 0.5, "after": 0.4},
        "mined-2": {"before": 0.4, "after": 0.3},
    }
    assert summary["orl"]["student"]["accuracy"] == summary["pairs"]["student"]["accuracy"]
    assert page.count("data:image/") > 20
    left_out = {
        TITLES[name] for name in ("published", "drift", "mistakes", "costs")
    }  # nothing to show
    for title in TITLES.values():
        assert (f">{title}</h2>" in page) == (title not in left_out)
    assert summary["sizes"]["student"]["macs"] > 100_000
    assert summary["sizes"]["teacher"]["macs"] is None  # nobody has a teacher called toy


def first_screen(page: str) -> str:
    """Its text, without the space between words."""
    start, end = page.index("<header"), page.index("<nav")
    return " ".join(re.sub(r"<[^>]+>", " ", page[start:end]).split())


def test_the_first_screen_says_how_far_it_is_and_why(toy_params: Params) -> None:
    make_everything()
    summary, page = written(toy_params)
    text = first_screen(page)
    roles = summary["orl"]
    behind = roles["teacher"]["accuracy"] - roles["student"]["accuracy"]
    assert summary["behind_teacher"]["orl"]["value"] == pytest.approx(behind)
    low, high = sorted(100 * end for end in summary["behind_teacher"]["orl"]["ci95"])
    word = "below" if behind >= 0 else "above"
    assert f"{abs(100 * behind):.1f} points {word} its teacher [" in text
    assert low <= 100 * behind <= high
    assert "is 0.300 on the probe , 40 generated faces that nothing trains on" in text
    assert "0.300 on the pool" in text
    assert "0.500 → 0.400 → 0.300" in text
    assert "on no photograph of anyone" in text


def test_figures_of_papers_stand_in_folded_parts_alone(toy_params: Params) -> None:
    make_everything()
    layout.SUITES.mkdir(parents=True)
    for path in (ROOT / layout.SUITES).glob("*.yaml"):
        (layout.SUITES / path.name).write_bytes(path.read_bytes())
    page = written(toy_params)[1]
    assert "LFW 99.52" in page
    assert "LFW 99.52" not in re.sub(r"<details>.*?</details>", "", page, flags=re.S)
    assert "That cannot be said of these figures" in first_screen(page)
    assert "facestill suite NAME --data DIR --models runs/mined-2" in page


def test_a_fall_between_runs_is_not_called_mining(toy_params: Params) -> None:
    make_everything()
    summary, page = written(toy_params)
    seen = summary["student"]["faces_seen"] - 640  # of start
    assert f"Between the two the student saw {seen:,} faces more" in page
    assert "what is left for mining is the difference" in page
    assert "<code>facestill mine summary mined-1</code>" in page


def test_the_first_round_that_is_not_empty_gives_the_regions(toy_params: Params) -> None:
    make_everything()
    results = gather("mined-2", toy_params)
    make_rounds(0)
    empty = open_round("mined-1", "toy")
    results = replace(results, rounds={**results.rounds, "mined-1": empty})
    assert results.first_mined is results.rounds["mined-2"]
    assert results.empty == {"mined-1": "why is not recorded"}
    stopped = {"mining": {"stopped": "no region is significantly worse than the rest"}}
    write_json(layout.manifest_summary("mined-1"), stopped)
    assert results.empty == {"mined-1": stopped["mining"]["stopped"]}


def test_uncommitted_code_is_told(toy_params: Params) -> None:
    make_everything()
    path = layout.run("mined-2") / LOG
    log = read_json(path)
    write_json(path, {**log, "student": {**log["student"], "git_commit": "c0ffee" * 6 + "beef+"}})
    assert "code c0ffeec0ffee+ (+: with changes that were not committed)" in written(toy_params)[1]
    assert [commit(text) for text in ("unknown", "c0ffee" * 7)] == ["unknown", "c0ffeec0ffee"]


def test_parameters_that_differ_come_first_and_all_are_folded(toy_params: Params) -> None:
    make_everything()
    SCHEMA.parent.mkdir(exist_ok=True)
    write_json(SCHEMA, {"default": {**toy_params.recipe, "teacher": "dlib-resnet"}})
    page = written(toy_params)[1]
    assert re.search(r'<th scope="row">teacher</th><td>&#34;toy&#34;</td>', page)
    unfolded = re.sub(r"<details>.*?</details>", "", page, flags=re.S)
    assert "shrinkage" in page and "shrinkage" not in unfolded
    write_json(SCHEMA, {"default": toy_params.recipe})
    assert "All are as they come with Facestill." in written(toy_params)[1]


def test_photographs_of_people_are_told_on_the_page(toy_params: Params) -> None:
    make_everything()
    summary, page = written(toy_params)
    assert summary["student"]["real_faces"] == {} and "photographs of real people" not in page
    path = layout.run("mined-2") / LOG
    log = read_json(path)
    write_json(path, {**log, "student": {**log["student"], "real_faces": "staff, who agreed"}})
    summary, page = written(toy_params)
    assert summary["student"]["real_faces"] == {"staff, who agreed": 0}
    assert "runs before it saw photographs of people, too" in page
    assert "<b>Trained on photographs of real people</b>, as params.yaml allows: staff, who" in page


def test_the_page_shows_the_gate_of_these_identities_only(toy_params: Params) -> None:
    make_everything()
    assert "Are they identities?" not in written(toy_params)[1]
    lenient = replace(toy_params.screen, least_identity=-1.0)  # random looks are no identities
    screen_round(IDENTITIES, [], replace(toy_params, screen=lenient))
    found = open_identities(IDENTITIES, "toy")
    verdicts = judge_round(found, None, toy_params)
    write(report_of(found, verdicts, toy_params.quality), verdicts)
    page = written(toy_params)[1]
    assert "Are they identities?" in page
    eer = verdicts["teacher"].parts["kept"].figures["eer"]
    assert f'<td class="n">{100 * eer:.1f}</td>' in page
    path = layout.quality_report()
    write_json(path, {**read_json(path), "faces_root": "ab" * 32})
    assert "Are they identities?" not in written(toy_params)[1]


def test_page_refers_to_nothing_outside_itself(toy_params: Params) -> None:
    make_everything()
    _, page = written(toy_params)
    addresses = re.findall(r"(?:src|href)\s*=\s*[\"']?([^\"'\s>]+)", page)
    assert addresses and all(address.startswith(("data:image/", "#")) for address in addresses)
    inside = set(re.findall(r'id="([^"]+)"', page))
    assert {address[1:] for address in addresses if address.startswith("#")} <= inside
    assert not re.search(r"<script|<link|@import|url\(", page)
    assert str(Path.cwd()) not in page


def test_empty_mined_rounds_and_missing_pairs(toy_params: Params) -> None:
    make_everything(num_mined=0)
    summary, page = written(toy_params)
    assert "pairs" not in summary
    assert summary["num_faces"]["mined-1"]["rows"] == 0
    assert 'id="mined"' not in page and page.count("mined-1 is empty") == 3
    assert "This is not mining." in page and "Mining found nothing to gain" in first_screen(page)
    rows = table("training.csv")
    assert {row["run"] for row in rows} == {"start"}


def test_a_second_report_is_the_same_page(toy_params: Params) -> None:
    make_everything()
    make_costs()
    first = written(toy_params)
    for stage in ("report", "embed@elsewhere"):  # its own cost, and what this run is not made of
        line = json.dumps({"stage": stage, "seconds": 9.0, "rows": None})
        (layout.COSTS / f"{stage}.jsonl").write_text(line + "\n")
    assert written(toy_params) == first
    assert set(first[0]["seconds"]) == {"render@pool", "embed@pool", "gap@pool", "total"}


def test_curves_as_files(toy_params: Params) -> None:
    make_everything()
    written(toy_params)
    rows = table("training.csv")
    seen = [int(row["faces_seen"]) for row in rows]
    assert seen == sorted(seen) and seen[9] == 640 + 64
    rows = table("roc.csv")
    assert {(row["benchmark"], row["model"]) for row in rows} == {
        ("orl", "student"),
        ("orl", "teacher"),
    }


@pytest.mark.parametrize(
    ("spoiled", "message"),
    [
        (layout.REPORTS / "verify/orl/student/metrics.json", "no such file"),
        (layout.run("start") / LOG, "no such file"),
        (layout.teacher("pool", "toy") / "passport.json", "unfinished"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    toy_params: Params, spoiled: Path, message: str
) -> None:
    make_everything()
    spoiled.unlink()
    with pytest.raises(InputError, match=message):
        gather("mined-2", toy_params)


def test_figures_of_another_student_are_refused(toy_params: Params) -> None:
    make_everything()
    make_run(2, num_steps=5)
    with pytest.raises(InputError, match="the student at hand"):
        gather("mined-2", toy_params)


def test_what_another_run_left_is_no_part_of_a_report_that_does_not_ask_for_it(
    toy_params: Params,
) -> None:
    make_everything(benchmarks=("orl", "pairs"))
    path = layout.verification("pairs", "student") / "metrics.json"
    write_json(path, read_json(path) | {"model_sha256": "0" * 64})
    assert "pairs" not in written(toy_params)[0]
    with pytest.raises(InputError, match="the student at hand"):
        gather("mined-2", replace(toy_params, verify=Verify("album", None)))


def test_drift_of_rounds_that_a_run_did_not_see_is_no_part_of_its_report(
    toy_params: Params,
) -> None:
    make_everything()
    make_drift()
    report = read_json(layout.REPORTS / "drift.json")
    report["synthetic"]["sources"].append({"name": "another", "digest": "0" * 64})
    write_json(layout.REPORTS / "drift.json", report)
    assert 'id="drift"' not in written(toy_params)[1]


def test_a_student_of_other_stores_is_refused(toy_params: Params) -> None:
    make_everything()
    log = read_json(layout.run("mined-2") / LOG)
    log["student"]["stores"] = log["student"]["stores"].replace(':"', ':"0', 1)
    write_json(layout.run("mined-2") / LOG, log)
    with pytest.raises(InputError, match="was trained on 0"):
        gather("mined-2", toy_params)


def test_costs_by_stage() -> None:
    costs = cost_table(
        {"embed@pool": 3.0, "embed@new": 1.0, "verify": 9.0, "total": 13.0}, ["pool"]
    )
    assert costs["columns"] == ["pool", "new"]
    assert [stage for stage, _ in costs["rows"]] == ["verify", "embed"]
    assert [duration(s) for s in (2.0, 90.0, 3700.0)] == ["2.0 s", "2 min", "1 h 02 min"]
    assert [count(n) for n in (None, 999, 2_813_984, 2.4e9)] == ["–", "999", "2.81 M", "2.4 G"]


def test_photographs_are_shown_only_of_the_folder_that_was_measured(
    toy_params: Params, weights: Path
) -> None:
    layout.DATA.mkdir()
    layout.DATA.joinpath("weights").symlink_to(weights)
    make_everything(photographs=Path("album"))
    results = gather("mined-2", toy_params)

    def shown(folder: str | None) -> dict[str, Any]:
        return mistake_section(results, replace(toy_params, verify=Verify(folder, None)))

    assert shown(None) == {"found": None, "why_not": None}
    assert "cannot be opened" in shown("elsewhere")["why_not"]
    section = shown("album")
    assert not section["why_not"]
    assert all(len(section[kind]) == NUM_SHOWN for kind in ("match", "non"))
    assert all(uri.startswith("data:image/webp") for _, uri in section["match"])
    Path("album/images/30.png").write_bytes(Path("album/images/31.png").read_bytes())
    changed = "it, or aligner, was changed since it was measured"
    assert shown("album") == {"found": None, "why_not": changed}


def test_drift_of_other_faces_is_refused(toy_params: Params) -> None:
    make_everything()
    _, page = written(toy_params)
    assert 'id="drift"' not in page
    make_drift()
    _, page = written(toy_params)
    assert 'href="#drift"' in page and 'id="drift"' in page
    report = read_json(layout.REPORTS / "drift.json")
    report["synthetic"]["sources"][0]["digest"] = "0" * 64
    write_json(layout.REPORTS / "drift.json", report)
    with pytest.raises(InputError, match="root 000000000000, which is not at hand"):
        gather("mined-2", toy_params)


class TestExported:
    """The files of the last student, as the page shows them."""

    def export(self, **changes: Any) -> Export:
        folder = layout.export("mined-2")
        record = toy_export(folder)
        own = replace(record.student, sha256=load_student(layout.run("mined-2")).sha256)
        record = replace(record, student=own, **changes)
        record.write(folder)
        spent = {"torch": 3.25, FLOAT: 1.5, INT8: 0.375}
        write_json(folder / LATENCY, {"milliseconds": spent, "threads": 1})
        return record

    def test_sizes_times_and_cost_are_shown(self, toy_params: Params) -> None:
        make_everything()
        sha256 = self.export().files[INT8].sha256
        metrics = {"model_sha256": sha256, "accuracy": 0.625}
        write_json(layout.verification("orl", ROLE) / "metrics.json", metrics)
        summary, page = written(toy_params)
        assert list(summary["exported"]["files"]) == sorted((WEIGHTS, FLOAT, INT8))
        assert summary["exported"]["int8_accuracy"] == {"orl": 0.625}
        rows = re.findall(r'<th scope="row" class="name">(.*?)</th>(.*?)</tr>', page, re.S)
        cells = {name: re.findall(r'<td class="n">(.*?)</td>', row) for name, row in rows}
        assert list(cells) == [WEIGHTS, FLOAT, INT8]
        assert cells[INT8] == ["0.00", "0.38", "0.9995", "62.5"]
        assert [cells[name][1] for name in (WEIGHTS, FLOAT)] == ["3.25", "1.50"]

    def test_without_an_export_nothing_is_shown(self, toy_params: Params) -> None:
        make_everything()
        summary, page = written(toy_params)
        assert summary["exported"] is None and "As files for others" not in page

    def test_what_is_of_another_student_is_refused(self, toy_params: Params) -> None:
        make_everything()
        self.export()
        path = layout.verification("orl", ROLE) / "metrics.json"
        write_json(path, {"model_sha256": "0" * 64, "accuracy": 0.5})
        with pytest.raises(InputError, match="of another file than"):
            written(toy_params)
        toy_export(layout.export("mined-2"))
        with pytest.raises(InputError, match=r"mined-2: of student 5a5a.*export the run again"):
            written(toy_params)


def test_the_page_of_another_run_is_not_replaced_unless_it_is_said(tmp_path: Path) -> None:
    check_replaced("mined-2", tmp_path, force=False)
    write_json(tmp_path / "summary.json", {"student": {"run": "mined-2"}})
    check_replaced("mined-2", tmp_path, force=False)
    with pytest.raises(
        InputError, match=r"has the report of run mined-2, .* that of arc; .*--force"
    ):
        check_replaced("arc", tmp_path, force=False)
    check_replaced("arc", tmp_path, force=True)
