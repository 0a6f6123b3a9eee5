"""Opening a round: manifest -> faces -> teacher store, every link of the chain checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.stores.latents import FOLDER, LatentManifest
from manifests.stores.passport import Passport
from manifests.stores.reading import FaceStore, TeacherStore


@dataclass(frozen=True)
class RoundFiles:
    """A round as it lies on disk. Row i is the same face in all three."""

    name: str
    manifest: LatentManifest | None  # absent where another team's round was imported
    faces: FaceStore
    teacher: TeacherStore

    @property
    def num_imported(self) -> int:
        """Faces that no generator of ours made: they may be photographs."""
        if self.manifest is None:
            return len(self.faces)
        return self.manifest.table["origin"].to_pylist().count("imported")

    @property
    def synthetic_source(self) -> str | None:
        """What whoever imported the faces states to have made them."""
        return self.faces.passport.synthetic_source

    @property
    def real_faces(self) -> str | None:
        """What whoever adopted photographs of real people states of them."""
        return self.faces.passport.real_faces

    def require_manifest(self) -> LatentManifest:
        """The manifest, where the latents themselves are needed."""
        if self.manifest is None:
            raise InputError(f"{layout.manifest(self.name)}: no such file; sample the round first")
        return self.manifest


def read_manifest(name: str) -> LatentManifest:
    """The manifest of round `name`, which must say so itself. A round imported as teamA/pool is
    the round that teamA calls pool."""
    manifest = LatentManifest.read(layout.manifest(name))
    if manifest.recipe.round != name.rpartition("/")[2]:
        raise InputError(
            f"{layout.manifest(name)}: the manifest of round {manifest.recipe.round}; "
            "sample the round again"
        )
    return manifest


def open_faces(name: str, *, root: str | None = None) -> tuple[LatentManifest | None, FaceStore]:
    """A round's manifest, if it is there, and its faces; `root` is the one they must have."""
    path = layout.manifest(name)
    manifest = read_manifest(name) if path.exists() else None
    expect = {} if manifest is None else {"manifest": manifest.digest}
    if root is not None:
        expect["root"] = root
    return manifest, FaceStore.open(layout.faces(name), expect=expect)


def open_round(name: str, teacher: str, *, roots: Mapping[str, str] | None = None) -> RoundFiles:
    """A round with one teacher's embeddings. `roots` may pin stores by their relative path.

    Raises InputError naming the first link that does not fit.
    """
    known = roots or {}
    manifest, faces = open_faces(name, root=known.get(layout.faces(name).as_posix()))
    path = layout.teacher(name, teacher)
    expect = {"faces": faces.root}
    if path.as_posix() in known:
        expect["root"] = known[path.as_posix()]
    return RoundFiles(name, manifest, faces, TeacherStore.open(path, expect=expect))


def embedded_by(name: str, faces: FaceStore) -> tuple[list[str], list[Path]]:
    """Names of the teachers whose embeddings of these faces lie beside them; and the stores there
    of other faces: a teacher that nobody asks for any more leaves them when faces are made anew.
    """
    paths = sorted(layout.teacher(name, "any").parent.glob("[!.]*.zarr"))
    left = [path for path in paths if Passport.read(path).faces_root != faces.root]
    return [path.stem for path in paths if path not in left], left


def leftover(path: Path) -> str:
    """What is said of a store that is no part of the round that it lies in."""
    return f"{path}: embeddings of other faces than are here, left out; `rm -r {path}` removes them"


def check_no_face_twice(rounds: Sequence[RoundFiles]) -> None:
    """Raises InputError if two rounds hold the same face: ids of unlike recipes cannot be equal,
    so that a shared one means that a round is there under two names."""
    made = [files for files in rounds if files.manifest is not None]
    for one, other in combinations(rounds, 2):
        if one.faces.passport.manifest_digest == other.faces.passport.manifest_digest:
            raise InputError(f"rounds {one.name} and {other.name} are the same; train on one")
    for earlier, later in combinations(made, 2):
        ids, others = (files.require_manifest().face_id for files in (earlier, later))
        shared = np.intersect1d(ids, others)
        if len(shared):
            raise InputError(
                f"rounds {earlier.name} and {later.name} share {len(shared)} faces, the first is "
                f"{shared[0]}; train on one of them"
            )


def require_trainable(
    name: str, manifest: LatentManifest | None, faces: FaceStore, allowed: str | None
) -> None:
    """Whether a round may be trained on. `allowed`: what a round of photographs of people must
    state of them (manifests.settings.real_faces); None: none may be trained on.

    Raises InputError for photographs of people that are not allowed, or of others than are, and
    for imported faces of which nobody states what made them.
    """
    passport = faces.passport
    stated = passport.real_faces
    if stated is not None and allowed is None:
        raise InputError(
            f"round {name}: photographs of real people ({stated}); nothing is trained on such "
            "unless real_faces in params.yaml allows it and names the same people"
        )
    if stated not in (None, allowed):
        raise InputError(
            f"round {name}: photographs of {stated}; real_faces in params.yaml allows those of "
            f"{allowed}: run `facestill adopt-photographs`, or repeat there what the round states"
        )
    if stated is None and passport.synthetic_source is None:
        imported = _num_imported(manifest, faces)
        if imported:
            raise InputError(
                f"round {name}: {imported} imported faces that may be photographs of real people; "
                "import them by `facestill adopt`, which asks what made them"
            )


def _num_imported(manifest: LatentManifest | None, faces: FaceStore) -> int:
    """Faces that no generator made. Without its manifest a round is what its passport says: made
    by a generator, or from a folder."""
    if manifest is not None:
        return manifest.table["origin"].to_pylist().count("imported")
    return len(faces) if faces.passport.fingerprint.identity.get("name") == FOLDER else 0
