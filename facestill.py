"""facestill VERB: every command of this project by one name.

    facestill                         the verbs, in groups
    facestill VERB --help             what one takes
    facestill completion bash|zsh     a script that completes verbs, and the names of files

A verb is a file: pipeline/render.py is `facestill render`, train/studies/cr_fiqa/train.py is
`facestill cr-fiqa-train`. Nothing is imported but what is asked for.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

GROUPS = {  # by folder: the verbs of the flow first, in its order
    "pipeline": "Rounds: from latents to stores",
    "train": "Students",
    "eval": "Measuring",
    "manifests": "What lies on disk",
    "studies": "Studies (`make study NAME=…` runs one)",
}
COMMAND = 'if __name__ == "__main__":'  # the line that makes a file a command
SHELLS = ("bash", "zsh")


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
        """What it does: the first line of its file."""
        text = ast.get_docstring(ast.parse(self.file.read_text(encoding="utf-8"))) or ""
        return text.partition("\n")[0]


def checkout() -> Path:
    """The folder whose code runs: the checkout that one stands in, else the installed one."""
    here = Path.cwd()
    names = ("facestill.py", "dvc.yaml")
    places = (place for place in (here, *here.parents) if all((place / n).exists() for n in names))
    return next(places, Path(__file__).resolve().parent)


def commands(root: Path) -> Iterator[Verb]:
    """Every file below `root` that may be one: those in packages' roots and studies' folders."""
    for package in ("pipeline", "train", "eval", "manifests"):
        for file in sorted((root / package).glob("*.py")):
            yield Verb(file.stem.replace("_", "-"), f"{package}.{file.stem}", file)
        for file in sorted((root / package / "studies").glob("*/*.py")):
            study = file.parent.name
            name = f"{study}-{file.stem}".replace("_", "-")
            yield Verb(name, f"{package}.studies.{study}.{file.stem}", file)


def find_verbs(root: Path) -> dict[str, Verb]:
    """The commands by name, those of the flow first, in the order of dvc.yaml."""
    flow = root / "dvc.yaml"
    text = flow.read_text(encoding="utf-8") if flow.exists() else ""
    stages = dict.fromkeys(re.findall(r"\bcmd: facestill ([a-z-]+)", text))
    found = {
        verb.name: verb
        for verb in commands(root)
        if COMMAND in verb.file.read_text(encoding="utf-8")
    }
    return {name: found[name] for name in stages if name in found} | found


def overview(verbs: Mapping[str, Verb]) -> str:
    """All verbs in groups, a line each."""
    lines = ["usage: facestill VERB …    (facestill VERB --help says what it takes)"]
    for group, title in GROUPS.items():
        own = [verb for verb in verbs.values() if verb.group == group]
        if group == "studies":  # a study's report comes last
            own.sort(key=lambda verb: (verb.file.parent.name, verb.file.stem == "report"))
        width = max((len(verb.name) for verb in own), default=0) + 2
        lines += ["", title, *(f"  {verb.name:{width}}{verb.line}" for verb in own)]
    end = f"completion {'|'.join(SHELLS)}  Print a script that completes verbs in a shell."
    return "\n".join([*lines, "", "The shell", f"  {end}"])


def completion(shell: str, verbs: Mapping[str, Verb]) -> str:
    """A script for this shell. Options are left to --help: to know them, all must be imported."""
    import shtab

    parser = argparse.ArgumentParser("facestill")
    choices = parser.add_subparsers()
    for verb in verbs.values():
        taken = choices.add_parser(verb.name, help=verb.line, add_help=False)
        taken.add_argument("arguments", nargs="*").complete = shtab.FILE  # type: ignore[attr-defined]
    own = choices.add_parser("completion", help="Print a script that completes verbs.")
    own.add_argument("shell", choices=SHELLS)
    script: str = shtab.complete(parser, shell)
    return script


def answer(root: Path, words: Sequence[str]) -> int | None:
    """What one typed after `facestill`, done; its exit status."""
    from manifests.core.errors import InputError

    verbs = find_verbs(root)
    name, *arguments = words or ["--help"]
    if name in ("--help", "-h", "help"):
        print(overview(verbs))
    elif name == "completion":
        if len(arguments) != 1 or arguments[0] not in SHELLS:
            raise InputError(f"which shell? facestill completion {'|'.join(SHELLS)}")
        print(completion(arguments[0], verbs))
    elif name in verbs:
        if root in Path.cwd().parents and not {"-h", "--help"} & set(arguments):
            raise InputError(f"paths are those of the checkout's root; run it in {root}")
        sys.argv = [f"facestill {name}", *arguments]
        status: int | None = importlib.import_module(verbs[name].module).main()
        return status
    else:
        near = difflib.get_close_matches(name, verbs, n=1, cutoff=0.6)
        hint = f"; did you mean {near[0]}?" if near else ";"
        raise InputError(f"no verb {name[:80]!r}{hint} `facestill` lists them all")
    return None


def main() -> None:
    root = checkout()
    sys.path.insert(0, os.fspath(root))  # before anything of the project is imported
    from manifests.core.errors import run_command

    run_command(lambda: answer(root, sys.argv[1:]))


if __name__ == "__main__":
    main()
