"""Adopt an existing set of synthetic faces as a round.

    facestill adopt KIND:PATH --round NAME --synthetic-source TEXT --licence TEXT
        [--frame arcface112] [--image NAME] [--identity NAME] [--leave-out-twins]
        [--workers N | --scheduler ADDRESS]

Such sets are DigiFace-1M, DCFace, IDiff-Face, as folder:DIR, parquet:PATH, webdataset:PATH,
rec:PATH or lmdb:PATH. Only synthetic faces: whoever adopts a set states what made it, and every
passport repeats it. Photographs of people are adopted by adopt-photographs, for whatever is
allowed to train on them. The round has a manifest without latents and a face store like any
other. Interrupted, it goes on where it was; run again on the same images, in whichever kind of
set, it makes the same bytes.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from manifests.core import layout
from manifests.core.backends import split_kind
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.photographs.sources.base import Fields
from manifests.settings.params import Params, load_params
from manifests.settings.real_faces import ROUND, WHERE, RealFaces
from manifests.stores.latents import FOLDER, LatentManifest, Recipe
from manifests.stores.latents import build as build_manifest
from manifests.stores.passport import OF_FACES, Fingerprint, Passport
from pipeline.adoption.crops import AdoptJob, made_here
from pipeline.adoption.image_sets import ImageSet, Wanted, read_image_set
from pipeline.adoption.listings import COPIES, LISTING, write_listing
from pipeline.aligners import load_aligner
from pipeline.aligners.base import Aligner, misplaced
from pipeline.arrays.frames import FRAMES, WIDE, Frame
from pipeline.building.faces import check_shard_rows, face_build
from pipeline.building.shards import Build, finish, locked, relink, scratch_folder
from pipeline.building.workers import Workers, add_options, workers_of
from pipeline.sample import save

VERSION = 3  # raise it when the same inputs would give other faces, or other bytes of them
STATEMENT = re.compile(r"(?=\S)[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,200}")


@dataclass(frozen=True)
class Origin:
    """What whoever adopts a set states of it."""

    synthetic_source: str | None  # the generator, or the name under which the set is published
    licence: str
    frame: Frame | None  # that the images are cut to; None: faces are to be detected
    real_faces: str | None = None  # in its place: whose photographs they are, and who agreed

    @property
    def statement(self) -> str:
        return self.synthetic_source or self.real_faces or ""

    @property
    def stated(self) -> dict[str, str]:
        """The one statement of the two, as passports have it."""
        kind = "synthetic_source" if self.real_faces is None else "real_faces"
        return {kind: self.statement}


@dataclass(frozen=True)
class Adoption:
    """A round's faces before they are adopted."""

    images: ImageSet
    manifest: LatentManifest
    build: Build


def open_adoption(name: str, wanted: Wanted, origin: Origin, params: Params) -> Adoption:
    """Reads all images, and the manifest that follows from them.

    Raises InputError as `read_image_set` does, for images that are no crops in the frame that is
    stated, and if round `name` is another one already.
    """
    check_shard_rows(params.render)
    layout.manifest(name)  # refuses what is no name before any image is read
    (kind,) = origin.stated
    for what, text in ((kind.replace("_", "-"), origin.statement), ("licence", origin.licence)):
        if not STATEMENT.fullmatch(text):
            raise InputError(f"--{what} {text[:80]!r}: expected one line of up to 200 characters")
    if origin.real_faces is None:
        _require_stated_alike(wanted.path, params.real_faces)
    images = read_image_set(wanted, aligned=origin.frame is not None)
    if origin.real_faces is None:
        _require_no_photographs(images)
    if origin.frame is not None:
        _require_cut(images, origin.frame, params)
    return adoption_of(name, images, origin, params)


def _require_stated_alike(path: Path, real: RealFaces) -> None:
    """Raises InputError for a place that is known to hold photographs of people: the folder that
    params.yaml names, and a take-away whose passport says so."""
    if real.shares(path):
        raise InputError(f"{path}: photographs of people by {WHERE}; they are no synthetic set")
    for folder in (path, *path.resolve().parents[:2]):
        if (folder / OF_FACES).is_file():
            stated = Passport.read_file(folder / OF_FACES).real_faces
            if stated is not None:
                raise InputError(
                    f"{folder}: a take-away of photographs of people ({stated}); they are no "
                    "synthetic set"
                )


def _require_no_photographs(images: ImageSet) -> None:
    """Raises InputError for images that are here as photographs of people already."""
    path, store = layout.manifest(ROUND), layout.faces(ROUND)
    if not path.exists() or not store.exists() or Passport.read(store).real_faces is None:
        return
    people = {*LatentManifest.read(path).table["source_sha256"].to_pylist()}
    pairs = zip(images.names, images.sha256, strict=True)
    if known := [name for name, sha256 in pairs if sha256 in people]:
        raise InputError(
            f"{images.root}: {len(known)} of its images are photographs of people in round "
            f"{ROUND}, the first is {known[0]}; they are no synthetic set"
        )


def _require_cut(images: ImageSet, frame: Frame, params: Params) -> None:
    aligner = load_aligner(params.aligner, layout.WEIGHTS)
    packed = images.source.places() is None  # they are read quickly in their own order alone
    names = images.in_their_order if packed else images.names
    reason = misplaced(aligner, frame, names, images.source.picture)
    if reason is not None:
        raise InputError(f"{images.root}: {reason}; leave the frame out to detect faces")


def adoption_of(name: str, images: ImageSet, origin: Origin, params: Params) -> Adoption:
    """Of images that were read. Raises InputError if round `name` is another one already."""
    path = layout.manifest(name)
    manifest = manifest_of(name, images, origin)
    if path.exists() and LatentManifest.read(path).digest != manifest.digest:
        raise InputError(
            f"{path}: round {name} holds other faces; choose another --round, or remove it with "
            f"{layout.faces(name).parent}"
        )
    return Adoption(images, manifest, _build_of(name, images, origin, manifest, params))


def _build_of(
    name: str, images: ImageSet, origin: Origin, manifest: LatentManifest, params: Params
) -> Build:
    aligner, settings = load_aligner(params.aligner, layout.WEIGHTS), params.render
    made_by = fingerprint(images, origin, aligner, settings.frame_size)
    inputs = {"version": VERSION, "manifest": manifest.digest, **asdict(made_by)}
    inputs |= {"shard_rows": settings.shard_rows, "licence": origin.licence}
    work = scratch_folder(f"adopt-{name}", inputs)
    job = AdoptJob(
        listing=(work / LISTING).absolute(),  # workers keep what they read of it
        weights=layout.WEIGHTS,
        aligner=params.aligner,
        source=origin.frame,
        frame=WIDE.at(settings.frame_size),
        made_by=made_here(aligner, origin.frame).text,
    )
    return face_build(
        manifest,
        made_by,
        job,
        settings,
        scheme=aligner.scheme,
        verb="adopt",
        name=name,
        work=work,
        licences={origin.statement: origin.licence},
    )


def manifest_of(name: str, images: ImageSet, origin: Origin) -> LatentManifest:
    """A row an image, without a latent: its hash, and its folder as the identity."""
    recipe = Recipe(name.rpartition("/")[2], FOLDER, images.digest, latent_width=1)
    return build_manifest(
        recipe,
        np.empty((len(images), 1), np.float32),
        origin="imported",
        key=origin.statement,
        latent=pa.nulls(len(images), pa.list_(pa.float32(), 1)),
        identity_id=images.identity,
        source_sha256=np.array(images.sha256, object),
    )


def fingerprint(images: ImageSet, origin: Origin, aligner: Aligner, frame_size: int) -> Fingerprint:
    identity: dict[str, Any] = {
        "name": FOLDER,
        "weights_sha256": images.digest,
        **origin.stated,
        "stored_frame": asdict(WIDE.at(frame_size)),
        "frame": None if origin.frame is None else asdict(origin.frame),
    }
    here = made_here(aligner, origin.frame)
    return Fingerprint(identity | dict(here.identity), here.numerics)


def adopt_round(name: str, wanted: Wanted, origin: Origin, params: Params, workers: Workers) -> str:
    """Builds, resumes or relinks the face store of round `name`; says what is in it."""
    adoption = open_adoption(name, wanted, origin, params)
    passport = build_adoption(adoption, workers)
    num_identities = len(set(adoption.images.identity.compressed().tolist()))
    return (
        f"{passport.num_rows:,} imported faces, {passport.num_ok:,} of them usable, "
        f"{num_identities:,} identities; stated to be made by {origin.synthetic_source}"
    )


def build_adoption(adoption: Adoption, workers: Workers) -> Passport:
    """Builds, resumes or relinks the face store, and writes the manifest."""
    images, build = adoption.images, adoption.build
    with locked(build):
        if not build.finished:
            write_listing(images, build.work)
        passport = finish(build, workers)
        (build.work / COPIES).unlink(missing_ok=True)
        save(adoption.manifest)
        relink(build)
    return passport


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument(
        "images", metavar="KIND:PATH",
        help="folder:DIR, in it a folder an identity, or parquet, webdataset, rec, lmdb",
    )  # fmt: skip
    parser.add_argument("--round", required=True, help="what to call it")
    parser.add_argument(
        "--synthetic-source", required=True, metavar="TEXT",
        help="what made the faces; photographs of people are not for training",
    )  # fmt: skip
    parser.add_argument("--licence", required=True, metavar="TEXT", help="of the set")
    parser.add_argument(
        "--frame", choices=sorted(FRAMES), help="that the images are cut to; default: detect faces"
    )
    parser.add_argument("--image", metavar="NAME", help="column or ending of the images")
    parser.add_argument("--identity", metavar="NAME", help="column or key that says who it is")
    parser.add_argument(
        "--leave-out-twins", action="store_true", help="of images of the same bytes keep the first"
    )
    add_options(parser)
    args = parser.parse_args()
    kind, path = split_kind(args.images)
    if not path:
        raise InputError(f"{args.images}: expected KIND:PATH, as in {FOLDER}:DIR")
    fields = Fields(args.image, args.identity)
    wanted = Wanted(Path(path), kind, fields, args.leave_out_twins)
    frame = FRAMES[args.frame] if args.frame else None
    origin = Origin(args.synthetic_source, args.licence, frame)
    found = adopt_round(args.round, wanted, origin, load_params(), workers_of(args))
    conclude(layout.faces(args.round), found, f"facestill embed {args.round}")


if __name__ == "__main__":
    from pipeline.adopt import main as command  # workers know the job by this module's name

    run_command(command)
