"""Stored faces by their quality: how it is spread, and the faces at either end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.reporting.pictures import face_strip, showable
from manifests.records.qualities import QualityTable, table_of
from manifests.stores.rounds import open_round

FACES_SHOWN, QUANTILES = 12, (0.05, 0.25, 0.5, 0.75, 0.95)


def rated_faces(
    folder: Path, rounds: Sequence[str], teacher: str, worst: float
) -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
    """By the tables of qualities in `folder`: quantiles of each round and how many faces the share
    `worst` is; pictures of the worst and the best, {ROUND/worst, ROUND/best: data URI}; and the
    digests of the tables. Only faces that a generator made are shown.
    """
    found, strips, digests = {}, {}, {}
    for name in rounds:
        files, path = open_round(name, teacher), table_of(folder, name)
        table, digests[path.as_posix()] = QualityTable.read(path, faces_root=files.faces.root)
        rows = np.flatnonzero(files.faces.ok())
        quantiles = np.quantile(table.quality[rows], QUANTILES)
        found[name] = {
            "num_faces": len(rows),
            "quantiles": dict(zip(map(str, QUANTILES), quantiles.tolist(), strict=True)),
            "num_quarantined": len(table.worst(rows, worst)),
        }
        if showable(files) is not None:
            ranked = rows[np.argsort(table.quality[rows], kind="stable")]
            ends = {"worst": ranked[:FACES_SHOWN], "best": ranked[::-1][:FACES_SHOWN]}
            for end, shown in ends.items():
                strips[f"{name}/{end}"] = face_strip(files.faces, shown, FACES_SHOWN)
    return found, strips, digests
