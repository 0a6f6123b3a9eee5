"""Export a run's student as safetensors, ONNX and 8-bit ONNX with a model card.

    facestill export runs/mined-2 [--out DIR] [--pixels uint8] [--int8 static|dynamic|none]
                     [--for insightface|opencv|web|mobile ...]

Into DIR (default runs/exports/RUN) go student.safetensors, student.onnx, student.int8.onnx, their
record export.json, latency.json, and what `facestill model-card` writes: a folder that can be put
on the Hugging Face hub as it stands (docs/MODELS.md). The 8-bit network is calibrated on faces
that the student was trained on; its cost is measured on the probe.
--for adds a folder with the student as that runtime takes it: docs/CLIENTS.md.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.core.files import deliver, forget_others, require_writable
from manifests.core.locks import only_writer, writing
from manifests.model_card import FILES, write_card
from manifests.records.clients import README, ClientRecord
from manifests.records.clients import RECORD as CLIENT_RECORD
from manifests.records.exports import FLOAT, RECORD, Export
from train.exporting.client_files import client_of, make_for
from train.exporting.graph import DTYPES
from train.exporting.making import make
from train.exporting.request import METHODS, NONE, STATIC, Request, open_request


def export_run(request: Request, output: Path, clients: Sequence[str] = ()) -> None:
    """Puts the finished files at `output`, all or none; exactly this export is made once, and what
    was made of it for clients comes along from then on."""
    with only_writer(request.work.parent, of=output), writing(output):
        if not _finished(request.work):
            with timed(f"export@{request.name}"):
                make(request, request.work)
        for client in clients:
            folder = request.work / client
            if not _finished(folder, ClientRecord):
                shutil.rmtree(folder, ignore_errors=True)
                make_for(client, request, folder)
        deliver(request.work, output)
        forget_others(request.work)


def _finished(folder: Path, record: type[Export | ClientRecord] = Export) -> bool:
    """Is what this record tells of there, with the bytes that it was made with?"""
    try:
        record.read(folder)
    except InputError:
        return False
    return True


def in_words(export: Export) -> str:
    sizes = (f"{name} {facts.num_bytes / 1e6:.2f} MB" for name, facts in export.files.items())
    cost = export.int8
    text = f"; 8 bits: cosine {cost.cosine_mean:.4f} to float32 on the probe" if cost else ""
    return ", ".join(sizes) + text


def check_output(output: Path) -> None:
    """Raises InputError where anything but an earlier export stands, or its card's files and
    folders of clients alone, which are left where DVC removes the rest before it exports again."""
    require_writable(output)
    found = list(output.iterdir()) if output.is_dir() else []
    names = {path.name for path in found if not (path / CLIENT_RECORD).is_file()}
    if RECORD not in names and names - set(FILES):
        raise InputError(f"{output}: holds other files, and no export; name another folder")
    if not output.is_dir() and output.exists():
        raise InputError(f"{output}: a file; name a folder with --out")


def check_replaced(request: Request, output: Path, *, force: bool) -> None:
    """Raises InputError where the export of another student lies, or one made otherwise."""
    if force or not _finished(output):
        return
    there = Export.read(output)
    found = (there.student.sha256, there.pixels, there.int8.method if there.int8 else NONE)
    wanted = (request.student.sha256, request.pixels, request.int8)
    for what, old, new in zip(("student", "--pixels", "--int8"), found, wanted, strict=True):
        if old != new:
            raise InputError(
                f"{output}: the export with {what} {old[:12]}, now it is {new[:12]}; name another "
                "folder with --out, or replace it with --force"
            )


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("run", type=layout.run_folder, help="a run such as mined-2, or its folder")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: runs/exports/RUN")
    parser.add_argument(
        "--pixels", choices=DTYPES, default="float32", help="type of the graph's input, 0...255"
    )
    parser.add_argument("--int8", choices=METHODS, default=STATIC, help="how 8 bits are chosen")
    parser.add_argument(
        "--for", action="append", default=[], dest="clients", metavar="CLIENT",
        help="insightface, opencv, web or mobile, too; may be repeated",
    )  # fmt: skip
    parser.add_argument("--no-card", action="store_true", help="without a model card")
    parser.add_force()
    args = parser.parse_args()
    output = args.out or layout.export(args.run.resolve().name)
    for client in args.clients:
        client_of(client).require_packages()
    check_output(output)
    request = open_request(args.run, args.pixels, args.int8)
    check_replaced(request, output, force=args.force)
    export_run(request, output, args.clients)
    if not args.no_card:
        write_card(output)
    folders = [output / client for client in args.clients]
    following = f"facestill verify --model onnx:{output / FLOAT} --benchmark pairs:DIR --out DIR"
    if folders:
        following = f"{', '.join(str(folder / README) for folder in folders)} says how to run it"
    conclude(", ".join(map(str, [output, *folders])), in_words(Export.read(output)), following)


if __name__ == "__main__":
    run_command(main)
