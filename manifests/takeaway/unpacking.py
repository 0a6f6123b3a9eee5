"""Making a round of a take-away: the import side of manifests.takeaway.

The file may be a stranger's. Its form was checked on opening; here its arrays are checked to be
those of a round, and written by the code that writes every store, in a scratch folder that is
put in place whole.

If the source's stores come out byte for byte, they are the source's: same roots, same
passports. Else (a selection, or a machine whose Zarr compresses otherwise) they are stores of
their own, whose lineage says of which store they are which faces. Their faces keep their ids
and their manifest the source's round, for so they were made; therefore a selection can stand
beside its source only under a team's name, as few/pool beside pool.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import deliver
from manifests.stores.latents import REQUIRED, LatentManifest, schema
from manifests.stores.reading import FaceStore, TeacherStore
from manifests.takeaway.hdf5 import Contents, Form
from manifests.takeaway.packing import FACES, Summary, check_size, dtype_of, manifest_of
from manifests.takeaway.reading import Reader, open_file
from manifests.takeaway.rebuilding import Draft, build_store

LARGEST_LATENT = 1 << 16  # numbers: 18 layers of 512 are 9,216


def import_round(path: Path, name: str) -> Summary:
    """Makes round `name` of a take-away, where stages look for it.

    Raises InputError, and leaves nothing behind, if there is such a round already, or if the
    file is damaged or not one that export_round could have written.
    """
    _check_free(name)
    with open_file(path) as reader:
        its_round = reader.contents.recipe.round
        if its_round != name.rpartition("/")[2]:
            raise InputError(
                f"faces of round {its_round[:80]!r}, expected those of {name!r}; unpack "
                f"them under that name, or beside it under a team's: TEAM/{its_round[:80]}"
            )
        layout.WORK.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="import-", dir=layout.WORK) as scratch:
            check_size(reader.contents.datasets)
            manifest = _read_manifest(reader)
            summary = _build_stores(reader, name, manifest, Path(scratch))
            _check_free(name)
            _put_in_place(name, manifest, Path(scratch) / "round")
    return summary


def _check_free(name: str) -> None:
    places = (layout.manifest(name), layout.faces(name).parent)
    for path in places:
        if path.exists():
            raise InputError(
                f"{path}: round {name} is there already; remove {' and '.join(map(str, places))} "
                f"to take it again, or unpack beside it as OTHER-TEAM/{name.rpartition('/')[2]}"
            )


def _put_in_place(name: str, manifest: LatentManifest, finished: Path) -> None:
    """The manifest, then all stores at once: a round that has faces is whole."""
    folder = layout.faces(name).parent
    try:
        manifest.write(layout.manifest(name))
        deliver(finished, folder)
    except BaseException:
        layout.manifest(name).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _read_manifest(reader: Reader) -> LatentManifest:
    """The rows, checked against the manifest's contract and its digest."""
    recipe, datasets = reader.contents.recipe, reader.contents.datasets
    if not 0 < recipe.latent_width <= LARGEST_LATENT:
        raise InputError(f"latents are {recipe.latent_width}-d, expected 1 to {LARGEST_LATENT}")
    fields = schema(recipe.latent_width)
    nullable = [field.name for field in fields if field.name not in REQUIRED]
    wanted = {f"manifest/{name}" for name in fields.names} | {f"valid/{name}" for name in nullable}
    if {name for name in datasets if name.startswith(("manifest/", "valid/"))} != wanted:
        raise InputError(f"its manifest does not have the columns {', '.join(fields.names)}")
    count = datasets["manifest/face_id"].shape[0]
    for field in fields:
        form = datasets[f"manifest/{field.name}"]
        dtype = dtype_of(field.type, np.dtype(form.dtype).itemsize)
        shape = (count, recipe.latent_width) if field.name == "latent" else (count,)
        _check_form(field.name, form, dtype, shape)
    for name in nullable:
        _check_form(name, datasets[f"valid/{name}"], np.dtype(bool), (count,))
    values = {name: reader.rows(f"manifest/{name}") for name in fields.names}
    valid = {name: reader.rows(f"valid/{name}") for name in nullable}
    manifest = manifest_of(recipe, values, valid)
    if manifest.digest != reader.contents.manifest_digest:
        raise InputError("its rows do not have the digest that its contents name")
    return manifest


def _check_form(name: str, form: Form, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    if (form.dtype, form.shape) != (dtype.str, shape):
        raise InputError(
            f"column {name} is {form.dtype} {form.shape}, expected {dtype.str} {shape}"
        )


def _build_stores(reader: Reader, name: str, manifest: LatentManifest, scratch: Path) -> Summary:
    """All stores of the round, below `scratch`/round as they are to lie below its folder."""
    teachers = _teachers(reader.contents)
    here, drafts = layout.faces(name).parent, scratch / "round"
    target = drafts / layout.faces(name).relative_to(here)
    source = build_store(Draft(reader, FACES, target, scratch / FACES), manifest)
    faces = FaceStore.open(target)
    kept = [faces.root == source.merkle_root]
    for teacher in teachers:
        target = drafts / layout.teacher(name, teacher).relative_to(here)
        store = f"teachers/{teacher}"
        before = build_store(Draft(reader, store, target, scratch / store, faces), manifest)
        kept.append(TeacherStore.open(target).root == before.merkle_root)
    num_ok = faces.passport.num_ok
    return Summary(len(manifest), num_ok, source.num_rows, teachers, kept_roots=all(kept))


def _teachers(contents: Contents) -> list[str]:
    """Names of the teachers, if there are faces and each store has its data sets."""
    stores = sorted(contents.task_rows)
    folders = {"manifest", "valid", *stores, *(f"papers/{store}" for store in stores)}
    if FACES not in stores or {name.rpartition("/")[0] for name in contents.datasets} != folders:
        raise InputError("its data sets are not those of a face store and of teacher stores")
    return [store.partition("/")[2] for store in stores if store != FACES]
