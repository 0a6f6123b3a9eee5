"""Teams with a git and DVC repository each, that do what a page of docs/ says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from manifests.settings.presets import merged
from manifests.stores.metadata import files_of
from tests.conftest import ROOT
from tests.flow import run_stage

PAGE = (ROOT / "docs/SHARING.md").read_text(encoding="utf-8")
KINDS = ("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR", "DVC_SITE_CACHE_DIR")
NAMES = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
Snapshot = Mapping[str, tuple[int, int, bytes]]

SECOND = '''"""The dlib network on the mirrored face, half of its dimensions."""

from pipeline.teachers import dlib_resnet


class SecondTeacher(dlib_resnet.DlibResnetTeacher):
    name = "second"
    width = 64
    preprocessing = "mirrored; the first 64 of 128 dimensions"

    def embed(self, images):
        return super().embed(images.flip(3))[:, :64]


def load(weights):
    first = dlib_resnet.load(weights)
    return SecondTeacher(first.network, first.weights_sha256)
'''


@dataclass(frozen=True)
class Team:
    """A team's checkout, and what the capitals of the page stand for."""

    folder: Path
    places: Mapping[str, str]

    def run(self, *words: str, exit_code: int = 0) -> str:
        done = subprocess.run(
            words, cwd=self.folder, env=self._environment(), capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == exit_code, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def follow(self, heading: str) -> list[str]:
        """Runs the commands of a section of the page; returns what they print."""
        outputs = []
        for line in sections()[heading]:
            for capitals, place in self.places.items():
                line = line.replace(capitals, place)
            words = shlex.split(line, comments=True)
            outputs.append(self.run(*words, exit_code=int("# exit 1" in line)))
        return outputs

    def set_params(self, **changes: Any) -> None:
        path = self.folder / "params.yaml"
        values = merged(yaml.safe_load(path.read_text(encoding="utf-8")), changes)
        path.write_text(yaml.safe_dump(values), encoding="utf-8")

    def commit(self, text: str) -> None:
        self.run("git", "add", ".")
        self.run("git", "commit", "--quiet", "--message", text)

    def _environment(self) -> dict[str, str]:
        """Nobody's settings, nobody's name; the commands of the environment that tests run in."""
        home = self.folder.parent / "settings"
        commands = Path(sys.executable).parent
        return {
            **os.environ,
            **{kind: str(home / kind) for kind in KINDS},
            **dict.fromkeys(NAMES, "team@example.org"),
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "OMP_WAIT_POLICY": "PASSIVE",  # a thread that waits takes no time of a busy machine
        }


def sections() -> dict[str, list[str]]:
    """{heading: lines of its shell blocks} of the page, sections without any left out."""
    found = {}
    for section in PAGE.split("\n## ")[1:]:
        blocks = [part.partition("\n```")[0] for part in section.split("```sh\n")[1:]]
        found[section.partition("\n")[0]] = [line for text in blocks for line in text.splitlines()]
    return {heading: lines for heading, lines in found.items() if lines}


def check_out(folder: Path, places: Mapping[str, str], changes: Mapping[str, Any]) -> Team:
    """A repository of this project's files, with a first commit; `changes` of the toy preset."""
    team = Team(folder, places)
    copy_project(folder)
    team.run("git", "init", "--quiet", "--initial-branch", "main")
    preset = yaml.safe_load((ROOT / "params/toy.yaml").read_text(encoding="utf-8"))
    team.set_params(**merged(preset, changes))
    team.commit("Start")
    return team


def copy_project(folder: Path) -> None:
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


def snapshot(store: Path) -> Snapshot:
    """{file: (inode, time of change, bytes)}."""
    found = {}
    for name in files_of(store):
        status = (store / name).stat()
        found[name] = (status.st_ino, status.st_mtime_ns, (store / name).read_bytes())
    return found


def disk_use(folder: Path) -> int:
    """Bytes of all files, those with several names once."""
    files = [path.stat() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return sum({status.st_ino: status.st_size for status in files}.values())


def make_pool(team: Team, *, seed: int) -> None:
    """Samples, renders, embeds and screens a team's pool, in this process."""
    team.set_params(sample={"pool": {"seed": seed}})
    with chdir(team.folder):
        run_stage("pipeline.sample", ["pool", "--force"])  # in place of the one before
        for stage in ("render", "embed", "screen"):
            run_stage(f"pipeline.{stage}", ["pool"])


def damage(file: Path) -> None:
    """Changes a byte in place, and with it in every hard link."""
    assert file.stat().st_nlink > 1
    file.chmod(0o644)
    with file.open("r+b") as opened:
        opened.seek(1000)
        byte = opened.read(1)
        opened.seek(1000)
        opened.write(bytes([byte[0] ^ 255]))


def outputs() -> list[str]:
    """Where the stages of dvc.yaml put what they make; `pool` stands for any round or run."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"].values()
    outs = [out for stage in stages for out in stage.get("do", stage).get("outs", [])]
    names = [next(iter(out)) if isinstance(out, dict) else out for out in outs]
    return [re.sub(r"\$\{(item|key)\}", "pool", name) for name in names]
