"""Measure how far attributes of synthetic faces lie from those of real ones.

    facestill drift --real data/photographs [--synthetic TABLE …] --out reports/drift.json

Tables of one annotator; --real takes tables, or a folder with some. The synthetic tables count
as one set. Divergences are given both ways: D(real || synthetic) is large where real faces have
what synthetic ones lack, D(synthetic || real) where synthetic faces have what real ones lack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.attributes.coverage import (
    NUM_DRAWS,
    SEED,
    FaceSet,
    check_comparable,
    check_enough,
    check_stores,
    chosen,
    compare,
    lacking,
    why_not,
)
from eval.attributes.divergence import SMOOTHING
from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.errors import Faults, InputError, Parser, conclude, run_command
from manifests.core.files import require_file_place, require_new, write_json
from manifests.records.attributes import MEASURED, Attribute, AttributeTable
from manifests.settings.params import load_params

MOST_LACKING = 24  # bins that are listed


def drift(
    reals: Sequence[FaceSet], synthetic: FaceSet, names: Sequence[str] = ()
) -> dict[str, Any]:
    """Everything in drift.json. `names`: the attributes, by default all that are defined on
    both sides.

    Raises InputError for sets that cannot be compared, or a named attribute that cannot.
    """
    tables = [table for faces in (*reals, synthetic) for table in faces.tables]
    check_comparable(tables)
    attributes = chosen(tables[0].attributes, names)
    check_enough([*reals, synthetic])
    return {
        "annotator": dict(tables[0].annotator),
        "method": {"smoothing": SMOOTHING, "draws": NUM_DRAWS, "seed": SEED, "unit": "nats"},
        "synthetic": synthetic.facts(),
        "real": {
            real.name: real.facts() | _against(real, synthetic, attributes, bool(names))
            for real in reals
        },
    }


def _against(
    real: FaceSet, synthetic: FaceSet, attributes: Sequence[Attribute], strict: bool
) -> dict[str, Any]:
    reasons = {own.name: why_not(own, [real, synthetic]) for own in attributes}
    left_out = {name: reason for name, reason in reasons.items() if reason}
    for name, reason in left_out.items():
        if strict:
            raise InputError(f"attribute {name}: {reason}; choose others with --attributes")
    compared = [own for own in attributes if own.name not in left_out]
    gaps = [gap for own in compared for gap in lacking(own, real, synthetic)]
    ranked = sorted(gaps, key=lambda gap: -gap["kl_term"])[:MOST_LACKING]
    return {
        "attributes": {own.name: compare(own, real, synthetic) for own in compared},
        "not_compared": left_out,
        "lacking": ranked,
    }


def read_tables(places: Sequence[Path]) -> dict[Path, AttributeTable]:
    """Tables, and all of a folder. Raises InputError naming those that cannot be read."""
    paths = []
    for place in places:
        inside = sorted(place.rglob("*.parquet")) if place.is_dir() else [place]
        if not inside:
            raise InputError(f"{place}: no tables (*.parquet) below it; run facestill annotate")
        paths += inside
    faults, tables = Faults("tables"), {}
    for path in dict.fromkeys(paths):
        with faults:
            tables[path] = AttributeTable.read(path)
    faults.raise_any()
    return tables


def own_tables() -> list[Path]:
    """What stage annotate measured on the rounds that the flow's runs learn from."""
    return [layout.attributes(name, MEASURED) for name in load_params().trained_rounds]


def name_of(path: Path, table: AttributeTable, tables: Mapping[Path, AttributeTable]) -> str:
    """A set's own name, or where two bear it, its file."""
    names = [other.source.name for other in tables.values()]
    return table.source.name if names.count(table.source.name) == 1 else path.as_posix()


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--real", nargs="+", type=Path, required=True, metavar="TABLE")
    parser.add_argument(
        "--synthetic", nargs="+", type=Path, metavar="TABLE", help="default: those of the flow"
    )
    parser.add_argument("--attributes", nargs="+", default=[], metavar="NAME", help="only these")
    parser.add_argument("--out", type=Path, required=True, help="a JSON file")
    parser.add_force()
    args = parser.parse_args()
    require_file_place(args.out)
    require_new(args.out, force=args.force)
    with timed("drift"):
        real, synthetic = read_tables(args.real), read_tables(args.synthetic or own_tables())
        check_stores([*real.values(), *synthetic.values()])
        sets = [FaceSet(name_of(path, own, real), (own,)) for path, own in real.items()]
        report = drift(sets, FaceSet("synthetic", tuple(synthetic.values())), args.attributes)
        write_json(args.out, report)
    for name, found in report["real"].items():
        print(f"{name}: what synthetic faces lack, D(real || synthetic) in nats: {furthest(found)}")
    found_text = f"{len(synthetic)} tables of synthetic faces beside {len(sets)} of photographs"
    conclude(args.out, found_text, "facestill report RUN, which shows it")


def furthest(found: Mapping[str, Any]) -> str:
    """The attributes by how far the synthetic faces lack what the real ones have."""
    ways = {key: own["kl_real_synthetic"] for key, own in found["attributes"].items()}
    ordered = sorted(ways.items(), key=lambda item: -item[1]["value"])
    return ", ".join(
        f"{key} {own['value']:.3f} [{own['ci95'][0]:.3f}, {own['ci95'][1]:.3f}]"
        for key, own in ordered
    )


if __name__ == "__main__":
    run_command(main)
