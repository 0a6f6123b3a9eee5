"""Two teams share rounds: the commands of docs/SHARING.md, run by real git and DVC as they
stand there. A fixture is a section of the page, in its order; tests look at what it left."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manifests.check import Fault, find_faults
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.settings.params import load_params
from manifests.stores.passport import Passport
from manifests.stores.reading import FaceStore
from manifests.stores.rounds import open_round, read_manifest
from tests import teams
from tests.conftest import ROOT
from tests.flow import run_stage
from tests.teams import Team
from train.engine.supervised import open_plan

FACES, TEACHER = layout.faces("teama/pool"), layout.teacher("teama/pool", "dlib-resnet")
IMPORTS = [f"{path}.dvc" for path in (FACES, TEACHER, layout.manifest("teama/pool"))]
SHARD = "images/c/0/0/0/0"
RUN = {"faces_seen": 64, "rate_from": 1.0, "rate_to": 0.0}
SMALL = {
    "sample": {"pool": {"count": 64, "seed": 1}},
    "train": {"batch": 32, "warmup_faces": 32, "runs": {"one": RUN, "both": RUN, "second": RUN}},
}


@pytest.fixture(scope="module")
def team_a(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Team:
    """Team A shares its pool as v1. `weights`: so that the stage finds them in the cache."""
    home = tmp_path_factory.mktemp("teams")
    hub = home / "hub.git"
    places = {"REMOTE": str(home / "remote"), "A_URL": str(hub), "FILE": SHARD}
    team = teams.check_out(home / "a", places, {**SMALL, "render": {"shard_rows": 64}})
    team.run("git", "init", "--quiet", "--bare", str(hub))
    team.run("git", "remote", "add", "origin", str(hub))
    team.run("dvc", "repro", "--quiet", "embed@pool")
    team.follow("Share a round")
    return team


@pytest.fixture(scope="module")
def team_b(team_a: Team, weights: Path) -> Team:
    """Team B takes it, beside a pool of its own."""
    team = teams.check_out(team_a.folder.with_name("b"), team_a.places, SMALL)
    (team.folder / "data").mkdir()
    (team.folder / "data/weights").symlink_to(weights)
    teams.make_pool(team, seed=7)
    team.commit("A pool of our own")
    team.follow("Take a round")
    return team


@pytest.fixture(scope="module")
def checked(team_b: Team) -> Sequence[str]:
    return team_b.follow("Check it")


@pytest.fixture(scope="module")
def logs(team_b: Team, checked: Sequence[str]) -> dict[str, Any]:
    """What two students of B's were trained on: one of the import alone, one of both rounds."""
    team_b.follow("Train on both")
    with chdir(team_b.folder):
        run_stage("train.train", ["one", "--rounds", "teama/pool"])
    return {run: read_json(team_b.folder / f"runs/{run}/log.json") for run in ("one", "both")}


@dataclass(frozen=True)
class Taught:
    """What another teacher's embeddings of A's faces changed in B's checkout."""

    before: teams.Snapshot
    after: teams.Snapshot
    bytes_more: int
    git_status: str
    dvc_status: str


@pytest.fixture(scope="module")
def taught(team_b: Team, logs: dict[str, Any]) -> Taught:
    (team_b.folder / "pipeline/teachers/second.py").write_text(teams.SECOND, encoding="utf-8")
    before, used = teams.snapshot(team_b.folder / FACES), teams.disk_use(team_b.folder)
    team_b.follow("Add a teacher")
    return Taught(
        before,
        after=teams.snapshot(team_b.folder / FACES),
        bytes_more=teams.disk_use(team_b.folder) - used,
        git_status=team_b.run("git", "status", "--porcelain"),
        dvc_status=team_b.run("dvc", "status", *IMPORTS),
    )


@pytest.fixture(scope="module")
def second_log(team_b: Team, taught: Taught) -> Any:
    """The log of a student of the second teacher."""
    team_b.set_params(teacher="second")
    with chdir(team_b.folder):
        run_stage("pipeline.screen", ["teama/pool"])
        run_stage("train.train", ["second", "--rounds", "teama/pool"])
    team_b.set_params(teacher="dlib-resnet")
    return read_json(team_b.folder / "runs/second/log.json")


@pytest.fixture(scope="module")
def root_of_v2(team_a: Team, second_log: Any) -> str:
    """Team A samples other faces and shares them as v2."""
    teams.make_pool(team_a, seed=8)
    stages = ["sample@pool", "render@pool", "embed@pool"]
    team_a.run("dvc", "commit", "--quiet", "--force", *stages)
    team_a.run("dvc", "push", "--quiet", "--with-deps", "embed@pool")
    team_a.commit("Another seed")
    team_a.run("git", "tag", "v2")
    team_a.run("git", "push", "--quiet", "origin", "HEAD", "v2")
    return Passport.read(team_a.folder / layout.faces("pool")).merkle_root


@dataclass(frozen=True)
class Healed:
    """A damaged import, and what it became."""

    faults: Sequence[Fault]  # before and after
    refusal: str
    root: str


@pytest.fixture(scope="module")
def healed(team_b: Team, root_of_v2: str) -> Healed:
    """A file of a hard-linked import is changed in place, and DVC's cache with it."""
    team_b.run("dvc", "checkout", "--quiet", "--relink", f"{FACES}.dvc")
    faces = team_b.folder / FACES
    teams.damage(faces / SHARD)
    (fault,) = find_faults(faces)
    with pytest.raises(InputError) as refusal:
        FaceStore.open(faces).images(0, 64)
    team_b.follow("When check complains")
    faults = [fault, *find_faults(faces)]
    return Healed(faults, str(refusal.value), Passport.read(faces).merkle_root)


@pytest.fixture(scope="module")
def updated(team_b: Team, healed: Healed) -> Sequence[str]:
    return team_b.follow("Take a later version")


def test_every_command_of_the_page_is_run() -> None:
    assert list(teams.sections()) == [
        "Share a round", "Take a round", "Check it", "Train on both", "Add a teacher",
        "Take a later version", "When check complains",
    ]  # fmt: skip


def test_git_ignores_every_output_and_no_import(tmp_path: Path) -> None:
    team = Team(tmp_path, {})
    team.run("git", "init", "--quiet")
    shutil.copy(ROOT / ".gitignore", tmp_path)
    ignored = {*teams.outputs(), *(name.removesuffix(".dvc") for name in IMPORTS)}
    for name in ignored:  # a folder as such, which is how DVC asks; else it ignores it itself
        folder = (tmp_path / name).parent if name.endswith(".parquet") else tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
    assert set(team.run("git", "check-ignore", *ignored, *IMPORTS).splitlines()) == ignored


def test_the_imports_commit_holds_nothing_but_pins(team_b: Team) -> None:
    shown = ["git", "log", "--grep", "Import team A", "--name-only", "--format="]
    assert sorted(team_b.run(*shown).split()) == sorted(IMPORTS)
    assert not list((team_b.folder / "data").rglob(".gitignore"))
    assert not list((team_b.folder / "manifests").rglob(".gitignore"))


def test_an_import_is_sound_agrees_and_is_another_round(checked: Sequence[str]) -> None:
    verified, audited, compared, card = checked
    *stores, last = verified.splitlines()
    assert [line.split(":")[0] for line in stores] == [str(FACES), str(TEACHER)]
    assert last == "2 of 2 sound"
    assert verified.count(": sound ") == 2 and "not here" not in verified
    assert audited.count("agrees on 16 rows") == 2 and "NOT" not in audited
    assert "lineage" not in compared and "manifest_digest" in compared
    assert card.startswith("data/teama/pool/card/")


def test_an_import_opens_by_its_passports_under_the_teams_name(
    team_b: Team, checked: Sequence[str]
) -> None:
    with chdir(team_b.folder):
        files = open_round("teama/pool", "dlib-resnet")
        own = read_manifest("pool")
    assert files.faces.passport.round == files.require_manifest().recipe.round == "pool"
    assert files.teacher.passport.faces_root == files.faces.root
    assert not files.num_imported
    assert not np.intersect1d(own.face_id, files.require_manifest().face_id).size


def test_students_learn_from_the_import_alone_and_from_both_rounds(logs: dict[str, Any]) -> None:
    stores = {run: json.loads(log["student"]["stores"]) for run, log in logs.items()}
    assert str(FACES) in stores["one"] and "data/pool/faces.zarr" not in stores["one"]
    assert {str(FACES), str(TEACHER), "data/pool/faces.zarr"} <= set(stores["both"])
    assert logs["both"]["num_faces"] > logs["one"]["num_faces"] > 32


def test_one_round_under_two_names_is_refused(team_b: Team, checked: Sequence[str]) -> None:
    with chdir(team_b.folder):
        for folder in (layout.DATA, layout.MANIFESTS):
            shutil.copytree(folder / "teama", folder / "again", copy_function=os.link)
        with pytest.raises(InputError, match="are the same; train on one"):
            open_plan("both", ["teama/pool", "again/pool"], None, load_params())
        for folder in (layout.DATA, layout.MANIFESTS):
            shutil.rmtree(folder / "again")


def test_another_teacher_leaves_the_import_as_it_was(taught: Taught) -> None:
    assert taught.before == taught.after
    assert taught.bytes_more < len(taught.before[SHARD][2]) / 4  # no copy
    assert taught.git_status == ""
    assert taught.dvc_status == "Data and pipelines are up to date.\n"


def test_another_teacher_is_another_one_and_can_be_learned_from(second_log: Any) -> None:
    stores = json.loads(second_log["student"]["stores"])
    assert "data/teama/pool/teachers/second.zarr" in stores
    assert second_log["student"]["embedding_width"] == 64


def test_a_damaged_import_is_refused_and_comes_back_as_pinned(
    healed: Healed, root_of_v2: str
) -> None:
    assert [fault.file for fault in healed.faults] == [SHARD]
    assert "images is damaged" in healed.refusal
    assert healed.root != root_of_v2


def test_an_update_brings_the_later_version(
    team_b: Team, updated: Sequence[str], root_of_v2: str
) -> None:
    assert updated[1].count(": sound ") == 2
    with chdir(team_b.folder):
        assert open_round("teama/pool", "dlib-resnet").faces.root == root_of_v2
        with pytest.raises(InputError, match="made from faces"):
            open_round("teama/pool", "second")
