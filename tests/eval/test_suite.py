"""The command: what it writes, takes up again, refuses, and how it ends."""

from __future__ import annotations

import pickle
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from eval import benchmarks
from eval import suite as command
from eval.suites.formats import BEGIN, END
from manifests.core.errors import InputError
from manifests.core.files import read_json, write_json
from tests.conftest import ROOT
from tests.protocols import CUT, bin_lists, colours

SUITE = "title: T\nbenchmarks: {LFW: bin:lfw.bin, gone: bin:gone.bin}\nmean: false\n"
Run = Callable[..., int | None]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs facestill suite in a checkout where models are colours called by any name."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "toy.yaml").write_text(SUITE, encoding="utf-8")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/lfw.bin").write_bytes(pickle.dumps(bin_lists()))
    monkeypatch.setattr(benchmarks, "alignment_by", lambda *names, **choices: CUT)
    # Stand-ins have fewer pairs than the public files of these names.
    monkeypatch.setattr("eval.benchmarks.bin.PUBLIC", {}, raising=False)
    monkeypatch.setattr(
        command, "load_model", lambda text, _: replace(colours(), name=text, sha256=text * 8)
    )

    def call(*words: str) -> int | None:
        monkeypatch.setattr(sys, "argv", ["facestill suite", *words])
        return command.main()

    return call


ASKED = ("toy.yaml", "--data", "data", "--models", "one-seen", "two-seen")


def test_every_form_of_the_table_is_written(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*ASKED) is None
    folder = Path("reports/suites/toy")
    names = {path.name for path in folder.iterdir()}
    assert names == {"table.md", "table.csv", "table.tex", "table.json", "index.html"}
    found = read_json(folder / "table.json")
    first = found["rows"][0]["figures"]
    assert first[0]["value"] == pytest.approx(95.0) and first[1]["value"] is None
    assert first[1]["why_not"] == "nothing lies at data/gone.bin"
    assert not any(cell["best"] for row in found["rows"] for cell in row["figures"])  # both alike
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2] == "reports/suites/toy/index.html: 2 models on 2 benchmarks"
    assert printed[-1].startswith("next: open it in a browser: file:///")
    assert "– gone: nothing lies at data/gone.bin" in printed
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/webp") == 2 and "http" not in page.partition("<style>")[0]


def test_the_second_time_nothing_is_measured_and_the_files_are_the_same(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(*ASKED)
    before = {p: p.read_bytes() for p in Path("reports/suites").rglob("*") if p.is_file()}
    monkeypatch.setattr("eval.suites.running.verify_models", None)  # whoever calls it, falls
    run(*ASKED)
    assert {p: p.read_bytes() for p in before} == before


def test_a_table_that_is_none_is_replaced(run: Run) -> None:
    write_json(Path("reports/suites/toy/table.json"), ["damaged"])
    assert run(*ASKED) is None


def test_a_broken_benchmark_ends_it_with_two(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    Path("data/gone.bin").write_bytes(b"damaged")
    assert run(*ASKED) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(said) == 1 and said[0].startswith("error: gone: data/gone.bin: ")
    assert Path("reports/suites/toy/table.md").exists()
    shutil.copy("data/gone.bin", "data/lfw.bin")
    with pytest.raises(InputError) as caught:  # where they lie is not the matter
        run(*ASKED)
    assert "nothing could be measured" in str(caught.value) and "--data" not in str(caught.value)


def test_a_page_shows_the_table_between_its_marks(run: Run) -> None:
    Path("PAGE.md").write_text(f"# Mine\n{BEGIN}\n{END}\nend\n", encoding="utf-8")
    run(*ASKED, "--page", "PAGE.md")
    text = Path("PAGE.md").read_text(encoding="utf-8")
    assert text.startswith(f"# Mine\n{BEGIN}\n| model | LFW | gone |\n")
    assert text.endswith(f"{END}\nend\n")
    Path("PAGE.md").write_text("# Mine\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"PAGE\.md: no lines"):
        run(*ASKED, "--page", "PAGE.md")


def test_where_no_benchmark_is_there_it_says_where_it_looked(run: Run) -> None:
    with pytest.raises(InputError, match=r"nothing lies at gone.bin; nothing lies at lfw.bin\); n"):
        run("toy.yaml", "--models", "one-seen")
    assert not list(Path("reports").rglob("table.*"))


def test_the_table_of_another_suite_is_not_replaced_unless_it_is_said(run: Run) -> None:
    write_json(Path("out/table.json"), {"file": "other.yaml"})
    with pytest.raises(InputError, match=r"out: has the table of other.yaml, .* toy.yaml; name"):
        run(*ASKED, "--out", "out")
    run(*ASKED, "--out", "out", "--force")
    assert read_json(Path("out/table.json"))["file"] == "toy.yaml"
    run(*ASKED[:-1], "--out", "out")  # the same suite of other models: nothing is lost


def test_models_are_the_reported_run_its_export_and_its_teacher(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("own.yaml").write_text("title: T\nbenchmarks: {LFW: bin:lfw.bin}\n", encoding="utf-8")
    with pytest.raises(InputError, match="runs/mined-2: no such run; train it, or name models"):
        run("own.yaml", "--data", "data")
    Path("runs/mined-2").mkdir(parents=True)
    run("own.yaml", "--data", "data")
    rows = read_json(Path("reports/suites/own/table.json"))["rows"]
    assert [row["model"] for row in rows] == ["runs/mined-2", "teacher:dlib-resnet"]
    Path("runs/exports/mined-2").mkdir(parents=True)
    Path("runs/exports/mined-2/student.int8.onnx").write_bytes(b"")
    run("own.yaml", "--data", "data")
    rows = read_json(Path("reports/suites/own/table.json"))["rows"]
    assert rows[1]["model"] == "onnx:runs/exports/mined-2/student.int8.onnx"


def test_the_results_page_has_a_table_of_the_default_suite() -> None:
    text = (ROOT / "docs/RESULTS.md").read_text(encoding="utf-8")
    shown = text.partition(BEGIN)[2].partition(END)[0].strip().splitlines()
    assert shown[0] == "| model | ORL | photographs |" and shown[2].startswith("| `runs/")
    assert shown[-2].startswith("- ORL: 3,600 pairs of 40 people, intervals over people; protocol")


def test_the_default_suite_is_what_is_here() -> None:
    found = yaml.safe_load((ROOT / "manifests/suites/own.yaml").read_text(encoding="utf-8"))
    assert found["benchmarks"] == {"ORL": "orl", "photographs": "pairs"}
