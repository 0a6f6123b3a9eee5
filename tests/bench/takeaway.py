"""Ways out of a round: faces a processor second, and bytes a face, of each kind of `pack`.

    python -m tests.bench takeaway

2,048 real faces, 16 of an identity, with one teacher's two views. Seconds are the process's own,
reading back included; page caches are warm.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from manifests.core import layout
from manifests.settings.params import PriorRound, load_params
from manifests.stores.latents import LatentManifest
from manifests.takeaway.delivering import KINDS, pack_round
from manifests.takeaway.packing import export_round
from pipeline.building.workers import Workers, num_cores
from pipeline.embed import embed_round
from pipeline.render import render_round
from pipeline.sample import sample_prior
from tests.process_costs import workplace

ROWS, OF_AN_IDENTITY = 2048, 16
ROUND, HDF5 = "people", "hdf5"


def measure() -> dict[str, object]:
    with workplace():
        _make_round()
        return {kind: _costs(kind) for kind in (HDF5, *KINDS)}


def _make_round() -> None:
    params, workers = load_params(), Workers(num_cores())
    sampled = sample_prior(ROUND, PriorRound(ROWS, 13), params)
    at = sampled.table.schema.get_field_index("identity_id")
    identities = pa.array(np.arange(ROWS) // OF_AN_IDENTITY)
    table = sampled.table.set_column(at, sampled.table.schema.field(at), identities)
    replace(sampled, table=table).write(layout.manifest(ROUND))
    assert len(LatentManifest.read(layout.manifest(ROUND))) == ROWS
    render_round(ROUND, params, workers=workers)
    embed_round(ROUND, params.teacher, params, workers=workers)


def _costs(kind: str) -> dict[str, float]:
    out, start = Path(kind), time.process_time()
    if kind == HDF5:
        export_round(ROUND, out)
    else:
        pack_round(ROUND, out, kind, selection="all")
    seconds = time.process_time() - start
    files = [path for path in (out, *out.rglob("*")) if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    return {
        "faces_per_second": round(ROWS / seconds),
        "bytes_per_face": round(size / ROWS),
        "files": len(files),
    }
