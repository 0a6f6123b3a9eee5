"""What of the parameters cannot be met on this machine and with these rounds: said before any
time is spent.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from manifests.core import layout
from manifests.core.digests import canonical_json
from manifests.core.errors import InputError, pick
from manifests.core.files import read_json
from manifests.core.sources import Loaded, loaded
from manifests.settings.params import Params
from manifests.settings.training import Engine
from train.checkpoint import LOG
from train.engine.plan import Plan
from train.engine.processes import Processes
from train.engine.state import STATE
from train.engine.steps import Progress

SHOWN = 80  # characters of a value
# Beside the state of an unfinished run: what its bits depend on, and what it was begun with.
INPUTS, LOADED = "inputs.json", "loaded.json"
PRECISION = "train.engine.precision"
BACK = {"threads": "set OMP_NUM_THREADS={old}", PRECISION: f"say {PRECISION}: {{old}}"}


def check_run(plan: Plan, processes: Processes) -> None:
    """Raises InputError, in one line, for whatever would stop the run later."""
    train = plan.train
    processes.device(plan.params.device)
    _check_engine(train.engine)
    check_round_weights(plan.params, plan.rounds)
    if train.noise.randaugment and not train.noise.strongest:
        raise InputError("train.noise.strongest: 0, expected a bin of 1..30 beside randaugment")
    if train.batch % processes.count:
        raise InputError(
            f"train.batch: {train.batch} cannot be shared out evenly among {processes.count} "
            "processes; change it, or start as many as divide it"
        )
    share, wanted = train.batch // processes.count, train.engine.faces_an_identity
    if share % wanted:
        raise InputError(
            f"train.engine.faces_an_identity: {wanted}, by which the {share} faces of a batch that "
            "a process sees cannot be divided; change it, or train.batch"
        )
    if train.engine.batch_norm == "batch" and train.batch // processes.count < 2:
        raise InputError(
            f"train.batch: {train.batch} among {processes.count} processes: of one face BatchNorm "
            "has no spread; raise it, or say train.engine.batch_norm: frozen"
        )
    seen = plan.num_steps * train.batch
    if processes.first and 0 < seen <= train.warmup_faces:
        print(
            f"warning: run {plan.name} sees {seen} faces, and warms up for {train.warmup_faces} "
            "(train.warmup_faces): it never learns at its full rate",
            file=sys.stderr,
        )
    if train.live:
        check_installed()


def _check_engine(engine: Engine) -> None:
    if list(engine.drops) != sorted(engine.drops):
        raise InputError(f"train.engine.drops: {list(engine.drops)}, expected them ascending")
    if engine.compile and not compiler():
        raise InputError(
            "train.engine.compile: true, but no C++ compiler (g++, clang++, or $CXX) is here; "
            "install one, or say false"
        )


def compiler() -> str | None:
    """The C++ compiler that torch.compile would find."""
    return shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")


def check_round_weights(params: Params, rounds: list[str]) -> None:
    """`rounds`: that this run trains on. A weight may also be of a round of a later run."""
    known = [*rounds, *params.sample, layout.IDENTITIES, *params.mined]
    for name in params.train.face_weights:
        pick("round in train.face_weights", name, dict.fromkeys(known))
    for name in params.train.round_weights:
        pick("round in train.round_weights", name, dict.fromkeys(known))


def check_unfinished(plan: Plan, *, force: bool) -> None:
    """An unfinished run of this name, but of other inputs, is neither gone on with nor lost,
    unless `force` says so; nor one of other code."""
    folders = [state.parent for state in sorted(plan.work.parent.glob(f"*/{STATE}"))]
    if force:
        for folder in {*folders, plan.work}:
            shutil.rmtree(folder, ignore_errors=True)
        return
    _check_code(plan)
    for folder in folders:
        if folder == plan.work or not (folder / INPUTS).exists():
            continue
        for key, old, new in differences(read_json(folder / INPUTS), plan.inputs):
            back = BACK.get(key, "put it back").format(old=old.strip('"'))
            raise InputError(
                f"{folder}: run {plan.name} stopped there unfinished with {key} {old}, now it is "
                f"{new}; {back} to go on, or begin anew with --force (or remove that folder)"
            )


def _check_code(plan: Plan) -> None:
    """An unfinished run is gone on with by the code that began it: else its bits were nobody's."""
    before = Loaded.read(plan.work / LOADED) if (plan.work / STATE).exists() else None
    unlike = loaded().unlike(before) if before else None
    if unlike:
        raise InputError(
            f"{plan.work}: run {plan.name} stopped there unfinished with {unlike}; remove that "
            "folder to begin anew, or put that back to go on"
        )


def check_replaced(plan: Plan, output: Path, *, force: bool) -> None:
    """Raises InputError where anything lies but a run of these inputs, unless `force` says that
    it may be lost."""
    if force or not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    log = read_json(output / LOG) if (output / LOG).is_file() else {}
    if "header" not in log:
        raise InputError(
            f"{output}: holds other files, and no trained student; give the run another name, or "
            "replace them with --force"
        )
    digest = log["header"].get("inputs_sha256")  # which older ones do not have
    if digest == plan.digest or (plan.work / STATE).exists():  # one that was begun in its place
        return
    was = {"train": log["params"], "stores": log["header"]["stores"], "after": log.get("after")}
    now = {"train": plan.settings, "stores": plan.stores, "after": plan.facts.get("after")}
    if digest is not None:
        was["threads"] = log["header"]["hardware"].get("threads")
        now["threads"] = plan.inputs["threads"]
    changed = [f"{key} {old}, now it is {new}" for key, old, new in differences(was, now)]
    if not changed and digest is None:
        return
    said = changed[0] if changed else "other processes, or on another machine"
    raise InputError(
        f"{output}: a run that was finished with {said}; give this one another name, or replace "
        "that with --force"
    )


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], above: str = ""
) -> Iterator[tuple[str, str, str]]:
    """(key, value before, value now) of whatever differs, by name."""
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{above}{name}.")
        elif canonical_json(old) != canonical_json(new):
            texts = canonical_json(old), canonical_json(new)
            unlike = (at for at, (a, b) in enumerate(zip(*texts, strict=False)) if a != b)
            same = next(unlike, min(map(len, texts)))
            yield f"{above}{name}", _from(texts[0], same), _from(texts[1], same)


def _from(text: str, same: int) -> str:
    """As much of a text as a line holds, from a little before the place where it differs."""
    at = max(0, same - SHOWN // 2) if len(text) > SHOWN else 0
    return "…" * bool(at) + text[at : at + SHOWN]


Report = Callable[[Progress], None]


def check_installed() -> None:
    """Raises InputError if DVCLive is not."""
    try:
        importlib.import_module("dvclive")
    except ImportError:
        raise InputError(
            "train.live: true, but dvclive is not installed; run `pip install dvclive`, "
            "or say false (log.json is written either way)"
        ) from None


@contextmanager
def reporting(folder: Path, *, on: bool, resumed: bool) -> Iterator[Report]:
    """Gives what is to be called with each line; it does nothing where logging is off."""
    if not on:
        yield lambda line: None
        return
    dvclive = importlib.import_module("dvclive")
    settings = {"save_dvc_exp": False, "dvcyaml": None, "report": None}
    with dvclive.Live(dir=str(folder), resume=resumed, **settings) as live:

        def report(line: Progress) -> None:
            live.log_metric("faces_seen", line.faces_seen)
            live.log_metric("train/loss", line.loss)
            live.log_metric("train/learning_rate", line.learning_rate)
            live.next_step()

        yield report
