"""Write a round's dataset card: croissant.json and DATASHEET.md.

    facestill card ROUND [--teacher NAME …] [--out DIR] [--url URL] [--date DATE]
                         [--creator NAME] [--version VERSION]

Croissant tools load the round from croissant.json where it lies, and from a copy of data/ROUND
and manifests/rounds/ROUND.parquet at the same places. With `--out .` it is for that folder itself.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from manifests.cards.croissant import Publication, describe
from manifests.cards.datasheets import datasheet
from manifests.cards.facts import RoundFacts, read_round
from manifests.core import layout
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.core.files import require_new, write_json, write_text
from manifests.stores.rounds import leftover

CROISSANT, DATASHEET = "croissant.json", "DATASHEET.md"


def place_of(out: Path) -> str:
    """Where a folder lies, from the one that holds data/ and manifests/.

    Raises InputError for one outside: no path would lead to the round from where it is copied to.
    """
    place = Path(os.path.relpath(out))
    if place.parts[:1] == ("..",):
        raise InputError(
            f"--out {out}: outside of {Path.cwd()}, so that no path in {CROISSANT} would lead to "
            "the round; write it inside, such as --out ., and copy it together with the round"
        )
    return place.as_posix()


def write_card(facts: RoundFacts, publication: Publication, out: Path) -> None:
    write_json(out / CROISSANT, describe(facts, publication, place_of(out)))
    write_text(out / DATASHEET, datasheet(facts, publication))


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("round", type=layout.round_name, help="name of a round under data/")
    parser.add_argument(
        "--teacher", nargs="+", metavar="NAME", help="default: all that have embedded these faces"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: data/ROUND/card")
    parser.add_argument("--url", help="web page of the round; left out unless given, as are")
    parser.add_argument("--date", help="the day it was published,")
    parser.add_argument("--creator", help="the organisation that publishes it,")
    parser.add_argument("--version", help="and its version")
    parser.add_force()
    args = parser.parse_args()
    facts = read_round(args.round, args.teacher)
    publication = Publication(args.url, args.date, args.creator, args.version)
    out = args.out or layout.card(args.round)
    for name in (CROISSANT, DATASHEET):
        require_new(out / name, force=args.force or args.out is None)
    write_card(facts, publication, out)
    for path in facts.left_out:
        print(leftover(path), file=sys.stderr)
    makers = ", ".join(store.name for store in facts.teachers) or "none yet"
    found = f"{facts.faces.passport.found}; embedded by {makers}"
    following = f"facestill pack {args.round} --to parquet --out DIR, to take the round away"
    conclude(f"{out / CROISSANT}, {out / DATASHEET}", found, following)


if __name__ == "__main__":
    run_command(main)
