"""rec: train.rec, train.idx and property, as InsightFace and arcface_torch read them.

record 0               two labels: one more than the last face's number, and than the last
                       identity's
1 to N                 the faces, identity by identity; the label is the identity's place
                       among all, ascending
N + 1 to N + C         the identities: two labels, the numbers of its first face and of the
                       one behind its last
metadata.parquet       all else that is known of a face, by its `record`
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, final

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from manifests.core.files import replacing, write_text
from manifests.takeaway.blocks import Block, Part
from manifests.takeaway.choosing import USABLE, Chosen
from manifests.takeaway.kinds.contract import Kind, Layout, Place
from manifests.takeaway.kinds.folder import LABEL, METADATA, join_tables, labels, part_table
from manifests.takeaway.kinds.parquet import read_table, write_table
from manifests.takeaway.kinds.recordio import MOST_EXACT, frame, pack, read_record, unpack
from manifests.takeaway.pictures import decode, encode

RECORD = "record"
READING = """\
arcface_torch trains on it with `config.rec = "OUT"`, `config.num_classes` and
`config.num_image` from `property` and `pack.json`. Its networks take 112 × 112 pixels: see
`frame` in `pack.json` for how large these are and what they show.
`metadata.parquet` has the embeddings and all else by `record`, the number in `train.idx`.
"""


@final
class Rec(Kind):
    """Parts are in row order, as the store is; `finish` brings the records into theirs."""

    layout = Layout(
        rows=USABLE,
        data=("train.rec",),
        table=METADATA,
        picture=None,
        loads_as={"data_files": [{"split": "train", "path": METADATA}]},
        nobody="left out",
        loses=("Faces without an identity: arcface_torch has no place for them.",),
        reading=READING,
        following='arcface_torch reads it: config.rec = "OUT"',
    )

    def arrange(self, chosen: Chosen, table: pa.Table) -> tuple[Chosen, pa.Table]:
        there = np.asarray(table["identity_id"].combine_chunks().is_valid())
        if not there.any():
            raise InputError(
                f"round {chosen.name}: none of these {len(chosen)} faces has an identity, which "
                "rec is about; pack it as parquet, webdataset or folder"
            )
        table = table.filter(pa.array(there))
        label = labels(table)
        if len(table) + label.to_numpy().max() + 2 > MOST_EXACT:
            raise InputError(
                f"round {chosen.name}: {len(table)} faces, whose numbers have to be below "
                f"{MOST_EXACT} with those of the identities; take fewer --rows"
            )
        order = np.argsort(label.to_numpy(), kind="stable")
        record = np.empty(len(order), np.int64)
        record[order] = np.arange(1, len(order) + 1)
        table = table.add_column(0, RECORD, pa.array(record)).append_column(LABEL, label)
        return replace(chosen, rows=chosen.rows[there]), table

    def write(self, part: Part, faces: Iterable[Block], place: Place) -> list[Path]:
        written = [_records(part, place), part_table(part, place)]
        with replacing(written[0]) as scratch, scratch.open("wb") as file:
            write_table(written[1], _with_records(faces, file))
        return written

    def read(self, part: Part, schema: pa.Schema, place: Place) -> Iterator[Block]:
        with _records(part, place).open("rb") as file:
            for table in read_table(part_table(part, place)):
                records = [unpack(read_record(file) or b"") for _ in range(len(table))]
                numbers = np.array([number for number, _, _ in records])
                told = np.array([label[0] for _, label, _ in records]).astype(np.int64)
                table = table.set_column(0, RECORD, pa.array(numbers, pa.int64()))
                at = table.schema.get_field_index(LABEL)
                table = table.set_column(at, LABEL, pa.array(told))
                yield Block(decode([picture for _, _, picture in records], place.size), table)

    def finish(self, parts: Sequence[Part], table: pa.Table, place: Place) -> None:
        join_tables(parts, place)
        label = table[LABEL].to_numpy()
        starts = _write_rec(place.finished / "train.rec", parts, table, place)
        index = "".join(f"{number}\t{start}\n" for number, start in enumerate(starts))
        write_text(place.finished / "train.idx", index)
        classes = label.max() + 1
        write_text(place.finished / "property", f"{classes},{place.size},{place.size}\n")


def _records(part: Part, place: Place) -> Path:
    return place.scratch / f"records-{part.number:05d}"


def _with_records(faces: Iterable[Block], file: BinaryIO) -> Iterator[pa.Table]:
    """Writes the records of each block, and gives what stands beside them."""
    for block in faces:
        numbers, label = (block.table[name].to_pylist() for name in (RECORD, LABEL))
        for each in zip(numbers, label, encode(block.images), strict=True):
            file.write(frame(pack(*each)))
        yield block.table


def _ends(part: Part, place: Place) -> Iterator[int]:
    """Where each framed record of a part ends."""
    with _records(part, place).open("rb") as file:
        while read_record(file) is not None:
            yield file.tell()


def _write_rec(path: Path, parts: Sequence[Part], table: pa.Table, place: Place) -> list[int]:
    """All records in the order of their numbers; returns where each begins.

    Raises InputError if the file does not hold what was written to it.
    """
    starts, at, digest = [], 0, hashlib.sha256()
    with replacing(path) as scratch:
        with scratch.open("wb") as file:
            for record in _in_order(parts, table, place):
                starts.append(at)
                at += file.write(record)
                digest.update(record)
        if sha256_file(scratch) != digest.hexdigest():
            raise InputError(
                f"{path}: reads back otherwise than it was written; look after the disk"
            )
    return starts


def _in_order(parts: Sequence[Part], table: pa.Table, place: Place) -> Iterator[bytes]:
    label, order = table[LABEL].to_numpy(), np.argsort(table[RECORD].to_numpy())
    firsts = np.searchsorted(label[order], np.arange(label.max() + 2)) + 1  # of each identity
    behind = len(order) + 1
    yield frame(pack(0, (behind, behind + len(firsts) - 1)))
    yield from _faces(parts, order, place)
    for identity, (first, stop) in enumerate(pairwise(firsts.tolist())):
        yield frame(pack(behind + identity, (first, stop)))


def _faces(parts: Sequence[Part], order: Int[np.ndarray, " face"], place: Place) -> Iterator[bytes]:
    """The parts' records, by the rows of the table in this order."""
    ends = [np.fromiter(_ends(part, place), np.int64, len(part)) for part in parts]
    numbers = np.searchsorted([part.stop for part in parts], order, side="right")
    for row, number in zip(order.tolist(), numbers.tolist(), strict=True):
        part, stops = parts[number], ends[number]
        at = row - part.start
        start = int(stops[at - 1]) if at else 0
        with _records(part, place).open("rb", buffering=0) as file:
            file.seek(start)
            yield file.read(int(stops[at]) - start)
