"""What every repository has says one thing: versions, licence, what is run, whom to cite."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import yaml

from tests.conftest import ROOT


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


PROJECT = tomllib.loads(text("pyproject.toml"))["project"]
CITATION = yaml.safe_load(text("CITATION.cff"))
JOB = yaml.safe_load(text(".github/workflows/ci.yml"))["jobs"]["check-and-test"]


def arxiv(reference: dict[str, Any]) -> str:
    return str(reference["doi"]).removeprefix("10.48550/arXiv.")


def test_version_and_licence_are_the_same_everywhere() -> None:
    newest = re.search(r"^## (\S+)", text("CHANGELOG.md"), re.M)
    assert newest is not None
    assert {PROJECT["version"], CITATION["version"], newest[1]} == {PROJECT["version"]}
    assert CITATION["license"] == PROJECT["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0" in text("LICENSE")


def test_references_have_what_the_citation_format_asks_for() -> None:
    assert {"cff-version", "message", "title", "authors"} <= CITATION.keys()
    for each in CITATION["references"]:
        assert {"type", "title", "authors", "year", "doi"} <= each.keys()
        assert all({"family-names", "given-names"} == author.keys() for author in each["authors"])
    cited = [arxiv(each) for each in CITATION["references"]]
    assert len(set(cited)) == len(cited)


def test_the_papers_of_students_studies_and_identities_are_cited() -> None:
    pages = ("STUDENTS", "STUDIES", "IDENTITIES", "LEAKAGE")
    named = {
        number
        for page in pages
        for number in re.findall(r"arXiv (\d+\.\d+)", text(f"docs/{page}.md"))
    }
    assert named
    assert named <= {arxiv(each) for each in CITATION["references"]}


def test_the_workflow_runs_what_a_developer_runs_on_the_versions_that_are_promised() -> None:
    assert ".ci/run" in [step.get("run") for step in JOB["steps"]]
    assert re.findall(r"^make (\w+)$", text(".ci/run"), re.M) == ["check", "test"]
    promised = {line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3" in line}
    assert {lane["python"] for lane in JOB["strategy"]["matrix"]["include"]} == promised
    assert re.search(r"^PYTHON \?=", text("Makefile"), re.M)
    assert JOB["env"] == {"PYTHON": "python"}


def test_the_hooks_lint_with_the_locked_version() -> None:
    ruff, _ = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    assert f"ruff=={ruff['rev'].removeprefix('v')}\n" in text("requirements.lock")


def test_the_lock_names_every_package_once() -> None:
    names = [line.partition("==")[0].lower() for line in text("requirements.lock").splitlines()]
    assert len(set(names)) == len(names)
