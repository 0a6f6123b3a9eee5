"""A face store in the making: what rendering one and adopting one have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from manifests.building.ledger import LedgerLine
from manifests.building.writing import (
    Column,
    Task,
    assemble,
    write_attributes,
    write_images,
    write_metadata,
    write_piece,
)
from manifests.core.errors import InputError
from manifests.settings.params import Params, Render
from manifests.stores.latents import LatentManifest
from manifests.stores.passport import Fingerprint, Passport
from manifests.stores.reading import CHUNK_ROWS
from pipeline.arrays.align import LANDMARK_SCHEME
from pipeline.arrays.frames import WIDE, Frame
from pipeline.building.crews import Crew
from pipeline.building.faces import COLUMNS, Faces, count, pictures_of
from pipeline.building.shards import Job, Making, Workshop, run_tasks, seal


@dataclass(frozen=True)
class FaceMaking(Making):
    """A round's faces before they are made."""

    verb: ClassVar[str]  # what is done to make them

    name: str
    manifest: LatentManifest
    made_by: Fingerprint
    params: Params

    @property
    @abstractmethod
    def licences(self) -> Mapping[str, str]:
        """Of what the faces come from."""

    @property
    def source(self) -> str:
        return self.manifest.digest

    @property
    def task_rows(self) -> int:
        return self.params.render.shard_rows

    @property
    def num_rows(self) -> int:
        return len(self.manifest)

    @property
    def frame(self) -> Frame:
        """That the faces are stored in."""
        return WIDE.at(self.params.render.frame_size)

    @property
    def columns(self) -> Sequence[Column]:
        return COLUMNS

    @property
    def pictures(self) -> Column:
        return pictures_of(self.params.render.frame_size)

    def count(self, columns: Mapping[str, np.ndarray]) -> tuple[int, int, dict[str, int]]:
        return count(columns)


def check_shard_rows(settings: Render) -> None:
    """A shard is whole chunks."""
    if settings.shard_rows % CHUNK_ROWS:
        raise InputError(
            f"params.yaml: render: shard_rows: {settings.shard_rows}, expected a multiple "
            f"of {CHUNK_ROWS}"
        )


def write_faces(
    work: Path, task: Task, faces: Faces, shard_rows: int, input_hash: str
) -> LedgerLine:
    """Writes a shard's files into a build's scratch folder."""
    columns = {column.name: getattr(faces, column.name) for column in COLUMNS}
    shard, sha256 = write_images(work / "store", task, faces.images, shard_rows)
    piece, piece_sha256 = write_piece(work, task, columns)
    hashes = {f"store/{shard}": sha256, piece: piece_sha256}
    return LedgerLine(task.shard, input_hash, hashes, *count(columns))


def build_faces(shop: Workshop, making: FaceMaking, job: Job, crew: Crew) -> Passport:
    """Does what is left to do of a face store, and seals it."""
    tasks, task_rows, num_rows = making.tasks, making.task_rows, making.num_rows
    lines = run_tasks(shop, tasks, job, crew=crew, title=f"{making.verb} {making.name}")
    others = write_metadata(shop.store, making.pictures, num_rows, task_rows, images=True)
    others |= assemble(shop.store, shop.work, tasks, COLUMNS, task_rows)
    attributes = {"frame": asdict(making.frame), "landmark_scheme": LANDMARK_SCHEME}
    others |= write_attributes(shop.store, attributes)
    return seal(shop, lines, others, _passport(making, lines))


def _passport(making: FaceMaking, lines: Sequence[LedgerLine]) -> Passport:
    failures: Counter[str] = Counter()
    for line in lines:
        failures.update(line.failures)
    recipe = making.manifest.recipe
    return Passport(
        kind="faces",
        round=recipe.round,
        num_rows=making.num_rows,
        shard_rows=making.task_rows,
        num_ok=sum(line.num_ok for line in lines),
        failures=dict(failures),
        merkle_root="",  # sealing fills it in
        manifest_digest=making.manifest.digest,
        faces_root=None,
        fingerprint=making.made_by,
        lineage={"generator": asdict(recipe)},
        licences=dict(making.licences),
    )
