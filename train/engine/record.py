"""What is written of a run: its student with a card, and log.json, which says that it is done."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from manifests.core.digests import canonical_json, sha256_text
from manifests.core.files import write_json
from train.batching.sources import num_usable
from train.checkpoint import FILE, LOG, StudentCard, save_student, weights_sha256
from train.engine.plan import Plan
from train.engine.processes import Processes
from train.engine.state import State
from train.students.base import num_params

METRIC, VIEWS = "cosine", "plain+flip"
UNKNOWN = "unknown"


def card_of(plan: Plan, step: int) -> StudentCard:
    """Of the student after so many steps."""
    student = plan.train.student
    return StudentCard(
        name=student.name,
        input_size=student.input_size,
        width=student.width,
        embedding_width=plan.embedding_width,
        frame=plan.frame.name,
        metric=METRIC,
        views=VIEWS,
        stores=json.dumps(plan.stores),
        params_sha256=sha256_text(canonical_json(plan.settings)),
        git_commit=git_commit(),
        faces_seen=plan.faces_seen(step),
        projected_from=student.projected_from or 0,
        training=training_of(plan),
        aligner=", ".join(plan.aligners),
        precision=plan.precision,
        real_faces="\n".join(plan.people),
    )


def training_of(plan: Plan) -> str:
    """How a student was trained, and on photographs of whom, in words."""
    own = plan.real_faces
    seen = [f"trained on real faces: {own[each]:,} photographs of {each}" for each in own]
    before = [f"after others on real faces: {each}" for each in plan.taken_over if each not in own]
    return "; ".join((plan.how_trained, *seen, *before))


def save_run(plan: Plan, network: nn.Module, state: State, processes: Processes) -> None:
    """Writes student and log into the run's scratch folder; the log last."""
    card = card_of(plan, state.step)
    save_student(plan.work / FILE, network, card)
    student = asdict(card)
    student |= {"num_params": num_params(network), "sha256": weights_sha256(network)}
    seeds = {"train.seed": plan.train.seed, "run": plan.seed}
    device = processes.device(plan.params.device)
    facts = header(card, plan.stores, seeds, state.seconds, device, processes.count)
    precision = {
        "asked": plan.params.train.engine.precision,
        "used": plan.train.engine.precision,
    }
    log: dict[str, Any] = {
        "header": {**facts, "precision": precision, "inputs_sha256": plan.digest},
        "student": student,
        "rounds": plan.rounds,
        "num_faces": num_usable(plan.sources),
        **plan.facts,
        "params": plan.settings,
        "history": state.history,
        "train_seconds": round(state.seconds, 1),
    }
    write_json(plan.work / LOG, log)


def in_words(log: Mapping[str, Any]) -> str:
    """What a finished run came to."""
    student = log["student"]
    text = f"{student['name']}, {student['num_params']:,} parameters, {student['faces_seen']:,} "
    text += f"faces seen of {log['num_faces']:,} ({', '.join(log['rounds'])})"
    if not log["history"]:
        return f"{text}; nothing was trained, the student before is passed on"
    return f"{text}, loss {log['history'][-1]['loss']:.4f}, {log['train_seconds']:,.0f} s"


def header(
    card: StudentCard,
    stores: Mapping[str, str],
    seeds: Mapping[str, int],
    seconds: float,
    device: torch.device,
    processes: int,
) -> dict[str, Any]:
    """What anyone must know to compare this run with another, or to do it again."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "git_commit": None if card.git_commit == UNKNOWN else card.git_commit,
        "params_sha256": card.params_sha256,
        "stores": stores,
        "seeds": seeds,
        "num_seeds": 1,
        "seconds": round(seconds, 1),
        "hardware": {
            "machine": platform.machine(),
            "processor": processor(),
            "device": gpu or device.type,
            "threads": torch.get_num_threads(),
            "processes": processes,
        },
        "torch": torch.__version__,
    }


def processor() -> str:
    """The CPU's name where the system tells it, else its family."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def git_commit() -> str:
    """The commit, with + if the tree was changed; unknown outside a repository."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # no git
        return UNKNOWN
    return done.stdout.strip() or UNKNOWN
