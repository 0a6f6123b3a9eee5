"""facestill VERB: every command of this project by one name.

    facestill                    the verbs, in groups
    facestill VERB --help        what one takes
    facestill completion bash    a script that completes them in a shell: bash, zsh or tcsh

A verb is a file: pipeline/render.py is `facestill render`, eval/studies/cr_fiqa/report.py is
`facestill cr-fiqa-report`. Nothing is imported but what is asked for.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

GROUPS = {  # by folder: the verbs of the flow first, in its order
    "pipeline": "Rounds: from latents to stores",
    "train": "Students",
    "eval": "Measuring",
    "manifests": "Files: what lies on disk",
    "studies": "Studies (facestill study NAME runs one)",
}
FLOW = (
    "weights", "sample", "render", "embed", "screen", "boundaries", "mine", "train", "export",
    "quality", "gap", "annotate", "drift", "verify", "report", "card", "model-card",
)  # fmt: skip
COMMAND = 'if __name__ == "__main__":'  # the line that makes a file a command
SHELLS = ("bash", "zsh", "tcsh")


@dataclass(frozen=True)
class Verb:
    name: str
    module: str
    file: Path

    @property
    def group(self) -> str:
        return "studies" if ".studies." in self.module else self.module.partition(".")[0]

    @property
    def line(self) -> str:
        """What it does: the first sentence of its file."""
        text = ast.get_docstring(ast.parse(self.file.read_text(encoding="utf-8"))) or ""
        return text.partition("\n\n")[0].replace("\n", " ")


def checkout() -> Path:
    """The folder whose code runs: the checkout that one stands in, else the installed one."""
    here = Path.cwd()
    names = ("facestill.py", "dvc.yaml")
    places = (place for place in (here, *here.parents) if all((place / n).exists() for n in names))
    return next(places, Path(__file__).resolve().parent)


def commands(root: Path) -> Iterator[Verb]:
    """Every command below `root`: the files in a package's root, and those of its studies."""
    for package in ("pipeline", "train", "eval", "manifests"):
        for file in sorted((root / package).glob("*.py")):
            yield Verb(file.stem.replace("_", "-"), f"{package}.{file.stem}", file)
        for file in sorted((root / package / "studies").glob("*/*.py")):
            study = file.parent.name
            name = f"{study}-{file.stem}".replace("_", "-")
            yield Verb(name, f"{package}.studies.{study}.{file.stem}", file)


def find_verbs(root: Path) -> Mapping[str, Verb]:
    is_command = (verb for verb in commands(root) if COMMAND in verb.file.read_text("utf-8"))
    return {verb.name: verb for verb in is_command}


def overview(verbs: Mapping[str, Verb]) -> str:
    """All verbs in groups, a line each."""
    order = {name: place for place, name in enumerate(FLOW)}
    width = max(map(len, verbs)) + 2
    lines = ["usage: facestill VERB …    (facestill VERB --help says what it takes)"]
    for group, title in GROUPS.items():
        own = [verb for verb in verbs.values() if verb.group == group]
        own.sort(key=lambda verb: (order.get(verb.name, len(order)), verb.name))
        lines += ["", title, *(f"  {verb.name:{width}}{verb.line}" for verb in own)]
    return "\n".join([*lines, "", "  completion bash|zsh|tcsh   completes verbs in your shell"])


def unknown(name: str, verbs: Mapping[str, Verb]) -> str:
    near = difflib.get_close_matches(name, verbs, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"error: no verb {name[:80]!r}{hint} (`facestill` lists them)"


def completion(shell: str, verbs: Mapping[str, Verb]) -> str:
    import shtab

    parser = argparse.ArgumentParser("facestill")
    choices = parser.add_subparsers()
    for verb in verbs.values():
        taken = choices.add_parser(verb.name, help=verb.line, add_help=False)
        taken.add_argument("arguments", nargs="*").complete = shtab.FILE  # type: ignore[attr-defined]
    script: str = shtab.complete(parser, shell)
    return script


def _complain(text: str) -> int:
    print(text, file=sys.stderr)
    return 2


def main() -> int:
    root = checkout()
    sys.path.insert(0, os.fspath(root))
    verbs = find_verbs(root)
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h", "help"):
        print(overview(verbs))
        return 0
    if name == "completion":
        if len(arguments) != 1 or arguments[0] not in SHELLS:
            return _complain(f"error: facestill completion {'|'.join(SHELLS)}")
        print(completion(arguments[0], verbs))
        return 0
    if name not in verbs:
        return _complain(unknown(name, verbs))
    sys.argv = [f"facestill {name}", *arguments]
    run(verbs[name].module)
    return 0


def run(module: str) -> None:
    """A command's `main`; ends with its exit code."""
    errors = importlib.import_module("manifests.core.errors")
    errors.run_command(importlib.import_module(module).main)


if __name__ == "__main__":
    sys.exit(main())
