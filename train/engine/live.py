"""Figures of a run while it goes on, by DVCLive, which is an extra: log.json has them all."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from manifests.core.errors import InputError
from train.engine.steps import Progress

Report = Callable[[Progress], None]


def check_installed() -> None:
    """Raises InputError if DVCLive is not."""
    try:
        importlib.import_module("dvclive")
    except ImportError:
        raise InputError(
            "train.live: true, but dvclive is not installed; run `.venv/bin/pip install dvclive`, "
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
