"""Pack rows of a round into one HDF5 file.

    facestill pack ROUND [--rows SELECTION] [--teacher NAME …] --out FILE.h5

What is in it: manifests.takeaway.packing. `facestill unpack` makes a round of it elsewhere.
"""

from __future__ import annotations

import sys
from pathlib import Path

from manifests.core import layout
from manifests.core.errors import Parser, conclude, run_command
from manifests.core.files import require_new
from manifests.stores.rounds import leftover
from manifests.takeaway.packing import ALL, HELP, export_round


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("round", type=layout.round_name, help="name of a round with faces")
    parser.add_argument("--rows", default=ALL, metavar="SELECTION", help=HELP)
    parser.add_argument(
        "--teacher",
        nargs="*",
        metavar="NAME",
        help="teachers whose embeddings to take (default: all of these faces; none: no NAME)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.h5")
    parser.add_force()
    args = parser.parse_args()
    require_new(args.out, force=args.force)
    found = export_round(args.round, args.out, selection=args.rows, teachers=args.teacher)
    for path in found.left_out:
        print(leftover(path), file=sys.stderr)
    conclude(args.out, str(found), f"facestill unpack {args.out} {args.round}, elsewhere")


if __name__ == "__main__":
    run_command(main)
