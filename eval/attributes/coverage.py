"""What one set of faces has and another one lacks: histograms, divergences, empty places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from eval.attributes.divergence import (
    QUANTILES,
    Sample,
    bin_of,
    estimate,
    js_divergence,
    kl_divergence,
    numbered,
    resample,
    sample_of,
    smoothed,
)
from manifests.core import layout
from manifests.core.digests import canonical_json
from manifests.core.errors import InputError
from manifests.records.attributes import FACES, Attribute, AttributeTable
from manifests.stores.rounds import open_faces

FEWEST = 30  # faces of a set that an attribute is defined on; of fewer a histogram says nothing
NUM_DRAWS, SEED = 1000, 2026
# A bin is lacking if its real share, at the low end of its interval, is so many times the
# synthetic one.
LACKING = 2.0
MOST_EXAMPLES = 8


@dataclass(frozen=True)
class FaceSet:
    """Tables that count as one set of faces."""

    name: str
    tables: tuple[AttributeTable, ...]

    def __len__(self) -> int:
        return sum(map(len, self.tables))

    def column(self, name: str) -> np.ndarray:
        return np.concatenate([table.column(name) for table in self.tables])

    @cached_property
    def person(self) -> Int[np.ndarray, " face"]:
        """A number for each person; those of two tables are never the same."""
        return numbered(
            [
                owner and f"{at}/{owner}"
                for at, table in enumerate(self.tables)
                for owner in table.subject
            ]
        )

    @property
    def label(self) -> list[str]:
        return [label for table in self.tables for label in table.label]

    def facts(self) -> dict[str, Any]:
        sources = [asdict(table.source) | {"rows": len(table)} for table in self.tables]
        return {"name": self.name, "sources": sources}


def check_comparable(tables: Sequence[AttributeTable]) -> None:
    """Raises InputError unless all tables were made by one annotator with the same bins, of
    faces that are there once."""
    first = tables[0]
    for table in tables[1:]:
        for what in ("annotator", "attributes"):
            one, other = (canonical_json(_plain(getattr(own, what))) for own in (first, table))
            if one != other:
                raise InputError(
                    f"attributes of {first.source.name} and {table.source.name}: of unlike "
                    f"{what} ({_short(first)} and {_short(table)}); annotate both by the same one"
                )
    seen: dict[str, str] = {}
    for table in tables:
        digest, name = table.source.digest, table.source.name
        if digest in seen:
            raise InputError(f"attributes of {seen[digest]} and {name}: of the same faces")
        seen[digest] = name


def _plain(value: Any) -> Any:
    return [asdict(own) for own in value] if isinstance(value, tuple) else dict(value)


def _short(table: AttributeTable) -> str:
    return f"{table.annotator.get('name')} version {table.annotator.get('version')}"


def check_stores(tables: Sequence[AttributeTable]) -> None:
    """Raises InputError for a table of another store than the one that lies at its place."""
    for table in tables:
        if table.source.kind == FACES and layout.faces(table.source.name).exists():
            manifest, faces = open_faces(table.source.name)
            if manifest is not None:
                table.require_faces(manifest.face_id, faces.root)


def check_enough(sets: Sequence[FaceSet]) -> None:
    """Raises InputError for a set of too few faces to say anything of."""
    for faces in sets:
        known = (~np.isnan(np.concatenate([table.values for table in faces.tables]))).any(axis=1)
        if known.sum() < FEWEST:
            raise InputError(
                f"{faces.name}: {known.sum()} faces with attributes, {FEWEST} are needed"
            )


def chosen(attributes: Sequence[Attribute], names: Sequence[str]) -> list[Attribute]:
    """The attributes of these names, or all."""
    known = {attribute.name: attribute for attribute in attributes}
    for name in names:
        if name not in known:
            raise InputError(f"unknown attribute {name[:80]!r}; there are {', '.join(known)}")
    return [known[name] for name in names or known]


def why_not(attribute: Attribute, sets: Sequence[FaceSet]) -> str | None:
    """Why an attribute cannot be compared; None if it can."""
    for faces in sets:
        defined = int((~np.isnan(faces.column(attribute.name))).sum())
        if defined < FEWEST:
            what = f"{defined} of {len(faces)} faces" if defined else "no face"
            return f"defined on {what} of {faces.name}, {FEWEST} are needed"
        if _sample(attribute, faces).num_people < 2:
            return f"all faces of {faces.name} are of one person"
    return None


def compare(attribute: Attribute, real: FaceSet, synthetic: FaceSet) -> dict[str, Any]:
    """Histograms and divergences of one attribute."""
    samples = [_sample(attribute, own) for own in (real, synthetic)]
    rng = np.random.default_rng([SEED, *attribute.name.encode()])
    both_ways = {
        "kl_real_synthetic": (kl_divergence, samples[0], samples[1]),
        "kl_synthetic_real": (kl_divergence, samples[1], samples[0]),
        "js": (js_divergence, samples[0], samples[1]),
    }
    return {
        "unit": attribute.unit,
        "edges": list(attribute.edges),
        "real": _histogram(real, samples[0], attribute),
        "synthetic": _histogram(synthetic, samples[1], attribute),
        **{name: asdict(estimate(*of, num=NUM_DRAWS, rng=rng)) for name, of in both_ways.items()},
        "kl_real_synthetic_by_source": {
            table.source.name: _point(attribute, samples[0], table) for table in synthetic.tables
        },
    }


def _sample(attribute: Attribute, faces: FaceSet) -> Sample:
    bins = bin_of(faces.column(attribute.name), attribute.edges)
    return sample_of(bins, faces.person, len(attribute.edges) + 1)


def _histogram(faces: FaceSet, sample: Sample, attribute: Attribute) -> dict[str, Any]:
    values = faces.column(attribute.name)
    return {
        "counts": sample.counts.tolist(),
        "undefined": int(np.isnan(values).sum()),
        "people": sample.num_people,
        "median": float(np.nanmedian(values)),
    }


def _point(attribute: Attribute, real: Sample, table: AttributeTable) -> float | None:
    """D(real || one table), without an interval; None where it has too few faces."""
    one = FaceSet(table.source.name, (table,))
    if why_not(attribute, [one]):
        return None
    counts = (real.counts, _sample(attribute, one).counts)
    return float(kl_divergence(*map(smoothed, counts)))


def lacking(attribute: Attribute, real: FaceSet, synthetic: FaceSet) -> list[dict[str, Any]]:
    """Bins of which real faces have a share that synthetic ones do not come near to."""
    samples = [_sample(attribute, own) for own in (real, synthetic)]
    p, q = (smoothed(sample.counts) for sample in samples)
    rng = np.random.default_rng([SEED, *attribute.name.encode()])
    low, high = np.quantile(smoothed(resample(samples[0], NUM_DRAWS, rng)), QUANTILES, axis=0)
    edges = [None, *attribute.edges, None]
    found = np.flatnonzero((low > LACKING * q) & (samples[0].counts > 0))
    return [
        {
            "attribute": attribute.name,
            "unit": attribute.unit,
            "low": edges[i],
            "high": edges[i + 1],
            "real_share": float(p[i]),
            "real_share_ci95": [float(low[i]), float(high[i])],
            "synthetic_share": float(q[i]),
            "kl_term": float(p[i] * np.log(p[i] / q[i])),
            "synthetic_examples": _examples(attribute, synthetic, i),
            "real_examples": _examples(attribute, real, i),
        }
        for i in found.tolist()
    ]


def _examples(attribute: Attribute, faces: FaceSet, number: int) -> list[str]:
    """Faces of a bin."""
    return examples_of(faces, bin_of(faces.column(attribute.name), attribute.edges) == number)


def examples_of(faces: FaceSet, inside: Bool[np.ndarray, " face"]) -> list[str]:
    """Some of the faces inside, evenly spaced over all of them."""
    rows = np.flatnonzero(inside)
    places = np.linspace(0, len(rows) - 1, min(len(rows), MOST_EXAMPLES)).round().astype(int)
    labels = faces.label
    return [labels[row] for row in rows[places]]
