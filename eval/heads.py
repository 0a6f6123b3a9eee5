"""Train attribute heads on a teacher's embeddings of labelled faces.

    facestill heads labels.csv --faces folder:DIR --out smiles.safetensors
    facestill heads labels.parquet --faces pool --attributes Smiling Eyeglasses --out …

One safetensors file, for `facestill annotate --annotator heads:PATH`. --faces says where the
labelled faces lie: photographs (folder:DIR, pairs:DIR, orl), or a round whose teacher store is
there. What is trained is a head on a teacher's embeddings; no student and no round is made from
it, and the photographs lead nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from eval.attributes.head_files import SUFFIX, HeadsPassport, described, save_heads
from eval.attributes.head_training import make_heads
from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.core.files import require_file_place, require_new
from manifests.core.locks import writing
from manifests.core.parsing import parse
from manifests.settings.heads import DEFAULTS, HeadSettings
from manifests.settings.params import load_params


def lines_of(passport: HeadsPassport) -> Iterator[str]:
    """A line a head, the best first."""
    found: dict[str, Any] = dict(passport.held_out)
    for name in sorted(found, key=lambda name: -(found[name]["balanced_accuracy"] or 0.0)):
        own = found[name]
        if own["balanced_accuracy"] is None:
            yield f"{name}: not used, {own['why_not']}"
            continue
        low, high = own["ci95"]
        yield (
            f"{name}: balanced accuracy {own['balanced_accuracy']:.3f} [{low:.3f}, {high:.3f}], "
            f"accuracy {own['accuracy']:.3f} (all alike {own['majority']:.3f}), "
            + (f"not used, {own['why_not']}" if own["why_not"] else "used")
        )


def settings_of(args: Any) -> HeadSettings:
    """The defaults, with what the command line gives."""
    given = {field.name: getattr(args, field.name) for field in fields(HeadSettings)}
    settings: HeadSettings = parse(HeadSettings, given, "heads")
    return settings


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("table", type=Path, help="CSV or Parquet of labelled faces")
    parser.add_argument(
        "--faces",
        type=layout.round_name,
        required=True,
        help="a round, orl, pairs:DIR or folder:DIR",
    )
    parser.add_argument("--attributes", nargs="+", default=[], metavar="NAME", help="only these")
    parser.add_argument("--teacher", help="a name, or onnx:PATH; default: params.yaml's")
    parser.add_argument("--out", type=Path, required=True, help=f"a {SUFFIX} file")
    for field in fields(HeadSettings):
        default = getattr(DEFAULTS, field.name)
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=type(default), default=default)
    parser.add_force()
    args = parser.parse_args()
    if args.out.suffix != SUFFIX:
        raise InputError(f"{args.out}: heads are written to a file that ends in {SUFFIX}")
    require_file_place(args.out)
    require_new(args.out, force=args.force)
    params = load_params()
    address = params.teacher_text(args.teacher or params.teacher)
    with timed("heads"), writing(args.out):
        heads, passport = make_heads(
            args.table, args.faces, address, settings_of(args), args.attributes
        )
        save_heads(args.out, heads, passport)
    print("\n".join(lines_of(passport)))
    following = f"facestill annotate ROUND --annotator heads:{args.out}"
    conclude(args.out, described(passport), following)


if __name__ == "__main__":
    run_command(main)
