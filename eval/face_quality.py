"""Rate a benchmark's photographs by a run's quality head into a table.

    facestill face-quality --model runs/NAME --benchmark orl --out FILE.parquet
    facestill discard SCORES --quality FILE.parquet

A row an image: image, quality (higher is better), detected. The run was trained with cr-fiqa in
train.loss.
A face that is not found is rated in its central box, as verification has it. Stored faces are
rated by `facestill qualities`; photographs never train.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from eval.alignment import add_options, asked
from eval.benchmarks import open_benchmark
from eval.photos.rating import look_at, rating_model
from manifests.core import layout
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.core.files import require_file_place, require_new
from manifests.core.tables import write_table
from train.checkpoint import load_quality

KIND = "photograph-qualities-1"


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument(
        "--model", type=layout.run_folder, required=True, help="a run with a quality head"
    )
    parser.add_argument("--benchmark", required=True, help="orl, pairs:DIR, … (docs/EVALUATION.md)")
    parser.add_argument("--out", type=Path, required=True, help="a Parquet file")
    add_options(parser)
    parser.add_force()
    args = parser.parse_args()
    if args.out.suffix != ".parquet":
        raise InputError(f"{args.out}: --out takes a file that ends in .parquet")
    require_file_place(args.out)
    require_new(args.out, force=args.force)
    rated = load_quality(args.model)
    protocol = open_benchmark(args.benchmark, asked(args).alignment)
    model = rating_model(rated)
    seen = look_at(protocol, {"quality": model})
    names, quality = protocol.benchmark.images, seen.rows["quality"][:, 0].astype("float64")
    facts = {
        "model": model.name,
        "model_sha256": rated.student.sha256,
        "head_sha256": rated.sha256,
        "ratio": rated.card.ratio,
        "benchmark": protocol.benchmark.name,
        "protocol_sha256": protocol.benchmark.protocol_sha256,
        "alignment": protocol.benchmark.alignment,
    }
    columns = {"image": names, "quality": quality, "detected": seen.detected}
    write_table(args.out, KIND, pa.table(columns), facts)
    found = (
        f"{len(names)} images, quality {quality.min():.3f} to {quality.max():.3f}; "
        f"{int((~seen.detected).sum())} without a face that was found, rated in their central boxes"
    )
    conclude(args.out, found, f"facestill discard DIR/scores.parquet --quality {args.out}")


if __name__ == "__main__":
    run_command(main)
