"""Take rows of a round away, in a form that others read.

    facestill pack ROUND --to hdf5 --out FILE.h5
    facestill pack ROUND --to parquet|webdataset|folder|rec --out DIR

hdf5 is all that a round is, in one file: `facestill unpack` makes a round of it elsewhere.
parquet is a dataset of Hugging Face, webdataset tar shards, folder a folder an identity, rec the
RecordIO of InsightFace: pixels as PNG, and beside them a card, passports and checksums. Stopped
and run again it goes on. Which kind keeps what: docs/FORMATS.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

from manifests.core import layout
from manifests.core.errors import Parser, conclude, run_command
from manifests.core.files import require_new
from manifests.stores.rounds import leftover
from manifests.takeaway.choosing import ALL, HELP
from manifests.takeaway.delivering import KINDS, Packed, pack_round
from manifests.takeaway.packing import Summary, export_round

HDF5 = "hdf5"
DEFAULTS = "default: all for hdf5 and parquet, ok for the others"


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("round", type=layout.round_name, help="name of a round with faces")
    parser.add_argument("--to", choices=(HDF5, *KINDS), default=HDF5, help="default: hdf5")
    parser.add_argument("--rows", metavar="SELECTION", help=f"{HELP}; {DEFAULTS}")
    parser.add_argument(
        "--teacher",
        nargs="*",
        metavar="NAME",
        help="teachers whose embeddings to take (default: all of these faces; none: no NAME)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="PLACE")
    parser.add_force()
    args = parser.parse_args()
    require_new(args.out, force=args.force)
    found: Summary | Packed
    if args.to == HDF5:
        rows = args.rows or ALL
        found = export_round(args.round, args.out, selection=rows, teachers=args.teacher)
        beside = f"TEAM/{args.round.rpartition('/')[2]}"
        following = f"elsewhere, facestill unpack {args.out.name} {beside}"
    else:
        rows = args.rows
        found = pack_round(args.round, args.out, args.to, selection=rows, teachers=args.teacher)
        following = found.following
    for path in found.left_out:
        print(leftover(path), file=sys.stderr)
    conclude(args.out, str(found), following)


if __name__ == "__main__":
    run_command(main)
