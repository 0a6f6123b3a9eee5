"""The whole flow in one process: the commands of dvc.yaml, called as functions."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from facestill import find_verbs
from manifests.settings.presets import merged
from tests.conftest import ROOT, lay_out

VERBS = find_verbs(ROOT)


def resolved_commands() -> list[tuple[str, list[str]]]:
    """(module, arguments) of every stage of dvc.yaml, loops unrolled, in the file's order."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    commands = []
    for stage in stages.values():
        for key, item in _unrolled(stage.get("foreach", {"": {}}), params).items():
            command = stage.get("do", stage)["cmd"].replace("${key}", key)
            command = command.replace("${report}", params["report"])
            command = command.replace("${teacher}", params["teacher"])
            for name, value in item.items():
                command = command.replace(f"${{item.{name}}}", str(value))
            _, verb, *arguments = command.split()
            commands.append((VERBS[verb].module, arguments))
    return commands


def _unrolled(loop: str | Mapping[str, Any], params: Mapping[str, Any]) -> Mapping[str, Any]:
    """A loop as it stands, or the section of params.yaml that it names: ${mined}."""
    found: Mapping[str, Any] = params[loop[2:-1]] if isinstance(loop, str) else loop
    return found


# The file lists a stage once for all rounds; this is the order in which the rounds need them.
ORDER = """
weights | sample pool | sample probe | render pool | render probe | embed pool | embed probe
boundaries | sample identities | render identities | embed identities
screen pool | screen identities | train start | quality identities | gap start --rounds
mine mined-1 | render mined-1 | embed mined-1 | screen mined-1 | gap start --children
train mined-1 | gap mined-1 --rounds
mine mined-2 | render mined-2 | embed mined-2 | screen mined-2 | gap mined-1 --children
train mined-2 | gap mined-2 --rounds
card pool | card probe | card identities | card mined-1 | card mined-2
annotate pool | annotate identities | annotate mined-1 | annotate mined-2
annotate --photographs | drift --real
export runs/mined-2 | verify --stage | model_card runs/exports/mined-2 | report mined-2
""".replace("\n", "|")


def ordered_commands() -> list[tuple[str, list[str]]]:
    return [the_command(name.strip()) for name in ORDER.split("|") if name.strip()]


def the_command(start: str) -> tuple[str, list[str]]:
    """The one command of the file whose last module name and arguments begin like this."""
    found = [
        (module, arguments)
        for module, arguments in resolved_commands()
        if " ".join([module.rpartition(".")[2], *arguments, ""]).startswith(f"{start} ")
    ]
    assert len(found) == 1, f"{start}: {found}"
    return found[0]


def run_stage(module: str, arguments: Sequence[str]) -> None:
    """A stage's `main` with these arguments, in this process."""
    with mock.patch.object(sys, "argv", [module, *arguments]):
        importlib.import_module(module).main()


@contextmanager
def workspace(folder: Path, weights: Path, changes: Mapping[str, Any]) -> Iterator[Path]:
    """A folder in which stages run: the frozen files, the toy preset with `changes`."""
    lay_out(folder, weights)
    texts = [
        (ROOT / name).read_text(encoding="utf-8") for name in ("params.yaml", "params/toy.yaml")
    ]
    values = merged(merged(*map(yaml.safe_load, texts)), changes)
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    with chdir(folder):
        yield folder


def build(folder: Path, weights: Path, changes: Mapping[str, Any], *, until: str = "") -> Path:
    """Every stage of the flow in `folder`, or those before the module `until`; returns it."""
    commands = ordered_commands()[1:]  # the weights are there already
    with workspace(folder, weights, changes):
        for module, arguments in takewhile(lambda command: command[0] != until, commands):
            run_stage(module, arguments)
    return folder
