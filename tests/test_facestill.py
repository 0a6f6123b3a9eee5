"""One command, `facestill VERB`: its verbs, its texts, and the code that it runs."""

from __future__ import annotations

import ast
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

import facestill
from facestill import find_verbs
from manifests.core.layout import MAKERS
from manifests.core.waiting import CHOSEN, WAITING, wait_briefly
from tests.conftest import ROOT

VERBS = find_verbs(ROOT)
SCRIPT = Path(sys.executable).with_name("facestill")
# The code under test, whatever checkout the environment was made for.
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
HEAVY = {"numpy", "torch", "zarr", "pyarrow", "yaml", "shtab", "importlib.metadata"}


def run(
    *arguments: str, folder: Path = ROOT, environment: Mapping[str, str] = ENVIRONMENT
) -> subprocess.CompletedProcess[str]:
    """The installed command, in a process of its own."""
    return subprocess.run(
        [SCRIPT, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The command in this process; its exit status."""
    monkeypatch.setattr(sys, "argv", ["facestill", *arguments])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as caught:
        facestill.main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_every_command_of_the_tree_is_a_verb_of_its_own() -> None:
    files = [
        file.relative_to(ROOT)
        for package in ("pipeline", "train", "eval", "manifests")
        for file in (ROOT / package).rglob("*.py")
        if "__name__ ==" in file.read_text(encoding="utf-8")
    ]
    modules = {".".join(file.with_suffix("").parts) for file in files}
    assert len(modules) > 40
    assert modules == {verb.module for verb in VERBS.values()}
    assert len(VERBS) == len(modules)  # no name twice
    assert VERBS["model-card"].module == "manifests.model_card"
    assert VERBS["cr-fiqa-train"].module == "train.studies.cr_fiqa.train"


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_says_what_it_does(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, name, "--help") == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: facestill {name} [")
    assert VERBS[name].line in text
    assert f"\n    facestill {name}" in text  # and how it is called


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_a_line_of_the_overview_is_one_clause_that_begins_with_a_verb(
    verb: facestill.Verb,
) -> None:
    assert len(verb.line) <= 80
    assert verb.line.endswith(".") and verb.line.count(". ") == 0
    first = verb.line.split()[0]
    assert first[0].isupper() and not first.endswith(("s", "ing", ":")), first


def test_the_overview_has_every_verb_once_and_the_flow_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch) == 0
    text = capsys.readouterr().out
    listed = [line.split()[0] for line in text.splitlines() if line.startswith("  ")]
    assert sorted(listed) == sorted([*VERBS, "completion"])
    assert listed[:5] == ["weights", "sample", "render", "embed", "screen"]
    assert listed.index("mine") < listed.index("adopt")
    assert listed.index("usynthface-train") < listed.index("usynthface-report")


@pytest.mark.parametrize(
    "file", [ROOT / "dvc.yaml", *(ROOT / "params/studies/stages").glob("*.yaml")], ids=str
)
def test_every_stage_is_a_verb(file: Path) -> None:
    stages = yaml.safe_load(file.read_text(encoding="utf-8"))["stages"]
    for stage in stages.values():
        program, name, *_ = stage.get("do", stage)["cmd"].split()
        assert program == "facestill" and name in VERBS


# They print the answer to a question, or what they found is their exit status.
ANSWERS = {"audit", "check", "compare", "diff", "discard", "fair-distillation-price", "match",
           "plan", "repair", "trend"}  # fmt: skip


def _says_what_comes_next(file: Path) -> bool:
    calls = [
        node
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    concluded = any(own.func.id == "conclude" and len(own.args) == 3 for own in calls)
    return concluded or "next: " in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(VERBS.keys() - ANSWERS))
def test_a_command_ends_with_what_comes_next(name: str) -> None:
    assert _says_what_comes_next(VERBS[name].file)


def test_the_command_that_makes_what_is_absent_is_one() -> None:
    for _, _, command in MAKERS:
        verb, *words = command.format("name").split()
        assert verb in VERBS
        text = VERBS[verb].file.read_text(encoding="utf-8")
        assert all(f'"{word}"' in text for word in words if word.startswith("--"))


def test_the_overview_imports_nothing_heavy() -> None:
    code = (
        "import sys, facestill; sys.argv = ['facestill']\n"
        "try: facestill.main()\n"
        "finally: print(*sorted(sys.modules), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "manifests.core.errors" in loaded
    assert not HEAVY & loaded
    assert not {"pipeline", "train", "eval"} & loaded


@pytest.mark.parametrize(
    ("typed", "meant"), [("rendr", "render"), ("model_card", "model-card"), ("boundary", None)]
)
def test_an_unknown_verb_names_the_nearest(
    typed: str,
    meant: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(monkeypatch, typed) == 2
    out, err = capsys.readouterr()
    nearest = meant or "boundaries"
    expected = f"no verb {typed!r}; did you mean {nearest}? `facestill` lists them all"
    assert (out, err) == ("", f"error: {expected}\n")


def test_a_word_like_no_verb_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "zzz") == 2
    assert capsys.readouterr().err == "error: no verb 'zzz'; `facestill` lists them all\n"


def test_the_installed_command_runs_a_verb(tmp_path: Path) -> None:
    done = run("params")
    assert (done.returncode, done.stderr) == (0, "")
    elsewhere = run("params", folder=tmp_path)  # no checkout
    assert elsewhere.returncode == 2
    expected = "error: params.yaml: no such file; run from the repository root\n"
    assert (elsewhere.stdout, elsewhere.stderr) == ("", expected)


def another_checkout(folder: Path) -> Path:
    """A copy of what `facestill params` needs, with a change to it."""
    shutil.copytree(ROOT / "manifests/core", folder / "manifests/core")
    shutil.copy(ROOT / "manifests/__init__.py", folder / "manifests")
    for name in ("facestill.py", "dvc.yaml"):
        shutil.copy(ROOT / name, folder)
    text = (
        '"""Say where this code lies."""\n\n'
        "def main():\n    print(__file__)\n\n"
        'if __name__ == "__main__":\n    main()\n'
    )
    (folder / "manifests/params.py").write_text(text, encoding="utf-8")
    return folder


def test_a_checkout_s_own_code_runs_in_it(tmp_path: Path) -> None:
    other = another_checkout(tmp_path)
    done = run("params", folder=other)
    assert done.stdout == f"{other / 'manifests/params.py'}\n", done.stderr
    assert run(folder=other).stdout.count("Say where this code lies.") == 1


def test_below_a_checkout_s_root_it_says_where_to_stand(tmp_path: Path) -> None:
    folder = another_checkout(tmp_path) / "docs"
    folder.mkdir()
    done = run("params", folder=folder)
    expected = f"error: paths are those of the checkout's root; run it in {folder.parent}\n"
    assert (done.returncode, done.stderr) == (2, expected)
    assert "Say where this code lies." in run(folder=folder).stdout


def test_nobody_who_reads_on_is_no_error() -> None:
    """As in `facestill | head -1`, whatever the order in which the two end."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [SCRIPT], cwd=ROOT, env=ENVIRONMENT, stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def completed(script: Path, *words: str) -> list[str]:
    """What bash offers for the last of these words."""
    typed = " ".join(f"'{word}'" for word in words)
    code = (
        f"source {script}; COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; COMP_TYPE=9\n"
        "function_of=$(complete -p facestill | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n"
        f"$function_of facestill '{words[-1]}'; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(["bash", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("shell", facestill.SHELLS)
def test_completion_is_valid_in_its_shell(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    assert call(monkeypatch, "completion", shell) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out, encoding="utf-8")
    subprocess.run([shell, "-n", script], check=True)


def test_bash_completes_verbs_and_files(tmp_path: Path) -> None:
    script = tmp_path / "facestill.bash"
    script.write_text(facestill.completion("bash", VERBS), encoding="utf-8")
    offered = completed(script, "facestill", "re")
    assert sorted(offered) == ["render", "repair", "report", "retention", "retry"]
    assert completed(script, "facestill", "model") == ["model-card"]
    assert completed(script, "facestill", "completion", "") == ["bash", "zsh"]
    assert completed(script, "facestill", "verify", "params.y") == ["params.yaml"]


@pytest.mark.parametrize("words", [(), ("fish",), ("bash", "zsh")])
def test_completion_wants_a_shell(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "completion", *words) == 2
    expected = "error: which shell? facestill completion bash|zsh\n"
    assert capsys.readouterr() == ("", expected)


def test_commands_are_reached_as_modules_too() -> None:
    for verb in VERBS.values():
        assert callable(importlib.import_module(verb.module).main)


def test_threads_that_wait_sleep_soon_unless_the_user_chose() -> None:
    unset, chosen = {"HOME": "/"}, {"OMP_WAIT_POLICY": "ACTIVE"}
    for environment in (unset, chosen):
        wait_briefly(environment)
    assert unset == {"HOME": "/"} | WAITING
    assert chosen == {"OMP_WAIT_POLICY": "ACTIVE"}


@pytest.mark.skipif(sys.platform != "linux", reason="LLVM's OpenMP has other settings")
@pytest.mark.parametrize("package", ["pipeline", "train", "eval"])
def test_openmp_hears_of_it_before_it_is_loaded(package: str) -> None:
    """However a command is started: by its verb, or as a module."""
    own = {name: value for name, value in ENVIRONMENT.items() if name not in CHOSEN}
    own |= {"OMP_DISPLAY_ENV": "VERBOSE", "PYTHONPATH": str(ROOT)}
    name = {"pipeline": "embed", "train": "train", "eval": "gap"}[package]
    for command in (["facestill", name], [f"{package}.{name}"]):
        done = subprocess.run(
            [sys.executable, "-m", *command, "--help"],
            cwd=ROOT, env=own, capture_output=True, text=True,
        )  # fmt: skip
        assert "GOMP_SPINCOUNT = '2000'" in done.stderr  # what OpenMP says as it is loaded
