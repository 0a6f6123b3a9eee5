"""A run without teacher and labels: what it depends on, and its resumable training.

Its last layer batch-normalises the embedding, with a scale that stays at 1. Without it a random
network's embeddings all point the same way, and contrast begins with nothing to tell apart. In
evaluation it is a linear map: folded into the student's last layer, it leaves a student of the
same architecture and size.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from tqdm import tqdm

from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.digests import canonical_json, sha256_text
from manifests.core.errors import InputError
from manifests.core.files import deliver, forget_others, read_json, write_json
from manifests.settings.params import Params
from manifests.studies.usynthface import Study
from pipeline.arrays.frames import ARCFACE112
from pipeline.arrays.numerics import device_of, numerics
from train.batching.batches import BatchStream, Source, num_usable, stored_frame
from train.checkpoint import (
    FILE,
    LOG,
    STATE,
    StudentCard,
    load_state,
    load_student,
    save_state,
    save_student,
    weights_sha256,
)
from train.engine.record import METRIC, VIEWS, State, git_commit
from train.students import build_student
from train.students.base import num_params
from train.studies.usynthface.contrast import Partners, Progress, contrast_steps, make_optimizer
from train.studies.usynthface.margin_nce import MomentumContrast


def with_final_norm(student: nn.Module) -> nn.Sequential:
    """The student followed by the normalisation, if it does not end in one of its own.

    Raises InputError for a student into which it could not be folded.
    """
    last = list(student.children())[-1]
    if isinstance(last, nn.BatchNorm1d):
        return nn.Sequential(student)
    if not isinstance(last, nn.Linear) or last.bias is None:
        raise InputError(
            "this student ends in neither a linear layer with a bias nor batch normalisation, "
            "one of which contrast needs; choose another train: student in params.yaml"
        )
    norm = nn.BatchNorm1d(last.out_features)
    norm.weight.requires_grad_(False)
    return nn.Sequential(student, norm)


@torch.no_grad()
def folded(network: nn.Sequential) -> nn.Module:
    """The student alone, whose last layer now does what the normalisation did in evaluation."""
    student = network[0]
    if len(network) > 1:
        norm, last = cast(nn.BatchNorm1d, network[1]), cast(nn.Linear, list(student.children())[-1])
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        last.weight.mul_(scale[:, None])
        last.bias.sub_(norm.running_mean).mul_(scale).add_(norm.bias)
    return student


VERSION = 1  # raise it when the same inputs would give another student
LOG_POINTS = 100
TRAINED = "without teacher and labels (USynthFace)"
UNTRAINED = "untrained: random weights, with normalisation fitted to faces"


@dataclass(frozen=True)
class Untaught:
    """A run with everything it depends on."""

    name: str  # of the run directory, below runs/
    params: Params  # for student, device and seed
    study: Study
    sources: Sequence[Source]
    by_identity: bool  # pairs are two faces of one identity, not two views of one face

    @property
    def learns(self) -> bool:
        """At a rate of 0, steps do no more than let the normalisations' statistics settle."""
        return self.study.descent.learning_rate > 0

    @property
    def num_steps(self) -> int:
        return self.study.faces_seen // self.study.descent.batch

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The parameters that decide this run's student."""
        train = self.params.train
        used = {"student": asdict(train.student), "seed": train.seed, "pool_rows": train.pool_rows}
        return used | asdict(self.study) | {"by_identity": self.by_identity}

    @cached_property
    def stores(self) -> dict[str, str]:
        """{relative path: Merkle root} of the faces trained on, in order."""
        return {source.faces.path.as_posix(): source.faces.root for source in self.sources}

    @cached_property
    def seed(self) -> int:
        """One for all runs of a study: they see the same faces in the same order."""
        return int(sha256_text(f"{self.params.train.seed}:usynthface")[:8], 16)

    @cached_property
    def work(self) -> Path:
        """The scratch folder of exactly this run."""
        kind = [numerics(self.params.device), torch.get_num_threads()]
        inputs = canonical_json([VERSION, self.settings, list(self.stores.items()), kind])
        return layout.WORK / f"train-{self.name}" / sha256_text(inputs)[:16]


def start_network(run: Untaught) -> nn.Module:
    """Random weights from the seed that a distilled student begins with, too."""
    student = run.params.train.student
    torch.manual_seed(run.params.train.seed)
    return build_student(
        student.name,
        input_size=student.input_size,
        width=student.width,
        embedding_width=run.study.embedding_width,
    )


def train_untaught(run: Untaught, output: Path) -> None:
    """Trains, resuming where exactly this run was interrupted, or relinks it if it is done."""
    if not _done(run.work):
        with timed(f"train@{run.name}"):
            query = with_final_norm(start_network(run)).to(device_of(run.params.device))
            state = _train(run, query)
            save_run(run, folded(query), state, run.work)
    for stray in [run.work / STATE, *run.work.glob(".*.tmp")]:
        stray.unlink(missing_ok=True)
    deliver(run.work, output)
    forget_others(run.work)


def _done(work: Path) -> bool:
    """Is a finished run here, and its student still the one that its log names?"""
    if not (work / LOG).exists():
        return False
    return bool(read_json(work / LOG)["student"]["sha256"] == load_student(work).sha256)


def _train(run: Untaught, query: nn.Module) -> State:
    state = State(0, [], 0.0)
    keys = torch.Generator().manual_seed(run.seed)
    contrast = MomentumContrast(query, run.study.contrast, run.study.embedding_width, keys)
    contrast.to(next(query.parameters()).device)
    optimizer = make_optimizer(query, run.study.descent)
    if (run.work / STATE).exists():
        state = State(**load_state(run.work / STATE, query, contrast, optimizer))
    between = max(1, run.params.train.checkpoint_faces // run.study.descent.batch)
    clock = time.perf_counter()
    for line in _steps(run, query, contrast, optimizer, state.step):
        state.step += 1
        if state.step % max(1, run.num_steps // LOG_POINTS) == 0:
            state.history.append(asdict(line))
        now = time.perf_counter()
        state.seconds, clock = state.seconds + now - clock, now
        if state.step % between == 0:
            save_state(run.work / STATE, query, contrast, optimizer, asdict(state))
    return state


def _steps(
    run: Untaught,
    query: nn.Module,
    contrast: MomentumContrast,
    optimizer: torch.optim.Optimizer,
    first: int,
) -> Iterator[Progress]:
    batch, train = run.study.descent.batch, run.params.train
    stream = BatchStream(run.sources, batch=batch, pool_rows=train.pool_rows, seed=run.seed)
    total, done = run.num_steps * batch, first * batch
    with (
        closing(stream.batches(first)) as batches,
        tqdm(total=total, initial=done, unit="face", desc=f"train {run.name}") as bar,
    ):
        for line in contrast_steps(
            query,
            contrast,
            optimizer,
            batches,
            Partners(run.sources) if run.by_identity else None,
            stored=stored_frame(run.sources),
            seen=ARCFACE112.at(train.student.input_size),
            study=run.study,
            seed=run.seed,
            steps=range(first, run.num_steps),
        ):
            if not line.loss < float("inf"):
                raise InputError(
                    f"run {run.name}: loss is {line.loss} after {line.faces_seen} faces; "
                    "lower descent: learning_rate"
                )
            bar.update(batch)
            bar.set_postfix(loss=f"{line.loss:.3f}", found=f"{line.found:.2f}", refresh=False)
            yield line


def save_run(run: Untaught, network: nn.Module, state: State, folder: Path) -> None:
    """Writes student and log; the log last, since its presence says that the run is done."""
    student = run.params.train.student
    card = StudentCard(
        name=student.name,
        input_size=student.input_size,
        width=student.width,
        embedding_width=run.study.embedding_width,
        frame=ARCFACE112.name,
        metric=METRIC,
        views=VIEWS,
        stores=json.dumps(run.stores),
        params_sha256=sha256_text(canonical_json(run.settings)),
        git_commit=git_commit(),
        faces_seen=state.step * run.study.descent.batch if run.learns else 0,
        training=TRAINED if run.learns else UNTRAINED,
    )
    save_student(folder / FILE, network, card)
    log: dict[str, Any] = {
        "header": header(run, card, state),
        "student": asdict(card)
        | {"num_params": num_params(network), "sha256": weights_sha256(network)},
        "rounds": [layout.round_of(source.faces.path) for source in run.sources],
        "num_faces": num_usable(run.sources),
        "num_with_identity": Partners(run.sources).num_faces if run.by_identity else 0,
        "after": None,
        "params": run.settings,
        "history": state.history,
        "train_seconds": round(state.seconds, 1),
    }
    write_json(folder / LOG, log)


def header(run: Untaught, card: StudentCard, state: State) -> dict[str, Any]:
    """As a distilled run's: what anyone must know to compare it with another."""
    return {
        "git_commit": card.git_commit,
        "params_sha256": card.params_sha256,
        "stores": run.stores,
        "seeds": {"train.seed": run.params.train.seed, "run": run.seed},
        "num_seeds": 1,
        "seconds": round(state.seconds, 1),
        "hardware": {
            "machine": platform.machine(),
            "device": device_of(run.params.device).type,
            "threads": torch.get_num_threads(),
        },
        "torch": torch.__version__,
    }
