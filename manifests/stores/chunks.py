"""The chunks of a shard: where they lie, and to how many bytes each says that it inflates.

A chunk of a few kilobytes can inflate to as many gigabytes, and the decoder believes what the
chunk itself says; so that is compared with the array's form, before a byte is decoded.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from zarr.codecs import ZstdCodec
from zarr.registry import register_codec

NOT_WRITTEN = np.iinfo(np.uint64).max  # a chunk's place in its shard's index, if it has none
INDEX_ENTRY, CHECKSUM = 16, 4  # bytes, of Zarr v3's sharding_indexed and of crc32c
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
LONGEST_HEADER = 18  # bytes, of a zstd frame (RFC 8878, 3.1.1.1)


class BoundedZstd(ZstdCodec):
    """Zstandard that refuses a chunk which does not inflate to exactly what its array declares."""

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        _check_inflation(chunk_bytes, chunk_spec)
        return await super()._decode_single(chunk_bytes, chunk_spec)

    def _decode_sync(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        _check_inflation(chunk_bytes, chunk_spec)  # later versions of zarr may come this way
        return super()._decode_sync(chunk_bytes, chunk_spec)


def _check_inflation(chunk_bytes: Any, chunk_spec: Any) -> None:
    wanted = math.prod(chunk_spec.shape) * chunk_spec.dtype.to_native_dtype().itemsize
    found = inflated_bytes(chunk_bytes[:LONGEST_HEADER].to_bytes())
    if found != wanted:
        raise ValueError(f"a chunk that inflates to {found} bytes, its array says {wanted}")


register_codec("zstd", BoundedZstd)
CODEC = {"codecs.zstd": f"{BoundedZstd.__module__}.{BoundedZstd.__qualname__}"}  # for zarr.config


def index_bytes(num_chunks: int) -> int:
    """Of the index at the end of a shard."""
    return INDEX_ENTRY * num_chunks + CHECKSUM


def faulty_chunks(file: Path, num_chunks: int, num_used: int, chunk_bytes: int) -> str:
    """What is wrong with the first `num_used` chunks of a shard; "" if nothing is."""
    size = file.stat().st_size - index_bytes(num_chunks)
    if size < 0:
        return "is too short for its index"
    with file.open("rb") as opened:
        opened.seek(size)
        index = np.frombuffer(opened.read(INDEX_ENTRY * num_chunks), "<u8").reshape(-1, 2)
        for offset, length in index[:num_used].tolist():
            if offset == NOT_WRITTEN:
                return "has chunks that were never written"
            if offset + length > size:
                return "has chunks that lie outside of it"
            opened.seek(offset)
            if inflated_bytes(opened.read(min(length, LONGEST_HEADER))) != chunk_bytes:
                return f"has chunks that do not inflate to {chunk_bytes} bytes"
    return ""


def inflated_bytes(frame: bytes) -> int | None:
    """What a zstd frame's header says that it inflates to; None if it does not say."""
    if len(frame) < 6 or not frame.startswith(ZSTD_MAGIC):
        return None
    descriptor = frame[4]
    single_segment = descriptor >> 5 & 1
    width = (single_segment, 2, 4, 8)[descriptor >> 6]
    at = 6 - single_segment + (0, 1, 2, 4)[descriptor & 3]  # after window and dictionary
    if not width or len(frame) < at + width:
        return None
    return int.from_bytes(frame[at : at + width], "little") + (256 if width == 2 else 0)
