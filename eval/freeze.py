"""Freeze a benchmark's protocol: pairs, folds, digests of images, alignment.

    facestill freeze pairs:DIR --out FILE.parquet
    facestill freeze pairs:DIR --disjoint --out FILE.parquet     no person is in two folds
    facestill freeze pairs:DIR --frame arcface112 --out FILE.parquet     of crops
    facestill freeze pairs:DIR --groups TABLE --out FILE.parquet     with groups of people
    facestill freeze orl:DIR --aligner dlib --out manifests/benchmarks/orl.parquet

`facestill verify --protocol FILE.parquet` refuses pictures, pairs and folds that are not those.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from eval.alignment import add_options, asked
from eval.benchmarks import open_benchmark
from eval.benchmarks.base import require_disjoint
from eval.photos import people
from manifests.core.errors import Parser, conclude, run_command
from manifests.core.files import require_file_place, require_new


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("benchmark", help="KIND:ARGUMENT, as in facestill verify --benchmark")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.parquet")
    parser.add_argument(
        "--disjoint", action="store_true", help="declare that folds share no person; refuse if not"
    )
    add_options(parser)
    people.add_options(parser)
    parser.add_force()
    args = parser.parse_args()
    require_file_place(args.out)
    require_new(args.out, force=args.force)
    opened = open_benchmark(args.benchmark, asked(args).alignment)
    protocol = people.with_groups(opened, args.benchmark, args.groups, args.by)
    if args.disjoint:
        protocol = replace(protocol, disjoint=True)
        require_disjoint(protocol.benchmark, protocol.subject_rule)
    frozen = protocol.frozen()
    frozen.write(args.out)
    found = (
        f"{len(frozen.fold):,} pairs, {len(frozen.images):,} images, subjects by "
        f"{protocol.subject_rule}, protocol {frozen.protocol_sha256}"
    )
    conclude(args.out, found, f"facestill verify … --protocol {args.out}")


if __name__ == "__main__":
    run_command(main)
