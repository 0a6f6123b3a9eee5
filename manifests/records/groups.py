"""Groups of people, or of faces that nobody is known to share: by what was measured on them, or as
somebody wrote them down.

A rule is one factor or several, and a group one part of each: `Asian,Black,White` and `Male` make
`Asian, Male`, `Asian, not Male`, and so on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from manifests.core.errors import InputError
from manifests.records.attributes import AttributeTable

EVEN = 0.5  # a probability from which a face is said to have an attribute
CUT = re.compile(r"(.+)<([-+]?[0-9]*\.?[0-9]+)")


@dataclass(frozen=True)
class Factor:
    """Parts by one attribute, below a value and from it on; or by the likeliest of several."""

    names: tuple[str, ...]
    cut: float | None = None  # of a single one that is no probability

    @classmethod
    def parsed(cls, text: str) -> Factor:
        """`A,B,C`, `A`, or `A<41`. Raises InputError for names that are empty or there twice."""
        cut = CUT.fullmatch(text)
        names = tuple((cut[1] if cut else text).split(","))
        if not all(names) or len({*names}) < len(names) or (cut and len(names) > 1):
            raise InputError(
                f"groups by {text[:80]!r}: expected names parted by commas (Asian,Black,White), "
                "one name (Male), or one and a value (skin angle<41)"
            )
        return cls(names, float(cut[2]) if cut else None)

    def parts(self, table: AttributeTable, owner: Int[np.ndarray, " row"], count: int) -> list[str]:
        """Of each of `count` owners of the table's rows, by the mean of its rows; "" where nothing
        is known of it, or none of several attributes is as likely as not.

        Raises InputError for an attribute that the table lacks, or one without a cut that is no
        probability.
        """
        means = np.stack([_means(table.column(name), owner, count) for name in self.names])
        kinds = {attribute.name: attribute for attribute in table.attributes}
        for name in self.names:
            if self.cut is None and (kinds[name].low, kinds[name].high) != (0.0, 1.0):
                raise InputError(
                    f"groups by {name}: it goes from {kinds[name].low:g} to {kinds[name].high:g}, "
                    f"no probability; say where to cut it: '{name}<VALUE'"
                )
        return [self._part(column) for column in means.T]

    def _part(self, means: Float[np.ndarray, " name"]) -> str:
        if np.isnan(means).any():
            return ""
        (name, *others), best = self.names, int(means.argmax())
        if others:
            return self.names[best] if means[best] >= EVEN else ""
        if self.cut is None:
            return name if means[0] >= EVEN else f"not {name}"
        return f"{name} {'below' if means[0] < self.cut else 'from'} {self.cut:g}"


def _means(
    values: Float[np.ndarray, " row"], owner: Int[np.ndarray, " row"], count: int
) -> Float[np.ndarray, " owner"]:
    """Over the rows of each owner where the value is defined; NaN where it is in none."""
    known = ~np.isnan(values)
    sums = np.bincount(owner[known], values[known].astype(np.float64), count)
    number = np.bincount(owner[known], minlength=count)
    return np.divide(sums, number, out=np.full(count, np.nan), where=number > 0)


def groups_by(
    factors: Sequence[Factor], table: AttributeTable, owner: Int[np.ndarray, " row"], count: int
) -> list[str]:
    """The group of each of `count` people, whose rows of the table `owner` names; "" of those of
    whom a factor says nothing."""
    parts = [factor.parts(table, owner, count) for factor in factors]
    return [", ".join(own) if all(own) else "" for own in zip(*parts, strict=True)]
