"""How far rows of an array are from the same rows of another store; parts of it add up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from manifests.stores.reading import REASONS

ONLY_A, ONLY_B, BOTH = "only in A", "only in B", "in both"


@dataclass(frozen=True)
class Difference:
    """What differs in some rows of an array. NaN equals NaN.

    `counts`: flags and finite rows by where they are (ONLY_A, ONLY_B, BOTH), changed codes as
    "no_face → ok", and of plain numbers "changed" and "all".
    """

    num_rows: int = 0
    num_differing: int = 0
    first: int | None = None  # differing row
    counts: Counter[str] = field(default_factory=Counter)
    largest: float = 0.0  # distance of two numbers; of two landmarks in pixels
    smallest: float = float("inf")  # cosine of two embeddings finite in both stores
    total: float = 0.0  # of those cosines, whose number is counts["cosines"]

    def __add__(self, later: Difference) -> Difference:
        """The difference of both blocks of rows, of which `later` is the later one."""
        return Difference(
            self.num_rows + later.num_rows,
            self.num_differing + later.num_differing,
            later.first if self.first is None else self.first,
            self.counts + later.counts,
            max(self.largest, later.largest),
            min(self.smallest, later.smallest),
            self.total + later.total,
        )


def compare_rows(name: str, a: np.ndarray, b: np.ndarray, *, start: int = 0) -> Difference:
    """Rows of array `name` in two stores, of one shape; `start` is the number of the first."""
    unlike = unequal(a, b)
    rows = np.flatnonzero(unlike.any(axis=tuple(range(1, a.ndim))))
    first = start + int(rows[0]) if len(rows) else None
    base = Difference(len(a), len(rows), first)
    if name == "embeddings":  # their cosines are of all rows: a mean over few says little
        return _merged(base, _cosines(a, b))
    if name == "landmarks":
        return _merged(base, _distances(a[rows], b[rows]))
    if name == "reason":
        return _merged(base, _codes(a[rows], b[rows]))
    if a.dtype == bool:
        return _merged(base, Difference(counts=_sides(a, b)))
    changed = Counter({"changed": int(unlike.sum()), "all": unlike.size})
    return _merged(base, _numbers(a[rows], b[rows]), Difference(counts=changed))


def unequal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where two arrays differ; NaN equals NaN."""
    unlike: np.ndarray = a != b
    if a.dtype.kind == "f":
        unlike &= ~(np.isnan(a) & np.isnan(b))
    return unlike


def _merged(base: Difference, *measures: Difference) -> Difference:
    """`base` with what was measured on its own rows."""
    return sum(measures, start=base)


def _numbers(a: np.ndarray, b: np.ndarray) -> Difference:
    wide = np.int16 if a.dtype == np.uint8 else np.float64
    distance = np.abs(a.astype(wide) - b.astype(wide))
    counts = _sides(_finite(a), _finite(b)) if a.dtype.kind == "f" else Counter[str]()
    return Difference(counts=counts, largest=_largest(distance))


def _distances(a: np.ndarray, b: np.ndarray) -> Difference:
    distance = np.linalg.norm(a.astype(np.float64) - b.astype(np.float64), axis=-1)
    return Difference(counts=_sides(_finite(a), _finite(b)), largest=_largest(distance))


def _codes(a: np.ndarray, b: np.ndarray) -> Difference:
    pairs = zip(a.tolist(), b.tolist(), strict=True)
    return Difference(
        counts=Counter(f"{REASONS.get(x, x)} → {REASONS.get(y, y)}" for x, y in pairs)
    )


def _cosines(a: np.ndarray, b: np.ndarray) -> Difference:
    counts = _sides(_finite(a), _finite(b))
    both = _finite(a) & _finite(b)
    x, y = a[both].astype(np.float64), b[both].astype(np.float64)
    norms = np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1)
    cosines = (x * y).sum(axis=-1) / np.where(norms > 0, norms, 1.0)  # a zero is like nothing
    smallest = float(cosines.min()) if cosines.size else float("inf")
    counts["cosines"] = cosines.size
    return Difference(counts=counts, smallest=smallest, total=float(cosines.sum()))


def _sides(a: np.ndarray, b: np.ndarray) -> Counter[str]:
    """How many flags are set in one store alone, and in both."""
    return Counter(
        {ONLY_A: int((a & ~b).sum()), ONLY_B: int((b & ~a).sum()), BOTH: int((a & b).sum())}
    )


def _finite(rows: np.ndarray) -> np.ndarray:
    finite: np.ndarray = np.isfinite(rows).all(axis=tuple(range(1, rows.ndim)))
    return finite


def _largest(distance: np.ndarray) -> float:
    """Over what is finite in both."""
    finite = distance[np.isfinite(distance)]
    return float(finite.max()) if finite.size else 0.0


def describe(name: str, found: Difference) -> str:
    """One line on an array that differs."""
    rows = f"{name}: {found.num_differing:,} of {found.num_rows:,} rows differ, the first is row "
    return f"{rows}{found.first}; {'; '.join(_amounts(name, found))}"


def _amounts(name: str, found: Difference) -> list[str]:
    counts = found.counts
    if name == "reason":
        return [f"{change} in {count:,}" for change, count in sorted(counts.items())]
    sides = f"{counts[ONLY_A]:,} only in A, {counts[ONLY_B]:,} only in B"
    if name == "embeddings":
        return [_cosine_text(found), f"finite: {sides}"]
    if name == "landmarks":
        return [f"at most {found.largest:.3g} pixels apart", f"found: {sides}"]
    if "changed" not in counts:
        return [f"true: {sides}"]
    share = 100 * counts["changed"] / counts["all"]
    text = [f"{share:.2g} % of all values, by at most {found.largest:.3g}"]
    return text + ([f"finite: {sides}"] if counts[ONLY_A] + counts[ONLY_B] else [])


def _cosine_text(found: Difference) -> str:
    count = found.counts["cosines"]
    if not count:
        return "no row is finite in both"
    rows, mean = found.counts[BOTH], found.total / count
    return f"cosine {found.smallest:.6f} or more, {mean:.6f} on average, of {rows:,} rows in both"
