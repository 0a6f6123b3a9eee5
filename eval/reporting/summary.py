"""The figures of reports/summary.json, from run logs, passports and measured figures."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool

from eval.reporting.benchmarks import ORL, PAIRS, ROLES, Benchmarks, behind_teacher
from eval.reporting.exported import read_exported
from manifests.core import layout
from manifests.core.costs import seconds_by_stage
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.core.layout import POOL, PROBE
from manifests.stores.reading import TeacherStore
from manifests.stores.rounds import RoundFiles
from train.checkpoint import LOG

REPORT = "report"  # the stage
PHOTOGRAPHS = "photographs"  # what `annotate` calls them


@dataclass(frozen=True)
class RunLog:
    """A finished run and its log.json."""

    name: str
    log: Mapping[str, Any]

    @property
    def student(self) -> Mapping[str, Any]:
        return self.log["student"]

    @property
    def rounds(self) -> list[str]:
        """Every round it was trained on, earlier runs' first."""
        return list(self.log["rounds"])


def read_chain(run: str) -> list[RunLog]:
    """The runs that led to `run`, the first one first, `run` last."""
    chain: list[RunLog] = []
    name: str | None = run
    while name is not None:
        if name in [item.name for item in chain]:
            raise InputError(f"{layout.run(name) / LOG}: run {name} comes after itself")
        chain.insert(0, RunLog(name, read_json(layout.run(name) / LOG)))
        name = chain[0].log["after"]
    return chain


def check_trained_on(run: RunLog, rounds: Sequence[RoundFiles]) -> None:
    """Raises InputError unless the run's card names exactly the stores at hand."""
    recorded = json.loads(run.student["stores"])
    for files in rounds:
        for store in (files.faces, files.teacher):
            trained = recorded.get(store.path.as_posix())
            if files.name == PROBE and trained is not None:
                raise InputError(f"{store.path}: run {run.name} was trained on the probe")
            if files.name != PROBE and trained != store.root:
                raise InputError(
                    f"{store.path}: root {store.root[:12]}, but run {run.name} was trained on "
                    f"{str(trained)[:12]}; train it again, or bring the store that it saw"
                )


def read_gaps(chain: Sequence[RunLog]) -> dict[str, dict[str, Any]]:
    """Each run's figures {round: …} on the probe and, where it was measured there, on the pool.

    Raises InputError for figures of another student than the run's.
    """
    found = {}
    for run in chain:
        path = layout.gap_report(run.name)
        report = read_json(path)
        if report["student_sha256"] != run.student["sha256"]:
            raise InputError(
                f"{path}: of another student than {layout.run(run.name)}; run gap again"
            )
        found[run.name] = {PROBE: report[PROBE], POOL: report.get(POOL)}
    return found


def gap_by_round(
    chain: Sequence[RunLog], gaps: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, float]]:
    """For each round that a later run added, the probe's mean gap of the runs before and after."""
    return {
        name: {"before": gaps[before.name]["mean"], "after": gaps[after.name]["mean"]}
        for before, after in pairwise(chain)
        for name in after.rounds
        if name not in before.rounds
    }


def student_facts(
    chain: Sequence[RunLog], rounds: Sequence[RoundFiles], sha256: str
) -> dict[str, Any]:
    """The last run's student; its seconds are those of the whole chain."""
    last = chain[-1]
    names = ("name", "num_params", "input_size", "width", "embedding_width", "faces_seen")
    more = ("frame", "metric", "views", "git_commit", "params_sha256")
    trained_on = [files for files in rounds if files.name != PROBE]
    return {
        **{name: last.student[name] for name in (*names, *more)},
        "run": last.name,
        "run_dir": layout.run(last.name).as_posix(),
        "sha256": sha256,
        "train_seconds": round(sum(run.log["train_seconds"] for run in chain), 1),
        "num_faces": last.log["num_faces"],
        "num_imported_faces": sum(files.num_imported for files in trained_on),
        "real_faces": real_faces(trained_on, last.student.get("real_faces", "").splitlines()),
    }


def real_faces(trained_on: Sequence[RoundFiles], people: Sequence[str]) -> dict[str, int]:
    """{what is stated of people on photographs: usable ones in the stores that were trained on}."""
    found = dict.fromkeys(people, 0)
    for files in trained_on:
        stated, count = files.real_faces, files.faces.passport.num_ok
        if stated is not None and count:
            found[stated] = found.get(stated, 0) + count
    return found


def teacher_facts(store: TeacherStore) -> dict[str, Any]:
    """The teacher's identity, licence and width, from its store."""
    unknown = {"weights_sha256": "not stated", "metric": "an unstated metric"}  # if imported
    identity = unknown | dict(store.passport.fingerprint.identity)
    licence = store.passport.licences.get(identity["name"], "not stated")
    return {**identity, "embedding_width": store.width, "licence": licence}


def face_counts(rounds: Sequence[RoundFiles]) -> dict[str, dict[str, Any]]:
    """Rows, usable ones, failures by reason and what was lost of which latents, of every round."""
    passports = {files.name: files.faces.passport for files in rounds}
    return {
        files.name: {
            "rows": passports[files.name].num_rows,
            "usable": passports[files.name].num_ok,
            "failures": dict(passports[files.name].failures),
            "lost": lost_faces(*_parents(files)),
        }
        for files in rounds
    }


def _parents(files: RoundFiles) -> tuple[Bool[np.ndarray, " face"], Bool[np.ndarray, " face"]]:
    """Which faces have a parent, and which are usable; none where there is no manifest."""
    if files.manifest is None:
        return np.empty(0, bool), np.empty(0, bool)
    return files.manifest.table["parent_id"].is_valid().to_numpy(), files.faces.ok()


def lost_faces(
    with_parent: Bool[np.ndarray, " face"], ok: Bool[np.ndarray, " face"]
) -> dict[str, dict[str, int]]:
    """Rows and unusable ones among latents that have a parent and those of the prior, in a round
    with both: mining looks where faces are hard, which are those that are not found."""
    if not with_parent.any() or with_parent.all():
        return {}
    kinds = {"with_parent": with_parent, "of_the_prior": ~with_parent}
    return {
        kind: {"rows": int(rows.sum()), "lost": int((rows & ~ok).sum())}
        for kind, rows in kinds.items()
    }


def store_tree(rounds: Sequence[RoundFiles], teacher: str) -> dict[str, Any]:
    """{round: {faces: path, teachers: {name: path}}}, relative to the repository root."""
    return {
        files.name: {
            "faces": files.faces.path.as_posix(),
            "teachers": {teacher: files.teacher.path.as_posix()},
        }
        for files in rounds
    }


def digests(rounds: Sequence[RoundFiles]) -> dict[str, dict[str, str]]:
    """The links of each round's chain."""
    return {
        files.name: {
            "manifest": files.faces.passport.manifest_digest,
            "faces_root": files.faces.root,
            "teacher_root": files.teacher.root,
        }
        for files in rounds
    }


def costs(items: Collection[str]) -> dict[str, float]:
    """Seconds by stage and their total, of work on these rounds and runs and of stages that have
    no such thing; a total of 0 where everything came from a cache. Not of the report itself: what
    is on record is what the one before cost, and would make this one another page."""
    mine = {"", PHOTOGRAPHS, *items}
    seconds = {
        name: spent
        for name, spent in seconds_by_stage().items()
        if name != REPORT and name.partition("@")[2] in mine
    }
    return {**seconds, "total": round(sum(seconds.values(), 0.0), 2)}


def summarise(
    chain: Sequence[RunLog],
    rounds: Sequence[RoundFiles],
    benchmarks: Benchmarks,
    sizes: Mapping[str, Mapping[str, Any]],
    *,
    teacher: str,
    student_sha256: str,
) -> dict[str, Any]:
    """Everything in reports/summary.json."""
    both = read_gaps(chain)
    gaps = {run: own[PROBE] for run, own in both.items()}
    items = [*(run.name for run in chain), *(files.name for files in rounds)]
    return {
        "student": student_facts(chain, rounds, student_sha256),
        "exported": read_exported(chain[-1].name, student_sha256, benchmarks),
        "teacher": teacher_facts(rounds[0].teacher),
        "sizes": sizes,
        "stores": store_tree(rounds, teacher),
        "num_faces": face_counts(rounds),
        "seconds": costs(items),
        **benchmarks,
        "behind_teacher": {
            name: behind_teacher(layout.verification(name, ROLES[0]).parent) for name in benchmarks
        },
        "gap": gaps,
        "gap_on_pool": both[chain[-1].name][POOL],
        "gap_by_round": gap_by_round(chain, gaps),
        "digests": digests(rounds),
    }


def key_figures(summary: Mapping[str, Any]) -> dict[str, Any]:
    """reports/metrics.json: the few figures that git keeps and `dvc metrics diff` compares."""
    student, exported = summary["student"], summary["exported"] or {"int8_accuracy": {}}
    benchmarks = [name for name in (ORL, PAIRS) if name in summary]
    return {
        "accuracy": {
            name: {role: round(summary[name][role]["accuracy"], 4) for role in ROLES}
            for name in benchmarks
        },
        "accuracy_8_bit": {k: round(own, 4) for k, own in exported["int8_accuracy"].items()},
        "probe_gap": {run: round(own["mean"], 4) for run, own in summary["gap"].items()},
        "student": {name: student[name] for name in ("num_params", "num_faces", "faces_seen")},
    }
