"""Rate stored faces by a run's quality head into DIR/ROUND.parquet.

    facestill qualities runs/NAME --rounds pool identities --out DIR

The run was trained with cr-fiqa in train.loss. A table weighs faces in training
(train.face_weights), or marks the worst of them (`facestill screen ROUND --quality FILE`, and
train.leave_out). Photographs are rated by `facestill face-quality`, and never trained on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from manifests.core import layout
from manifests.core.errors import InputError, Parser, run_command
from manifests.core.files import require_new, require_writable
from manifests.core.locks import writing
from manifests.core.progress import Bar
from manifests.records.qualities import QualityTable, table_of
from manifests.settings.params import load_params
from manifests.stores.latents import LatentManifest
from manifests.stores.reading import CHUNK_ROWS, FaceStore
from manifests.stores.rounds import open_faces
from pipeline.arrays.frames import Frame, to_frame
from pipeline.arrays.numerics import device_of, in_fixed_batches
from train.checkpoint import RatedStudent, load_quality

READ_ROWS = 16 * CHUNK_ROWS


def rate_faces(rated: RatedStudent, faces: FaceStore) -> Float[np.ndarray, " face"]:
    """The quality of every row of a store, from the plain view; NaN where the face failed."""
    stored, device = Frame(**faces.frame), rated.layer.weight.device

    def qualities(batch: torch.Tensor) -> torch.Tensor:
        pixels = batch.permute(0, 3, 1, 2).float().to(device)
        return rated(to_frame(pixels, stored, rated.student.card.input_frame))[0].cpu()

    parts = [np.empty(0, np.float32)]
    for at in Bar(range(0, len(faces), READ_ROWS), desc="rate faces", unit="block"):
        images = torch.from_numpy(faces.images(at, min(at + READ_ROWS, len(faces))))
        parts.append(in_fixed_batches(qualities, images).numpy())
    return np.where(faces.ok(), np.concatenate(parts), np.float32(np.nan))


def quality_table(rated: RatedStudent, manifest: LatentManifest, faces: FaceStore) -> QualityTable:
    return QualityTable(
        manifest.face_id,
        rate_faces(rated, faces),
        rated.student.folder.as_posix(),
        rated.student.sha256,
        rated.sha256,
        rated.card.ratio,
        faces.root,
    )


def check_replaced(rated: RatedStudent, faces: FaceStore, path: Path, *, force: bool) -> None:
    """Raises InputError where another table lies than one of this head and these faces."""
    if path.exists():
        try:
            there, _ = QualityTable.read(path, faces_root=faces.root)
            same = there.head_sha256 == rated.sha256
        except InputError:
            same = False
        require_new(path, force=force or same)


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("run", type=layout.run_folder, help="a run with a quality head")
    parser.add_argument("--rounds", type=layout.round_name, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True, help="a folder for the tables")
    parser.add_force()
    args = parser.parse_args()
    require_writable(args.out)
    rated = load_quality(args.run)
    rounds = {name: open_faces(name) for name in args.rounds}
    for name, (manifest, faces) in rounds.items():
        if manifest is None:
            raise InputError(f"round {name}: its manifest, which has the faces' ids, is not here")
        check_replaced(rated, faces, table_of(args.out, name), force=args.force)
    device = device_of(load_params().device)
    rated.student.network.to(device)
    rated.layer.to(device)
    with writing(args.out):
        for name, (manifest, faces) in rounds.items():
            assert manifest is not None
            table = quality_table(rated, manifest, faces)
            table.write(table_of(args.out, name))
            if np.isnan(table.quality).all():
                print(f"{table_of(args.out, name)}: no usable face")
                continue
            low, middle, high = np.nanquantile(table.quality, [0.05, 0.5, 0.95])
            print(
                f"{table_of(args.out, name)}: quality {middle:.3f} ({low:.3f} to {high:.3f} for "
                "nine in ten faces)"
            )
    print("next: train.face_weights in params.yaml, or facestill screen ROUND --quality TABLE")


if __name__ == "__main__":
    run_command(main)
