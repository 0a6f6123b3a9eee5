"""Unpack a round from an HDF5 file that `facestill pack` wrote.

    facestill unpack FILE.h5 ROUND

The whole of a round gets the roots that it had; a selection becomes stores of its own, whose
lineage names the source, and stands beside it as TEAM/ROUND.
"""

from __future__ import annotations

from pathlib import Path

from manifests.core import layout
from manifests.core.errors import Parser, conclude, run_command
from manifests.takeaway.unpacking import import_round


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("file", type=Path, metavar="FILE.h5")
    parser.add_argument(
        "round",
        type=layout.round_name,
        help="name of the round that it is of, or TEAM/NAME to have it beside that one",
    )
    args = parser.parse_args()
    found = import_round(args.file, args.round)
    roots = "the packed stores' roots" if found.kept_roots else "roots of their own"
    conclude(layout.faces(args.round), f"{found}; {roots}", f"facestill card {args.round}")


if __name__ == "__main__":
    run_command(main)
