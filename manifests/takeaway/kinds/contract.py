"""What a kind of take-away promises: parts that are written, read back the same, and finished."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from manifests.takeaway.blocks import Block, Part
from manifests.takeaway.choosing import Chosen


@dataclass(frozen=True)
class Place:
    """Where a take-away is made. Both folders go when it is done, the first to its user."""

    finished: Path
    scratch: Path
    size: int  # of a picture, pixels


@dataclass(frozen=True)
class Layout:
    """What is to be known of a kind before any face is read."""

    rows: str  # a selection, unless the user asks for another
    data: tuple[str, ...]  # patterns of the files that hold pictures
    table: str | None  # pattern of the Parquet files that have the columns; none has them
    picture: str | None  # their column that holds pictures, as {bytes, path}
    loads_as: Mapping[str, Any]  # `configs` of a card on Hugging Face; empty: it does not load
    nobody: str  # what becomes of faces without an identity, in words; "": nothing special
    loses: tuple[str, ...]  # sentences
    reading: str  # lines of Markdown for the card; OUT stands for the folder
    following: str  # a line for who has just packed


class Kind(ABC):
    """A way out. It holds no state, and what it writes depends on its arguments alone."""

    layout: Layout

    @abstractmethod
    def arrange(self, chosen: Chosen, table: pa.Table) -> tuple[Chosen, pa.Table]:
        """The faces that can go this way, with the columns that this kind adds to what is known
        of them; rows keep their order. Raises InputError if none can, or names do not fit."""

    @abstractmethod
    def write(self, part: Part, faces: Iterable[Block], place: Place) -> list[Path]:
        """Writes a part; returns its files."""

    @abstractmethod
    def read(self, part: Part, schema: pa.Schema, place: Place) -> Iterator[Block]:
        """A written part, in blocks of BLOCK_ROWS. Raises InputError, or whatever a decoder
        raises, for damaged files."""

    @abstractmethod
    def finish(self, parts: Sequence[Part], table: pa.Table, place: Place) -> None:
        """Makes of the parts what is not there yet; may be called again."""
