"""FaceStore and TeacherStore: Zarr v3 arrays whose row i is row i of their manifest, always.

A store is a folder: the arrays, ledger.jsonl and passport.json. It is opened read-only and by
its digests; builders write through manifests.building.writing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import zarr
from jaxtyping import Bool, Float, UInt8

from manifests.core.digests import folder_hashes, merkle_root
from manifests.core.errors import InputError
from manifests.stores.metadata import CODEC, array_names, check_folder
from manifests.stores.passport import NAME as PASSPORT
from manifests.stores.passport import Passport
from manifests.stores.shards import Sharded

TASK_ROWS = 1024  # rows of one task and of one image shard, unless params.yaml says otherwise
CHUNK_ROWS = 64  # rows of one image chunk: 1.8 MB at 96 px
COLUMN_SHARD_TASKS = 16  # tasks whose small columns share a shard
FRAME = ("name", "size", "left", "top", "extent")  # of a face store's attribute `frame`
READERS = 4  # chunks that are decoded at a time
LONGEST_NAME, FARTHEST = 80, 1e6  # of a frame: characters, units of its plane
# Of an embedding's coordinates, which are float16; a spread of nothing would divide by zero.
SMALLEST, LARGEST = float(np.finfo(np.float16).tiny) ** 2, float(np.finfo(np.float16).max)
OK, NO_FACE = 0, 1
REASONS = {OK: "ok", NO_FACE: "no_face"}


@dataclass(frozen=True)
class Group:
    """The arrays of a store, each opened once (which takes as long as reading some chunks)."""

    arrays: Mapping[str, Any]  # zarr.Array, read-only
    attrs: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.arrays[name]


@dataclass(frozen=True)
class _Store:
    path: Path
    passport: Passport
    group: Group

    def __len__(self) -> int:
        return self.passport.num_rows

    @property
    def root(self) -> str:
        return self.passport.merkle_root


@dataclass(frozen=True)
class FaceStore(_Store):
    """images uint8[N,S,S,3] · ok · reason · landmarks float32[N,5,2] · quality float32[N]."""

    @classmethod
    def open(cls, path: Path, *, expect: Mapping[str, str] | None = None) -> FaceStore:
        """Opens a sealed store. `expect` may name `manifest` and `root` digests.

        Raises InputError if it is unfinished, of another kind, or not what is expected.
        """
        store = cls(path, *_open(path, "faces", expect or {}))
        _check_frame(store)
        return store

    @property
    def task_rows(self) -> int:
        """Rows of one image shard, which are the rows of one task."""
        return self.passport.shard_rows

    @property
    def frame(self) -> dict[str, Any]:
        """Name, size (pixels) and place of the frame that the images are stored in."""
        return dict(self.group.attrs["frame"])

    def images(
        self, start: int, stop: int, out: np.ndarray | None = None
    ) -> UInt8[np.ndarray, "face size size 3"]:
        """Rows start..stop, put into `out` if there is one; cheap when they are whole chunks."""
        try:
            return self._pixels.read(start, stop, out, READERS)
        except DAMAGE as error:
            raise _damaged(self.path, "images", error) from None

    @cached_property
    def _pixels(self) -> Sharded:
        array = self.group["images"]
        num_rows, *row = array.shape
        rows = num_rows, array.shards[0], array.chunks[0]
        return Sharded(self.path / "images", array.dtype, tuple(row), *rows)

    def ok(self) -> Bool[np.ndarray, " face"]:
        return read_rows(self.path, self.group, "ok")

    def column(self, name: str) -> np.ndarray:
        return read_rows(self.path, self.group, name)


@dataclass(frozen=True)
class TeacherStore(_Store):
    """embeddings float16[N,V,D] (NaN where the face failed) · norms float32[N,V]."""

    @classmethod
    def open(cls, path: Path, *, expect: Mapping[str, str] | None = None) -> TeacherStore:
        """Opens a sealed store. `expect` may name `manifest`, `faces` and `root` digests."""
        store = cls(path, *_open(path, "teacher", expect or {}))
        _check_centre(store)
        return store

    @property
    def width(self) -> int:
        return int(self.group["embeddings"].shape[2])

    def embeddings(
        self, start: int = 0, stop: int | None = None
    ) -> Float[np.ndarray, "face view width"]:
        """Rows start..stop, by default all, float16 as stored."""
        return read_rows(self.path, self.group, "embeddings", slice(start, stop))

    def norms(self) -> Float[np.ndarray, "face view"]:
        """Norms of the raw embeddings before they were rounded to float16."""
        return read_rows(self.path, self.group, "norms")

    def centre(self) -> Float[np.ndarray, " width"]:
        """Mean embedding over this round's usable faces and views."""
        return np.asarray(self.group.attrs["mean"], dtype=np.float32)

    def spread(self) -> float:
        """Standard deviation over all coordinates of the centred embeddings."""
        return float(self.group.attrs["spread"])


ALL_ROWS = slice(None)
DAMAGE = (ValueError, RuntimeError, TypeError, LookupError, ArithmeticError, OSError, MemoryError)
_CHOOSING = Lock()  # zarr's settings are the whole process's, and readers have threads


def read_rows(path: Path, group: Group, name: str, rows: slice = ALL_ROWS) -> np.ndarray:
    """Rows of an array, whose checksums zarr compares."""
    try:
        with zarr.config.set({"async.concurrency": READERS}):
            return np.asarray(group[name][rows])
    except DAMAGE as error:
        raise _damaged(path, name, error) from None


def _damaged(path: Path, name: str, error: BaseException) -> InputError:
    return InputError(
        f"{path}: {name} is damaged ({str(error)[:200]}); run `facestill check {path}`, "
        "then bring or build the store again"
    )


def store_root(path: Path) -> str:
    """The Merkle root over every file of a store but its passport, from the bytes on disk."""
    return merkle_root(folder_hashes(path, leave_out=[PASSPORT]))


def _open(path: Path, kind: str, expect: Mapping[str, str]) -> tuple[Passport, Group]:
    passport = Passport.read(path)
    if passport.kind != kind:
        raise InputError(f"{path}: a {passport.kind} store, expected a {kind} store")
    have = {
        "manifest": passport.manifest_digest,
        "faces": passport.faces_root,
        "root": passport.merkle_root,
    }
    for name, wanted in expect.items():
        if have[name] != wanted:
            raise InputError(
                f"{path}: made from {name} {str(have[name])[:12]}, but the {name} at hand is "
                f"{wanted[:12]}; build the store again, or bring the {name} it was made from"
            )
    check_folder(path, passport)
    return passport, _open_group(path)


def _open_group(path: Path) -> Group:
    """The arrays, all of which zarr understands. What the group's own metadata may say of them
    (consolidated) is passed over: nothing has checked it."""
    name = "its metadata"
    try:
        with _CHOOSING, zarr.config.set(CODEC):
            group = zarr.open_group(path, mode="r", zarr_format=3, use_consolidated=False)
            return Group({name: group[name] for name in array_names(path)}, group.attrs.asdict())
    except DAMAGE as error:
        raise _damaged(path, name, error) from None


def _check_frame(store: FaceStore) -> None:
    """The stored frame is a square of as many pixels as the pictures have."""
    frame: Any = store.group.attrs.get("frame")
    shape = store.group["images"].shape
    if not (
        isinstance(frame, dict)
        and set(frame) == set(FRAME)
        and type(frame["name"]) is str
        and len(frame["name"]) <= LONGEST_NAME
        and type(frame["size"]) is int
        and shape[1:] == (frame["size"], frame["size"], 3)
        and _within([frame["left"], frame["top"]], -FARTHEST, FARTHEST)
        and _within([frame["extent"]], 1 / FARTHEST, FARTHEST)
    ):
        raise InputError(
            f"{store.path}: its frame {str(frame)[:200]} does not fit images of shape {shape}; "
            "bring or build the store again"
        )


def _check_centre(store: TeacherStore) -> None:
    """Mean and spread, without which no target can be made, are there and finite."""
    mean: Any = store.group.attrs.get("mean")
    spread: Any = store.group.attrs.get("spread")
    if not (
        isinstance(mean, list)
        and len(mean) == store.width
        and _within(mean, -LARGEST, LARGEST)
        and _within([spread], SMALLEST, LARGEST)
    ):
        raise InputError(
            f"{store.path}: its mean is not {store.width} finite numbers, or its spread "
            f"{str(spread)[:80]} is not above zero; bring or build the store again"
        )


def _within(numbers: Iterable[Any], low: float, high: float) -> bool:
    """Also for integers of a thousand digits, which are no float."""
    return all(type(number) in (int, float) and low <= number <= high for number in numbers)
