"""What README, CONTRIBUTING and docs/ name is there: files, modules, verbs and their options, make
targets, links. docs/log/ tells history: its commands must work, its files may be gone. README is
one page, and its table that of docs/RESULTS.md; the book builds without a warning."""

from __future__ import annotations

import importlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from functools import cache
from pathlib import Path
from unittest import mock

import pytest

from facestill import find_verbs
from manifests.settings.params import load_params
from tests.conftest import ROOT
from tests.imports import file_of

VERBS = find_verbs(ROOT)
README, RESULTS = ROOT / "README.md", ROOT / "docs/RESULTS.md"
LOG = sorted((ROOT / "docs/log").glob("*.md"))
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
MADE_BY_THE_BOOK = "reference/"  # pages that are made from the code
CODE = re.compile(r"```\w*\n(.*?)```|`([^`\n]+)`", re.DOTALL)
FOLDERS = "manifests|pipeline|train|eval|tests|docs|params"
# A path of this repository; and, after a colon, what the file has.
PATH = re.compile(rf"(?<![\w./-])((?:{FOLDERS})/[\w./*-]*)(?:: (\w+))?")
MODULE = re.compile(rf"(?<![\w./-])((?:{FOLDERS})(?:\.\w+)+)")
MADE = "manifests/rounds"  # by the flow
# A word that the reader replaces: ROUND, NAME, my_name, second (the example of docs/SHARING.md).
STANDS_FOR = re.compile(r"\b[A-Z]{3,}\b|\bmy[_-]name\b|…|teachers/second|\bmined-K\b")


def each(pages: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages, ids=[page.name for page in pages])


def code_of(page: Path) -> Iterator[str]:
    """All that a page says in code: blocks line by line, and words within sentences."""
    for block, words in CODE.findall(page.read_text(encoding="utf-8")):
        yield from block.splitlines() if block else [words]


@cache
def help_of(name: str) -> str:
    printed = io.StringIO()
    argv = mock.patch.object(sys, "argv", [f"facestill {name}", "--help"])
    with redirect_stdout(printed), argv, suppress(SystemExit):
        importlib.import_module(VERBS[name].module).main()
    return printed.getvalue()


@each([page for page in PAGES if page not in LOG])
def test_files_that_a_page_names_are_there(page: Path) -> None:
    for code in code_of(page):
        for name, inside in PATH.findall(code):
            if not STANDS_FOR.search(name) and not name.startswith(MADE):
                found = list(ROOT.glob(name.rstrip("./")))
                assert found, f"{page.name}: {code}"
                if inside and not inside.startswith("my"):
                    text = found[0].read_text(encoding="utf-8")
                    assert re.search(rf"\b{inside}\b", text), f"{page.name}: {code}"


def is_there(name: str) -> bool:
    """Whether a dotted name is a module, something in one, or a parameter."""
    head, _, tail = name.rpartition(".")
    if file_of(name) or (ROOT / name.replace(".", "/")).is_dir():
        return True
    if "." in head and file_of(head):
        return hasattr(importlib.import_module(head), tail)
    value: object = load_params(ROOT / "params.yaml")
    for part in name.split("."):
        value = getattr(value, part, None)
    return value is not None


@each([page for page in PAGES if page not in LOG])
def test_modules_and_parameters_that_a_page_names_are_there(page: Path) -> None:
    for code in code_of(page):
        for name in MODULE.findall(code):
            suffix = name.rpartition(".")[2]
            if suffix not in ("py", "yaml", "md", "json", "parquet"):
                assert is_there(name), f"{page.name}: {code}"


@each(PAGES)
def test_commands_that_a_page_names_are_verbs_with_these_options(page: Path) -> None:
    for code in code_of(page):
        for command in re.findall(r"\bfacestill ([a-z][a-z-]*[^#|]*)", code):
            name, *words = command.split()
            if name.startswith("my-name") or name in ("completion", "and"):
                continue
            assert name in VERBS, f"{page.name}: {code}"
            for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", " ".join(words)):
                assert option in help_of(name), f"{page.name}: {code}"


@each(PAGES)
def test_targets_and_links_of_a_page_are_there(page: Path) -> None:
    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    for code in code_of(page):
        for target in re.findall(r"^make ([a-z]+)", code):
            assert target in targets, f"{page.name}: {code}"
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not link.startswith(MADE_BY_THE_BOOK):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_readme_is_one_page_of_few_figures() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 90
    said = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", text, flags=re.DOTALL)
    assert len(re.findall(r"\d[\d.,]*", said)) <= 40


def test_readmes_results_are_those_of_the_results_page() -> None:
    rows = re.findall(r"(?m)^\| `\S+` \| [\d*].*$", README.read_text(encoding="utf-8"))
    assert len(rows) == 4
    assert not set(rows) - set(RESULTS.read_text(encoding="utf-8").splitlines())


def test_the_book_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    commands = (tmp_path / "reference/commands.html").read_text(encoding="utf-8")
    assert all(f'id="{verb}"' in commands for verb in VERBS)
    assert "least_cosine" in (tmp_path / "reference/parameters.html").read_text(encoding="utf-8")
    assert "merkle_root" in (tmp_path / "reference/contracts.html").read_text(encoding="utf-8")
    study = (tmp_path / "studies/fair-distillation.html").read_text(encoding="utf-8")
    assert 'href="../TRAINING.html#real-faces"' in study  # a page below another links to it


def test_pages_are_read_at_all() -> None:
    code = [code for page in PAGES for code in code_of(page)]
    assert sum(bool(PATH.search(each)) for each in code) > 80
    assert sum("facestill " in each for each in code) > 80
    assert not is_there("eval.stores") and not is_there("train.losses.nothing")
