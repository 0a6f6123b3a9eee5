"""The same images in sets of every kind are the same round, to the byte."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manifests.core import layout
from manifests.core.digests import folder_hashes, sha256_file
from manifests.core.errors import InputError
from manifests.settings.params import Params
from manifests.settings.real_faces import RealFaces
from manifests.stores.latents import LatentManifest
from manifests.stores.reading import FaceStore
from pipeline.adopt import Origin, adopt_round
from pipeline.adopt_photographs import make_round
from pipeline.adoption.crops import AdoptJob
from pipeline.adoption.image_sets import Wanted, numbered, read_image_set
from pipeline.adoption.listings import COPIES
from pipeline.arrays.frames import WIDE
from pipeline.building.workers import Workers
from tests.image_packs import WRITERS, Item, encoded, pictures
from tests.pipeline.adoption.toys import ALIGNED
from tests.pipeline.conftest import Interrupted, shards_done

SIDE = 48
STORED = Origin("toys", "free", WIDE)
ITEMS = pictures(people=7, each=20, side=SIDE)  # three shards of 64 rows
PACKED = [name for name in WRITERS if name != "folder"]


def wanted(written: str, items: Sequence[Item] = ITEMS, place: str = "sets") -> Wanted:
    kind, name, write = WRITERS[written]
    return Wanted(write(items, Path(place) / written / name), kind)


def made(params: Params, wanted: Wanted, workers: int = 1) -> dict[str, str]:
    """The hashes of the round's files."""
    said = adopt_round("toys", wanted, STORED, params, Workers(workers))
    assert said.startswith("140 imported faces, 140 of them usable, 7 identities")
    hashes = folder_hashes(layout.faces("toys"))
    return {**hashes, "manifest": sha256_file(layout.manifest("toys"))}


def let_go() -> None:
    shutil.rmtree(layout.WORK)
    shutil.rmtree(layout.faces("toys").parent)
    layout.manifest("toys").unlink()


@pytest.fixture
def of_folder(workspace: Path, params: Params) -> dict[str, str]:
    found = made(params, wanted("folder"))
    let_go()
    return found


@pytest.mark.parametrize("written", PACKED)
def test_a_set_of_any_kind_is_the_round_that_a_folder_is(
    of_folder: dict[str, str], params: Params, written: str
) -> None:
    own = wanted(written)
    assert made(params, own) == of_folder
    assert not list(layout.WORK.rglob(COPIES))
    with shards_done(AdoptJob) as done:
        assert made(params, replace(own, path=own.path.resolve())) == of_folder
    assert not done


def test_pictures_of_the_stored_size_come_through_as_they_are(
    workspace: Path, params: Params
) -> None:
    items = pictures(people=3, each=4, side=SIDE)
    own = wanted("datasets", items)
    adopt_round("toys", own, STORED, params, Workers(1))
    found = read_image_set(own, aligned=True)
    shown = [found.source.picture(name) for name in found.names]
    assert np.array_equal(FaceStore.open(layout.faces("toys")).images(0, 12), shown)
    table = LatentManifest.read(layout.manifest("toys")).table
    person = {item.data: item.identity for item in items}
    assert table["identity_id"].to_pylist() == [person[found.source.read(n)] for n in found.names]


@pytest.mark.parametrize("written", ["columns", "shards", "records", "keys"])
def test_an_interrupted_one_goes_on(
    of_folder: dict[str, str], params: Params, written: str
) -> None:
    own = wanted(written)
    with shards_done(AdoptJob, dies_at=2), pytest.raises(Interrupted):
        made(params, own)
    with shards_done(AdoptJob) as done:
        assert made(params, own) == of_folder
    assert done == [2]


def test_workers_read_what_is_packed(of_folder: dict[str, str], params: Params) -> None:
    assert made(params, wanted("columns"), workers=2) == of_folder


def test_images_of_the_same_bytes_are_refused_or_left_out(
    workspace: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    twin, disputed = ITEMS[3], replace(ITEMS[45], identity=0)
    own = wanted("columns", [*ITEMS, twin, twin, disputed])
    with pytest.raises(InputError) as caught:
        read_image_set(own, aligned=True)
    first, *lines = str(caught.value).splitlines()
    assert first == "sets/columns/set.parquet: 3 faults"
    assert lines[0] == (
        "sets/columns/set.parquet: image 140: the same bytes as 3; leave them out: "
        "--leave-out-twins"
    )
    capsys.readouterr()
    kept = read_image_set(replace(own, leave_out_twins=True), aligned=True)
    assert "3 images left out, of the same bytes as others; and 1 of" in capsys.readouterr().err
    assert "45" not in kept.names and len(kept) == len(ITEMS) - 1
    alone = wanted("folder", [item for item in ITEMS if item is not ITEMS[45]])
    assert kept.digest == read_image_set(alone, aligned=True).digest


def test_photographs_of_people_are_known_in_every_kind(workspace: Path, params: Params) -> None:
    real = RealFaces(str(wanted("folder").path), True, "the suite's noise", "none", "wide")
    train = replace(params.train, leave_out=())
    params = replace(params, teacher="toy", teachers={"toy": network()}, train=train)
    make_round(real, params, Workers(1))
    for written in PACKED:
        with pytest.raises(InputError, match="1 of its images are photographs of people in round"):
            others = [replace(item, data=turned(item)) for item in ITEMS[1:]]
            adopt_round("toys", wanted(written, [ITEMS[0], *others]), ALIGNED, params, Workers(1))


def network() -> str:
    from tests.networks import write_network

    return f"onnx:{write_network(Path('toy.onnx'))}"


def turned(item: Item) -> bytes:
    from io import BytesIO

    from PIL import Image

    return encoded(np.asarray(Image.open(BytesIO(item.data)))[::-1])


@pytest.mark.parametrize(
    ("labels", "numbers"),
    [
        ([3, None, 9], [3, -1, 9]),  # numbers stay, so that others' lists of them still fit
        (["b", "a", None], [1, 0, -1]),
        ([10, "9"], [0, 1]),
        ([2**40, 5], [1, 0]),  # of 32 bits alone are rows
        ([], []),
    ],
)
def test_people_are_numbers(labels: list[int | str | None], numbers: list[int]) -> None:
    assert numbered(labels) == numbers


def test_a_number_and_its_text_are_not_told_apart() -> None:
    """Nor taken for one: their order would follow from nothing."""
    with pytest.raises(InputError, match="identity 9 is a number on some images, a text on others"):
        numbered([10, "9", 9, "a"])
