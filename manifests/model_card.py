"""Write an exported student's model card, and make its folder one for the hub.

    facestill model-card runs/exports/mined-2 [--results DIR ...]

MODEL_CARD.md and model_card.json; README.md, the same behind the front matter that the Hugging
Face hub reads; config.json, which says how the files are fed; LICENSE.md, the terms.
`--results` name folders that `facestill verify` wrote for this student or one of its files; by
default those under reports/verify. `facestill export` writes the card too: write it again after
verifying.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from manifests.cards import hub, model
from manifests.cards.front_matter import LICENCE, terms
from manifests.cards.markdown import render
from manifests.cards.model import ModelCard
from manifests.cards.verifications import METRICS, model_of, read_verification
from manifests.core import layout
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.core.files import write_json, write_text
from manifests.records.exports import FLOAT, Export

JSON, MARKDOWN = "model_card.json", "MODEL_CARD.md"
FILES = (JSON, MARKDOWN, hub.README, hub.CONFIG, LICENCE)
TEMPLATE = "model_card.md.jinja"


def usual_results(export: Export) -> list[Path]:
    """The folders under reports/verify that hold a result of this export's networks."""
    wanted = model.networks(export)
    found = sorted((layout.REPORTS / "verify").glob(f"*/*/{METRICS}"))
    return [path.parent for path in found if model_of(path) in wanted]


def gather(folder: Path, results: Iterable[Path] | None) -> ModelCard:
    """The card of the export in `folder`, its results proven to be of its networks."""
    export = Export.read(folder)
    wanted = model.networks(export)
    chosen = usual_results(export) if results is None else results
    read = [read_verification(path, wanted) for path in chosen]
    if len({own.folder for own in read}) < len(read):
        raise InputError("a result is named twice")
    ordered = sorted(read, key=lambda own: (own.figures.benchmark, own.network, own.folder))
    return ModelCard(export, model.probe_gap(export), tuple(ordered))


def write_card(folder: Path, results: Iterable[Path] | None = None) -> ModelCard:
    """Writes FILES beside the networks; `results`: by default those under reports/verify."""
    card = gather(folder, results)
    text = render(TEMPLATE, card=card, say=model)
    write_json(folder / JSON, model.as_json(card))
    write_text(folder / MARKDOWN, text)
    write_text(folder / hub.README, hub.readme(card, text))
    write_json(folder / hub.CONFIG, hub.config(card.export))
    write_text(folder / LICENCE, terms(f"student {card.export.run}", card.licences))
    return card


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("folder", type=Path, help="what facestill export made: runs/exports/RUN")
    parser.add_argument(
        "--results", type=Path, nargs="+", metavar="DIR", help="of facestill verify"
    )
    args = parser.parse_args()
    card = write_card(args.folder, args.results)
    count = len(card.verifications)
    ending = "" if count == 1 else "s"
    following = "" if count else f"facestill verify --model onnx:{args.folder / FLOAT} …"
    places = f"{args.folder / MARKDOWN}, {args.folder / JSON}"
    conclude(places, f"{count} result{ending} on photographs", following)


if __name__ == "__main__":
    run_command(main)
