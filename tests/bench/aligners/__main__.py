"""The table of aligners -> docs/results/aligners.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manifests.core.errors import Parser, run_command
from manifests.core.files import write_json
from pipeline.arrays.frames import ARCFACE112
from tests.bench.__main__ import machine
from tests.bench.aligners import FACES, compare


def main() -> None:
    parser = Parser(description="Aligners of the same pictures, side by side.")
    parser.add_argument("--photographs", action="append", default=[], help="pairs:DIR, beside ORL")
    parser.add_argument("--aligner", action="append", default=[], help="one more: onnx:PATH")
    parser.add_argument("--faces", type=int, default=FACES, help="generated ones")
    parser.add_argument("--out", type=Path, default=Path("docs/results/aligners.json"))
    args = parser.parse_args()
    found = compare(["orl", *args.photographs], args.aligner, faces=args.faces)
    write_json(args.out, {"machine": machine(), **found})
    print(summary(found))


def summary(found: dict[str, Any]) -> str:
    """The figures that a default is chosen by, a line an aligner; and the field's crop."""
    lines = ["| aligner | found | most lost of a tercile | error, px | ms a face | usable/s |"]
    lines.append("|---|---|---|---|---|---|")
    for name in found["settings"]:
        cells = (
            f"{found['found'][name]['all']['share']:.1%}",
            f"{found['found'][name]['most_lost_of_a_tercile']:.1%}",
            f"{found['crop_errors'][name]['found_by_all']['value']}",
            f"{found['milliseconds_a_face'][name]['batch 64, threads 1']['median']}",
            f"{found['rendering'][name]['usable_faces_per_second']['median']}",
        )
        lines.append(f"| {' | '.join((name, *cells))} |")
    place = found["field_crop_in_the_plane"]
    lines.append(
        f"{ARCFACE112.name}: {place.get('median')}, the constants {place.get('constants')}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(main)
