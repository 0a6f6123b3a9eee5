"""The frame that all studies share: files, parameters, stages, reports and their page."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from eval import study_page
from manifests import study
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.parsing import parse
from manifests.settings.params import read_yaml
from manifests.settings.presets import merged
from manifests.settings.study import StudyReport, load_study, read_report
from tests.conftest import ROOT

NAMES = sorted(path.stem for path in (ROOT / layout.STUDY_PARAMS).glob("*.yaml"))
SIZES = [
    (name, path.stem)
    for name in NAMES
    for path in sorted((ROOT / layout.STUDY_PARAMS / name).glob("*.yaml"))
]
SECTION = "<p>{{ study.content.told }}</p>"


def kind_of(name: str) -> type:
    found: type = importlib.import_module(f"manifests.studies.{name.replace('-', '_')}").Study
    return found


def stages_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = read_yaml(ROOT / layout.study_stages(name))["stages"]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_study_has_its_files(name: str) -> None:
    parse(kind_of(name), read_yaml(ROOT / layout.study_params(name)), name)
    folder = name.replace("-", "_")
    shown = importlib.import_module(f"eval.studies.{folder}.report")
    assert shown.TITLE and callable(shown.section)
    assert (ROOT / f"eval/studies/{folder}/page.html.jinja").exists()


@pytest.mark.parametrize("name", NAMES)
def test_the_stage_called_like_a_study_writes_its_report(name: str) -> None:
    assert layout.study_report(name).as_posix() in stages_of(name)[name]["outs"]


@pytest.mark.parametrize("name", NAMES)
def test_stages_run_from_the_root_and_belong_to_a_study(name: str) -> None:
    root = (ROOT / layout.study_dvc(name)).parent
    for stage, own in stages_of(name).items():
        assert (root / own.get("do", own)["wdir"]).resolve() == ROOT
        assert stage == name or stage.startswith(f"{name}-")


@pytest.mark.parametrize(("name", "size"), SIZES)
def test_every_size_parses_and_changes_something(name: str, size: str) -> None:
    base = read_yaml(ROOT / layout.study_params(name))
    over = merged(base, read_yaml(ROOT / layout.study_size(name, size)))
    assert parse(kind_of(name), over, size) != parse(kind_of(name), base, name)


class TestWithAStudyOfTheTests:
    """A study called `tale`, plugged in as docs/STUDIES.md says."""

    @pytest.fixture(autouse=True)
    def plugged_in(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for package in ("manifests", "eval"):
            folder = tmp_path / package / "studies"
            folder.mkdir(parents=True)
            module = importlib.import_module(f"{package}.studies")
            monkeypatch.setattr(module, "__path__", [*module.__path__, str(folder)])
        (tmp_path / "manifests/studies/tale.py").write_text(
            "from dataclasses import dataclass\n\n"
            "@dataclass(frozen=True)\nclass Study:\n    words: int\n    seed: int\n"
        )
        study_folder = tmp_path / "eval/studies/tale"
        study_folder.mkdir()
        (study_folder / "__init__.py").touch()
        (study_folder / "report.py").write_text(
            "TITLE = 'A tale'\n\ndef section(found):\n    return {'told': found['told']}\n"
        )
        templates = tmp_path / "eval/reporting"
        shutil.copytree(ROOT / "eval/reporting", templates)
        (study_folder / "page.html.jinja").write_text(SECTION)
        monkeypatch.setattr("eval.reporting.page.__file__", str(templates / "page.py"))
        monkeypatch.chdir(tmp_path)
        layout.STUDY_PARAMS.mkdir(parents=True)
        layout.study_params("tale").write_text("words: 3\nseed: 1\n")
        layout.study_stages("tale").parent.mkdir()
        layout.study_stages("tale").write_text("stages: {}\n")

    def run(self, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
        monkeypatch.setattr("sys.argv", ["study", *arguments])
        study.main()

    def test_its_parameters_are_parsed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run(monkeypatch, "tale")
        kind = importlib.import_module("manifests.studies.tale").Study
        assert load_study("tale", kind) == kind(words=3, seed=1)

    def test_its_stages_are_laid_out(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.run(monkeypatch, "tale")
        assert layout.study_dvc("tale").read_text() == layout.study_stages("tale").read_text()
        assert "next: dvc repro params/studies/stages/tale/dvc.yaml:tale" in capsys.readouterr().out

    def test_git_does_not_hide_them_from_dvc(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """DVC refuses a dvc.yaml that git ignores, and then no study runs in a clone."""
        self.run(monkeypatch, "tale")
        shutil.copy(ROOT / ".gitignore", ".gitignore")
        subprocess.run(["git", "init", "--quiet", "."], check=True)
        asked = ["git", "check-ignore", "--quiet", layout.study_dvc("tale").as_posix()]
        assert subprocess.run(asked, check=False).returncode == 1  # 0: ignored

    def test_a_wrong_parameter_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        layout.study_params("tale").write_text("words: many\nseed: 1\n")
        with pytest.raises(InputError, match=r"params/studies/tale\.yaml: words: 'many' is a str"):
            self.run(monkeypatch, "tale")

    def test_an_unknown_study_is_answered_with_the_valid_ones(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(InputError, match=r"unknown study 'saga'; valid names: .*tale"):
            self.run(monkeypatch, "saga")

    def test_a_size_is_merged_in_and_sizes_do_not_stack(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for size, words in (("full", 300), ("tiny", 1)):
            layout.study_size("tale", size).parent.mkdir(exist_ok=True)
            layout.study_size("tale", size).write_text(f"words: {words}\n")
        self.run(monkeypatch, "tale", "full")
        self.run(monkeypatch, "tale", "full")
        assert yaml.safe_load(layout.study_params("tale").read_text()) == {"words": 300, "seed": 1}
        with pytest.raises(InputError, match=r"restore it \(git checkout params/studies/tale"):
            self.run(monkeypatch, "tale", "tiny")
        with pytest.raises(InputError, match="unknown size 'huge' of tale; valid names: full, tin"):
            self.run(monkeypatch, "tale", "huge")

    def test_its_section_says_what_it_found_missed_and_came_from(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        missing = {"the sequel": "nobody <wrote> it"}
        report = StudyReport("tale", {"words": 3}, {"runs/x": "ab" * 32}, {"told": "once"}, missing)
        report.write()
        assert read_report("tale") == report
        monkeypatch.setattr("sys.argv", ["study_page"])
        study_page.main()
        page = study_page.PAGE.read_text()
        for text in ('href="#tale"', "<p>once</p>", "nobody &lt;wrote&gt; it", "abab", "words: 3"):
            assert text in page

    def test_a_file_that_is_no_report_is_refused(self) -> None:
        layout.STUDY_REPORTS.mkdir(parents=True)
        layout.study_report("tale").write_text("{}")
        with pytest.raises(InputError, match=r"tale\.json: no report of a study; run `make study"):
            read_report("tale")

    def test_a_page_without_reports_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.argv", ["study_page"])
        with pytest.raises(InputError, match="no reports; run `make study"):
            study_page.main()
