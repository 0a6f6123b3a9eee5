"""Model cards: every figure is the record's or a result's, and no sentence says more."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from manifests.cards.model import networks
from manifests.core import layout
from manifests.core.digests import sha256_text
from manifests.core.errors import InputError
from manifests.core.files import read_json, write_json
from manifests.model_card import JSON, MARKDOWN, main, write_card
from manifests.records.exports import FLOAT, INT8, RECORD, Export
from tests.exports import EMBEDDED, RENDERED, WEIGHTS_SHA256, toy_export
from tests.results import people_table, scores_table, write_result

FOLDER = Path("runs/exports/start")
SECTIONS = [
    "Intended use", "Network", "Use", "Alignment", "Training", "Measured", "Operating thresholds",
    "Eight bits", "Limits", "Privacy", "Terms", "Made with",
]  # fmt: skip
INT8_SHA256 = sha256_text(INT8)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def result(folder: str, sha256: str, *, seed: int = 0, **changed: Any) -> Path:
    """A result as eval.verify writes it, of the model with this digest."""
    more = {"views": "plain+flip", "num_failed": 2, "model_sha256": sha256, **changed}
    return write_result(Path(folder), people_table(seed, people=60), changed=more)


def text() -> str:
    return (FOLDER / MARKDOWN).read_text(encoding="utf-8")


def test_the_card_has_every_section_and_the_records_figures() -> None:
    export = toy_export(FOLDER)
    write_card(FOLDER)
    assert re.findall("^## (.*)$", text(), re.M) == SECTIONS
    for shown in (
        "98,765", "1,234,567", "4,321 seen", "120 distinct", "standardised-mse", WEIGHTS_SHA256,
        "toy-generator (weights sha256: cdcd", "toy-teacher", "research only", "0.99951 on average",
        "calibrated on 100 training faces", "2.0e-06", "plain+flip",
    ):  # fmt: skip
        assert shown in text(), shown
    assert read_json(FOLDER / JSON)["export"] == json.loads(json.dumps(asdict(export)))


def test_differences_are_listed_by_size_and_number() -> None:
    toy_export(FOLDER)
    write_card(FOLDER)
    shown = re.findall(r"^\| (\d+ x \d+ x \d+) \|", text(), re.M)
    assert shown == ["1 x 32 x 32", "2 x 32 x 32", "7 x 112 x 112"]


def test_a_projection_is_told() -> None:
    export = toy_export(FOLDER)
    write_card(FOLDER)
    assert "projected from" not in text()
    replace(export, student=replace(export.student, projected_from=128)).write(FOLDER)
    write_card(FOLDER)
    assert "16 numbers, not normalised; projected from the network's own 128" in text()


def test_without_measurements_it_says_so() -> None:
    toy_export(FOLDER, int8=None)
    card = write_card(FOLDER)
    assert card.gap is None and not card.verifications
    assert "gap to the teacher was not measured" in text()
    assert "None: a threshold needs a verification." in text()
    assert "There is no 8-bit file." in text() and "without VNNI" not in text()
    assert "no operating threshold" in text()


def test_the_gap_is_that_of_this_student() -> None:
    toy_export(FOLDER)
    gap = {"num_faces": 77, "mean": 0.25, "standard_error": 0.01, "p95": 0.5, "confused": 0.0}
    report = {"student_sha256": WEIGHTS_SHA256, "probe": gap}
    write_json(layout.gap_report("start"), report)
    write_card(FOLDER)
    assert "On 77 synthetic faces" in text() and "is 0.2500 (standard error 0.0100" in text()
    write_json(layout.gap_report("start"), report | {"student_sha256": "0" * 64})
    assert write_card(FOLDER).gap is None
    write_json(layout.gap_report("start"), {"student_sha256": WEIGHTS_SHA256})
    with pytest.raises(InputError, match=r"start\.json: not a report of the stage gap"):
        write_card(FOLDER)


class TestResults:
    def test_those_of_its_networks_are_found_under_reports(self) -> None:
        toy_export(FOLDER)
        result("reports/verify/toy/student", WEIGHTS_SHA256)
        result("reports/verify/toy/student-int8", INT8_SHA256, seed=1)
        result("reports/verify/toy/teacher", "77" * 32)
        card = write_card(FOLDER)
        assert [own.network for own in card.verifications] == ["float", "int8"]
        said = read_json(Path("reports/verify/toy/student/metrics.json"))
        figures = card.verifications[0].figures
        assert (figures.accuracy, figures.num_impostors) == (
            said["accuracy"], said["num_impostors"],
        )  # fmt: skip
        low, high = said["accuracy_ci95_identity"]
        assert f"{low:.4f} to {high:.4f}" in text()

    def test_thresholds_are_those_the_impostor_pairs_bear(self) -> None:
        toy_export(FOLDER)
        card = write_card(FOLDER, [result("own", WEIGHTS_SHA256)])  # 240 impostor pairs
        (own,) = card.verifications
        assert [point.fmr for point in own.points] == [0.1]
        assert own.unsupported == (0.01, 0.001, 0.0001)
        said = read_json(Path("own/metrics.json"))["fnmr_at_fmr"]["0.1"]
        (point,) = own.points
        assert (point.threshold, point.fnmr) == (said["threshold"], said["value"])
        assert point.threshold_ci95[0] <= point.threshold <= point.threshold_ci95[1]
        assert text().count("not stated: too few pairs") == 3

    def test_with_more_pairs_come_smaller_rates(self) -> None:
        toy_export(FOLDER)
        rng = np.random.default_rng(0)
        same = np.arange(12_000) % 4 == 0
        table = scores_table(np.where(same, 0.6, 0.1) + rng.normal(0, 0.1, len(same)), same)
        facts = {"views": "plain", "num_failed": 0, "model_sha256": WEIGHTS_SHA256}
        (own,) = write_card(FOLDER, [write_result(Path("own"), table, changed=facts)]).verifications
        assert [point.fmr for point in own.points] == [0.1, 0.01]
        thresholds = [point.threshold for point in own.points]
        assert thresholds == sorted(thresholds)
        impostors = np.asarray(table["score"])[~same]
        assert (impostors > thresholds[1]).mean() <= 0.01

    def test_8_bits_are_compared_on_one_protocol_only(self) -> None:
        toy_export(FOLDER)
        both = [result("a", WEIGHTS_SHA256), result("b", INT8_SHA256, seed=1)]
        (change,) = write_card(FOLDER, both).int8_changes
        accuracies = [read_json(folder / "metrics.json")["accuracy"] for folder in both]
        assert change.change == accuracies[1] - accuracies[0]
        assert f"({change.change:+.4f})" in text()
        result("b", INT8_SHA256, seed=1, protocol_sha256="cd" * 32)
        assert write_card(FOLDER, both).int8_changes == []
        assert "What it costs on photographs was not measured" in text()

    def test_the_float_file_stands_for_the_student(self) -> None:
        export = toy_export(FOLDER)
        assert set(networks(export).values()) == {"float", "int8"}
        card = write_card(FOLDER, [result("a", export.files[FLOAT].sha256)])
        assert card.verifications[0].network == "float"

    def test_another_models_result_is_refused(self) -> None:
        toy_export(FOLDER)
        with pytest.raises(InputError, match=r"of model theirs \(777777777777\), which is none"):
            write_card(FOLDER, [result("theirs", "77" * 32)])
        assert not (FOLDER / MARKDOWN).exists()

    @pytest.mark.parametrize(
        ("changed", "complaint"),
        [
            ({"auc": "high"}, "auc: 'high' is a str, not float"),
            ({"num_pairs": None}, "num_pairs: None is a NoneType, not int"),
            ({"fnmr_at_fmr": None}, "no object fnmr_at_fmr"),
            ({"fnmr_at_fmr": {"a": None}}, "a false match rate 'a'"),
            ({"fnmr_at_fmr": {"nan": None}}, "a false match rate 'nan'"),
            ({"fnmr_at_fmr": {"-0.1": None}}, "a false match rate '-0.1'"),
            ({"fnmr_at_fmr": {"2": None}}, "a false match rate '2'"),
            ({"fnmr_at_fmr": {"0.1": {"value": 1}}}, "threshold: None is a NoneType"),
        ],
    )
    def test_figures_that_are_none_are_refused(self, changed: Any, complaint: str) -> None:
        toy_export(FOLDER)
        with pytest.raises(InputError, match=complaint):
            write_card(FOLDER, [result("own", WEIGHTS_SHA256, **changed)])

    def test_a_result_counts_once(self) -> None:
        toy_export(FOLDER)
        own = result("own", WEIGHTS_SHA256)
        with pytest.raises(InputError, match="named twice"):
            write_card(FOLDER, [own, own])
        with pytest.raises(InputError, match=r"none/metrics\.json: no such file"):
            write_card(FOLDER, [Path("none")])


class TestPrivacy:
    RENDERED_ONLY = "no photograph of a person was read in training"

    def test_rendered_faces_alone(self) -> None:
        toy_export(FOLDER)
        assert write_card(FOLDER).only_rendered
        assert self.RENDERED_ONLY in text() and "120 rendered faces" in text()

    @pytest.mark.parametrize(
        ("stores", "said"),
        [
            ((replace(RENDERED, num_imported=7), EMBEDDED), "7 of the faces"),
            ((replace(RENDERED, num_rows=None, num_imported=None),), "not at hand for this card"),
            ((EMBEDDED,), "not at hand for this card"),
        ],
    )
    def test_whatever_may_be_a_photograph_is_said(self, stores: Any, said: str) -> None:
        toy_export(FOLDER, stores=stores)
        assert not write_card(FOLDER).only_rendered
        assert said in text()
        assert self.RENDERED_ONLY not in text() and "rendered faces" not in text()

    def test_photographs_of_people_are_said_to_be_such(self) -> None:
        real = replace(RENDERED, num_imported=RENDERED.num_rows, real_faces="volunteers")
        toy_export(FOLDER, stores=(real, EMBEDDED))
        record = Export.read(FOLDER)
        words = "distilled from a teacher; trained on real faces: 40 photographs of volunteers"
        replace(record, student=replace(record.student, training=words)).write(FOLDER)
        card = write_card(FOLDER)
        assert not card.only_rendered and card.real_faces == ["volunteers"]
        assert "It was trained on photographs of real people: volunteers" in text()
        assert f"trained on 120 faces: {words}" in text()
        assert "may be photographs" not in text() and self.RENDERED_ONLY not in text()

    def test_so_are_those_that_only_the_student_s_card_knows_of(self) -> None:
        """Its stores are of rendered faces; what it began with, or is taught by, was not."""
        taught = replace(EMBEDDED, real_faces="staff")
        toy_export(FOLDER, stores=(RENDERED, taught))
        record = Export.read(FOLDER)
        people = "volunteers\nstaff, who agreed"
        replace(record, student=replace(record.student, real_faces=people)).write(FOLDER)
        card = write_card(FOLDER)
        assert not card.only_rendered and card.real_faces == ["staff, who agreed", "volunteers"]
        assert "photographs of real people: staff, who agreed; volunteers. Ask" in text()
        assert "A teacher of it was trained here on photographs of real people: staff." in text()
        assert self.RENDERED_ONLY not in text()


class TestBadRecords:
    def test_no_export(self) -> None:
        with pytest.raises(InputError, match=r"export\.json: no such file; make it with"):
            write_card(Path("none"))

    def test_files_that_changed(self) -> None:
        toy_export(FOLDER)
        (FOLDER / INT8).write_text("another")
        with pytest.raises(InputError, match=r"int8\.onnx: not the file that export\.json names"):
            write_card(FOLDER)

    @pytest.mark.parametrize(
        ("raw", "complaint"),
        [
            ("{", "not JSON"),
            ("[]", "schema version None, this code reads 1"),
            ('{"schema_version": 2}', "schema version 2"),
            ('{"schema_version": 1}', "missing key 'files'"),
        ],
    )
    def test_what_is_none(self, raw: str, complaint: str) -> None:
        FOLDER.mkdir(parents=True)
        (FOLDER / RECORD).write_text(raw)
        with pytest.raises(InputError, match=complaint):
            Export.read(FOLDER)

    def test_names_that_lead_elsewhere(self) -> None:
        toy_export(FOLDER)
        record = read_json(FOLDER / RECORD)
        record["files"]["../../secret"] = record["files"].pop(INT8)
        write_json(FOLDER / RECORD, record)
        with pytest.raises(InputError, match=r"names a file '\.\./\.\./secret'"):
            Export.read(FOLDER)


def test_a_record_is_read_as_it_was_written() -> None:
    export = toy_export(FOLDER)
    assert Export.read(FOLDER) == export


@settings(max_examples=20)
@given(name=st.text(max_size=30), terms=st.text(max_size=60))
def test_texts_of_others_stay_text(name: str, terms: str) -> None:
    """No licence or name may become a heading, a link, a row or raw HTML."""
    stores = (replace(RENDERED, made_by=name, licences={name: terms}),)
    toy_export(FOLDER, stores=stores)
    write_card(FOLDER)
    tokens = MarkdownIt("commonmark").enable("table").parse(text())
    assert [t.content for t in tokens if t.type == "html_block"] == []
    inside = [child.type for token in tokens for child in token.children or ()]
    assert not {"link_open", "image", "html_inline"} & set(inside)
    headings = [tokens[at + 1].content for at, t in enumerate(tokens) if t.type == "heading_open"]
    assert headings[1:] == SECTIONS


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    toy_export(FOLDER)
    own = result("own", WEIGHTS_SHA256)
    argv = ["manifests.model_card", FOLDER.as_posix(), "--results", own.as_posix()]
    with mock.patch.object(sys, "argv", argv):
        main()
    assert capsys.readouterr().out.endswith("model_card.json: 1 result on photographs\n")
