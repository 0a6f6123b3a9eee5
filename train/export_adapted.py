"""Export a run of `facestill adapt`, block and network, as one ONNX file.

    facestill export-adapted adapted/thermal [--out DIR] [--pixels uint8]

Into DIR (default runs/exports/RUN) go adapted.onnx, in float32, and its record adapted.json. The
file is onnx:PATH to every command, for pictures of the block's modality; its licence says of whose
faces the block was made.
"""

from __future__ import annotations

from pathlib import Path

from manifests.core import layout
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.core.files import require_new
from manifests.core.locks import writing
from train.adapting.backbones import Backbone, open_backbone
from train.checkpoint import BLOCK, Block, load_block, load_student
from train.exporting import facts
from train.exporting.adapted import ADAPTED, export_adapted
from train.exporting.graph import DTYPES, in_graph, require_packages


def open_adapted(run: Path) -> tuple[Block, Backbone]:
    """Raises InputError where the network that the block was taught for is another one now."""
    block = load_block(run)
    behind = open_backbone(block.card.before, layout.WEIGHTS)
    if behind.sha256 != block.card.before_sha256:
        raise InputError(
            f"{run / BLOCK}: taught before {behind.name} {block.card.before_sha256[:12]}, here is "
            f"{behind.sha256[:12]}; adapt that one"
        )
    return block, behind


def declaration_of(block: Block, behind: Backbone) -> dict[str, str]:
    """How the file is fed and compared: as the network behind the block."""
    licence, people = behind.licence, [block.card.pictures] if block.card.real_faces else []
    if not licence:  # a student's is that of all that it was made with
        student = load_student(layout.run_folder(behind.name))
        licence = facts.licence_of(facts.store_facts(facts.trained_on(student)))
        people = student.card.people + people
    values = in_graph(behind.frame, behind.metric, behind.views, behind.embedding_width)
    values |= {"name": f"adapted-{block.sha256[:8]}", "licence": licence}
    return values | ({"real_faces": "; ".join(people)} if people else {})


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("run", type=layout.run_folder, help="a run of facestill adapt")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: runs/exports/RUN")
    parser.add_argument(
        "--pixels", choices=DTYPES, default="float32", help="type of the graph's input, 0...255"
    )
    parser.add_force()
    args = parser.parse_args()
    output = args.out or layout.export(args.run.resolve().name)
    require_packages()
    block, behind = open_adapted(args.run)
    require_new(output, force=args.force)
    with writing(output):
        values = declaration_of(block, behind)
        export_adapted(block, behind.network, behind.frame, values, output, args.pixels)
    found = f"{behind.name} behind a block for {block.card.modality}, as one network"
    following = (
        f"facestill verify --model {behind.name} --probes onnx:{output / ADAPTED} "
        "--benchmark pairs:DIR --out DIR"
    )
    conclude(output / ADAPTED, found, following)


if __name__ == "__main__":
    run_command(main)
