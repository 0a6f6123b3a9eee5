"""What the page shows of a study that trained its own teachers, from its report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from eval.reporting.style import data_uri
from eval.studies.fair_distillation.page import NAMES
from eval.studies.training_sets.page import leaderboard


def content_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """Content of page.html.jinja."""
    return {
        "seeds": len(found["seeds"]),
        "rows": [row_of(arm, runs, found) for arm, runs in found["arms"].items()],
        "benchmarks": {
            NAMES.get(name, name): {**own, "image": data_uri(leaderboard(own))}
            for name, own in found["benchmarks"].items()
        },
    }


def row_of(arm: str, runs: Any, found: Mapping[str, Any]) -> dict[str, Any]:
    """What an arm learnt from; the seeds of one see equally many faces, to a batch."""
    first = runs[0]
    return {
        "name": arm,
        "is_student": arm in found["students"],
        "training": first["training"],
        "num_params": first["num_params"],
        "faces": sum(own["faces"] for own in first["rounds"].values()),
        "identities": sum(own["identities"] for own in first["rounds"].values()),
        "faces_seen": first["faces_seen"],
        "train_seconds": float(np.mean([own["train_seconds"] for own in runs])),
    }
