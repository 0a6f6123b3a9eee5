"""One run of the speedrun: a student of an arm and seed, what it cost, and what it can do.

A result is a file results/ARM-SEED.npz: of every face of the probe its gap, of every pair of each
benchmark whether it was called rightly, and the facts as JSON.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from manifests.core import layout
from manifests.core.digests import canonical_json
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.settings.params import Params, PriorRound
from pipeline.arrays.numerics import count_macs
from pipeline.sample import sample_prior, save
from tests.experiments.arms import ARM, RESULTS, make, measure_arm
from tests.experiments.speedrun.recipes import MORE, Arm
from tests.experiments.tables import read_results
from train.checkpoint import LOG, load_student
from train.engine.plan import Plan
from train.engine.record import processor
from train.engine.supervised import open_plan
from train.engine.trainer import train_run

PRIOR_SEED = 3000  # no other round's
LAST = 10  # of the hundred losses of a log, whose mean is called the final one
FACTS = "facts"


def more_faces(latents: int, params: Params) -> None:
    """One more round of the prior with its stores; found where it was made before."""
    save(sample_prior(MORE, PriorRound(latents, PRIOR_SEED), params))
    make(MORE, params)


def measured(arm: Arm, seed: int, params: Params, benchmarks: dict[str, str]) -> None:
    """Trains and measures an arm with a seed, where the arm as it stands has no result yet."""
    key, recipe = f"{arm.name}-{seed}", recipe_of(arm)
    path = RESULTS / f"{key}.npz"
    if path.exists() and facts_of(np.load(path))["recipe"] == recipe:
        return
    print(key, flush=True)
    folder, own = layout.run(key), arm.params(seed, params)
    plan = open_plan(ARM, arm.recipe.rounds, None, own)
    facts = {"recipe": recipe, **trained(plan, folder)}
    found = measure_arm(folder, own, benchmarks)
    np.savez(path, gap=found.gap, **found.correct, facts=np.array(canonical_json(facts)))


def recipe_of(arm: Arm) -> dict[str, Any]:
    """All that the arm says, as JSON gives it back."""
    return json.loads(canonical_json({"rounds": arm.recipe.rounds, "run": arm.run}))


def trained(plan: Plan, folder: Path) -> dict[str, Any]:
    """What a student is and what it cost. One that was stopped begins anew: its seconds are
    those of the whole run."""
    wall, cpu = time.perf_counter(), cpu_seconds()
    train_run(plan, folder, force=True)
    cost = {
        "seconds": round(time.perf_counter() - wall, 2),
        "cpu_seconds": round(cpu_seconds() - cpu, 2),
    }
    log, student = read_json(folder / LOG), load_student(folder)
    losses = [line["loss"] for line in log["history"]]
    return {
        **cost,
        "num_params": log["student"]["num_params"],
        "macs": count_macs(student.network, student.card.input_size),
        "faces_seen": student.card.faces_seen,
        "steps": plan.num_steps,
        "faces": plan.num_faces,
        "loss": round(float(np.mean(losses[-LAST:])), 5),
        "precision": log["params"]["engine"]["precision"],
        "hardware": hardware(),
        "commit": log["header"]["git_commit"],
    }


def cpu_seconds() -> float:
    """Of this process with all its threads, and of its children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def hardware() -> dict[str, Any]:
    """What CPU minutes are compared on."""
    return {"processor": processor(), "threads": torch.get_num_threads()}


def facts_of(result: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return json.loads(str(result[FACTS]))


def check_hardware() -> None:
    """Raises InputError where results were measured on another processor, or with other threads
    than this process has: minutes of both do not belong in one table."""
    here = hardware()
    for name, result in read_results(RESULTS).items():
        there = facts_of(result)["hardware"]
        if there != here:
            raise InputError(
                f"{(RESULTS / name).resolve()}.npz: measured on {in_words(there)}, here are "
                f"{in_words(here)}; set OMP_NUM_THREADS alike, or move those results away"
            )


def in_words(hardware: Mapping[str, Any]) -> str:
    return f"{hardware['processor']} with threads: {hardware['threads']}"
