"""What each face counts for in training, by the quality that a network gave it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.records.qualities import QualityTable
from train.batching.sources import Source


class FaceWeights(nn.Module):
    """Weights by face id. A face that no table names weighs 1, as all do in the mean."""

    face_ids: Tensor
    weights: Tensor

    def __init__(
        self, face_ids: Int[np.ndarray, " face"], weights: Float[np.ndarray, " face"]
    ) -> None:
        super().__init__()
        order = np.argsort(face_ids)
        ids, values = torch.from_numpy(face_ids[order]), torch.from_numpy(weights[order]).float()
        # Read again when a run goes on, from tables whose digests the run depends on.
        self.register_buffer("face_ids", ids, persistent=False)
        self.register_buffer("weights", values, persistent=False)

    def forward(self, face_ids: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        places = torch.searchsorted(self.face_ids, face_ids).clamp(max=len(self.face_ids) - 1)
        return self.weights[places].where(self.face_ids[places] == face_ids, 1.0)


def read_tables(
    sources: Sequence[Source], files: Mapping[str, str]
) -> tuple[FaceWeights | None, dict[str, str]]:
    """The weights of the rounds that `files` names a table of, of those at hand, and {path: digest}
    of these tables.

    Raises InputError for a table of other faces, or one that lacks a usable face.
    """
    ids, weights, digests = [], [], {}
    for source in sources:
        file = files.get(layout.round_of(source.faces.path))
        if file is None:
            continue
        table, digests[file] = QualityTable.read(Path(file), faces_root=source.faces.root)
        if not np.array_equal(table.face_id, source.face_ids):
            raise InputError(f"{file}: names other faces than {source.faces.path}; make it again")
        table.require(source.usable, Path(file))
        ids.append(table.face_id[source.usable])
        weights.append(table.weights(source.usable))
    if not ids or not sum(map(len, ids)):
        return None, digests
    return FaceWeights(np.concatenate(ids), np.concatenate(weights)), digests
