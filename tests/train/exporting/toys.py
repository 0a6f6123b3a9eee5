"""The command, and where it puts what."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock

from manifests.records.exports import FLOAT, INT8, LATENCY, RECORD, WEIGHTS
from train.export import main

OUT = Path("runs/exports/start")
CARD = {"MODEL_CARD.md", "model_card.json", "README.md", "config.json", "LICENSE.md"}
FILES = {WEIGHTS, FLOAT, INT8, RECORD, LATENCY, *CARD}


def command(*arguments: str) -> None:
    with mock.patch.object(sys, "argv", ["train.export", *arguments]):
        main()
