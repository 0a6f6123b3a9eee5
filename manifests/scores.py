"""scores.parquet: one row a verified pair, from which every metric can be computed again."""

from __future__ import annotations

import pyarrow as pa

KIND = "scores-1"
SCHEMA = pa.schema(
    {
        "pair_id": pa.int32(),
        "fold": pa.int16(),
        "left": pa.string(),
        "right": pa.string(),
        "same": pa.bool_(),
        "score": pa.float64(),  # higher: more alike
        "failed": pa.bool_(),  # a face of the pair was not detected, its central box was taken
    }
)
