"""A column of names in which each stands often, as pairs name their images: numbers, and the names
that they are of. Fifteen million rows are 60 MB, and no Python object each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, final, overload

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int


@final
class Names(Sequence[str]):
    """Reads as the list of its rows, and is equal to it."""

    def __init__(self, names: Sequence[str], codes: Int[np.ndarray, " row"]) -> None:
        self.names = names
        self.codes = codes

    @classmethod
    def of(cls, rows: Sequence[str]) -> Names:
        """A list's rows; a column of names is itself."""
        if isinstance(rows, Names):
            return rows
        number = {name: place for place, name in enumerate(dict.fromkeys(rows))}
        return cls(tuple(number), np.array([number[name] for name in rows], np.int32))

    @classmethod
    def of_arrow(cls, column: pa.ChunkedArray) -> Names:
        """A column of strings without nulls."""
        coded = column.combine_chunks().dictionary_encode()
        return cls(coded.dictionary.to_pylist(), coded.indices.to_numpy())

    def arrow(self) -> pa.Array:
        codes = pa.array(self.codes.astype(np.int32, copy=False))
        return pa.DictionaryArray.from_arrays(codes, pa.array(self.names, pa.string())).cast(
            pa.string()
        )

    def where(self, rows: Bool[np.ndarray, " row"]) -> Names:
        """Some of the rows."""
        return Names(self.names, self.codes[rows])

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, at: int | np.integer) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> Names: ...

    def __getitem__(self, at: int | np.integer | slice) -> str | Names:
        if isinstance(at, slice):
            return Names(self.names, self.codes[at])
        return self.names[self.codes[at]]

    def __iter__(self) -> Iterator[str]:
        return map(self.names.__getitem__, self.codes.tolist())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.names, object)[self.codes]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # as a list has none


def together(
    left: Sequence[str], right: Sequence[str]
) -> tuple[list[str], Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
    """Every name that stands in either column, sorted, and the place of each row's in it."""
    one, other = Names.of(left), Names.of(right)
    sides = [(side.names, np.unique(side.codes)) for side in (one, other)]
    names = sorted({own[code] for own, used in sides for code in used.tolist()})
    place = {name: row for row, name in enumerate(names)}
    numbers = []
    for side in (one, other):
        number = np.array([place.get(name, -1) for name in side.names], np.int64)
        numbers.append(number[side.codes])
    return names, numbers[0], numbers[1]
