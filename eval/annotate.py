"""Measure pose, light and other attributes of stored faces or photographs.

    facestill annotate pool                      -> data/attributes/measured/pool.parquet
    facestill annotate orl --out FILE            also pairs:DIR, folder:DIR
    facestill annotate pool --annotator onnx:PATH      or heads:PATH (of `facestill heads`)
    facestill annotate --photographs             orl, and the pairs that params.yaml names

Photographs go through the aligner of params.yaml, as training faces did, or that of --aligner.
What is measured on them is for reports: nothing that trains or mines reads it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from eval.alignment import add_options, alignment_by, asked
from eval.annotators import annotate, annotate_photographs, load_annotator
from eval.annotators.base import Annotator
from eval.photos.photo_sets import is_photographs, open_photographs
from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.core.files import require_file_place, require_new
from manifests.records.attributes import MEASURED, AttributeTable
from manifests.settings.params import Params, load_params


def output_of(text: str, annotator: Annotator) -> Path:
    """Where the table of a round belongs; those of photographs belong to who asks for them."""
    if is_photographs(text):
        raise InputError(f"{text}: name a file for its table with --out")
    return layout.attributes(text, annotator.name)


def stage_photographs(annotator: Annotator, params: Params) -> None:
    """orl, and the pairs that params name, below one folder."""
    pairs = [] if params.verify.pairs is None else [f"pairs:{params.verify.pairs}"]
    sets = [open_photographs(text) for text in ("orl", *pairs)]
    alignment = alignment_by(params.aligner)
    for photographs in sets:
        _ = photographs.digest  # refused before the work, and before tables go
    shutil.rmtree(layout.PHOTOGRAPHS, ignore_errors=True)  # a set that is not named any more
    for photographs in sets:
        table = annotate_photographs(annotator, photographs, alignment)
        report(table, layout.photograph_attributes(table.source.name, annotator.name))


def report(table: AttributeTable, out: Path) -> None:
    """Writes a table, and says how much of it is defined."""
    table.write(out)
    defined = (~np.isnan(table.values)).sum(axis=0)
    counts = ", ".join(f"{name} {n}" for name, n in zip(table.names, defined, strict=True))
    following = "facestill drift --real TABLE --synthetic TABLE --out FILE.json"
    conclude(out, f"{len(table):,} rows; defined: {counts}", following)


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument(
        "source", type=layout.round_name, nargs="?", help="a round, orl, pairs:DIR or folder:DIR"
    )
    parser.add_argument("--annotator", default=MEASURED, help="measured, heads:PATH or onnx:PATH")
    parser.add_argument("--out", type=Path, help="a Parquet file")
    parser.add_argument("--photographs", action="store_true", help="orl and params.yaml's pairs")
    add_options(parser, frame=False)
    parser.add_force()
    args = parser.parse_args()
    alone = args.source is None and args.out is None and args.annotator == MEASURED
    if not (alone if args.photographs else args.source):
        raise InputError("give one source, or --photographs alone")
    if args.photographs or not is_photographs(args.source):
        asked(args).require_none("faces are looked for only in photographs that are named")
    annotator = load_annotator(args.annotator)
    with timed(f"annotate@{'photographs' if args.photographs else args.source}"):
        if args.photographs:
            stage_photographs(annotator, load_params())
        else:
            out = args.out or output_of(args.source, annotator)
            require_file_place(out)
            require_new(out, force=args.force or args.out is None)
            report(annotate(args.source, annotator, asked(args).alignment), out)


if __name__ == "__main__":
    run_command(main)
