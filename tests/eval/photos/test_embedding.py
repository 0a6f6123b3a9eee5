"""Photographs to embeddings: blocks, views and frames change what they should and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eval.alignment import Alignment
from eval.benchmarks.base import Protocol
from eval.photos import embedding
from eval.photos.embedding import Kept, embed_protocol, frame_coverage
from eval.photos.models import Model
from eval.photos.verification import verify, verify_models
from manifests.core.errors import InputError
from manifests.photographs.images import decode
from pipeline.arrays.align import Face, crop_photograph, placed
from pipeline.arrays.frames import ARCFACE112, DLIB150, WIDE, to_frame
from tests.protocols import CUT, SMALL, colours, make_folder, opened


def sides(batch: torch.Tensor) -> torch.Tensor:
    """An embedding that the mirror image has backwards."""
    return batch.mean(dim=(1, 2))


SIDES = Model("sides", "5" * 64, SMALL, "cosine", False, sides)


@pytest.fixture
def protocol(tmp_path: Path) -> Protocol:
    """140 photographs of noise, more than two batches."""
    people = make_folder(tmp_path, {f"p{k:02}": 7 for k in range(20)})
    rng = np.random.default_rng(0)
    for path in sorted(people.rglob("*.png")):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    return opened(f"folder:{tmp_path}")


def test_blocks_change_no_bit(protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, faces = embed_protocol(protocol, [colours(), SIDES], ["plain"] * 2)
    monkeypatch.setattr(embedding, "BLOCK", 64)
    parts, _ = embed_protocol(protocol, [colours(), SIDES], ["plain"] * 2)
    for a, b in zip(whole, parts, strict=True):
        for view in a.views:
            np.testing.assert_array_equal(a.views[view], b.views[view])
    assert all(face.detected for face in faces) and len(faces) == 140


def test_no_more_than_a_block_of_crops_is_held(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "BLOCK", 64)
    names = protocol.benchmark.images
    seen = [len(block) for block, *_ in embedding._blocks(protocol, names, [SIDES])]
    assert seen == [64, 64, 12]


def test_images_of_several_benchmarks_are_looked_at_once(
    protocol: Protocol,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And give what they give alone, under any name and in any order."""
    mine = tmp_path_factory.mktemp("others")
    for at, path in enumerate(sorted(tmp_path.glob("p0[0-3]/*.png"))):
        other = mine / f"q{at // 7}/{30 - at}.png"
        other.parent.mkdir(exist_ok=True)
        Image.open(path).rotate(90 * (at // 7)).save(other)
    some = opened(f"folder:{mine}")
    alone = [embed_protocol(own, [colours(), SIDES], ["plain"] * 2) for own in (protocol, some)]
    kept, looked = Kept.among([protocol, some]), list[str]()
    read = embedding.crop_photograph
    monkeypatch.setattr(
        embedding, "crop_photograph", lambda *given: (looked.append(""), read(*given))[1]
    )
    assert len(kept.wanted) == 7  # of the others the pictures were turned
    for own, (rows, faces) in zip((protocol, some), alone, strict=True):
        again, found = embed_protocol(own, [colours(), SIDES], ["plain"] * 2, kept)
        for new, old in zip(found, faces, strict=True):
            np.testing.assert_array_equal(new.landmarks, old.landmarks)
        for a, b in zip(again, rows, strict=True):
            for view in b.views:
                np.testing.assert_allclose(a.views[view], b.views[view], rtol=1e-6)
    assert len(looked) == 2 * (140 + 21)


def test_all_images_may_have_been_looked_at(protocol: Protocol) -> None:
    kept = Kept.among([protocol, protocol])
    first, second = (embed_protocol(protocol, [SIDES], ["plain"], kept) for _ in range(2))
    np.testing.assert_array_equal(first[0][0].views["plain"], second[0][0].views["plain"])
    other = replace(protocol, benchmark=replace(protocol.benchmark, alignment="another"))
    assert Kept.among([protocol, other]).wanted == set()


def test_rows_are_those_of_the_model_itself(protocol: Protocol) -> None:
    (done,), _ = embed_protocol(protocol, [SIDES], ["plain"])
    name = protocol.benchmark.images[70]
    picture = decode(protocol.images.read(name), name)
    crop = crop_photograph(picture, placed(ARCFACE112, len(picture)), SMALL)[None]
    np.testing.assert_allclose(done.views["plain"][70], sides(crop)[0].numpy(), rtol=1e-6)
    both = sides(crop) + sides(crop.flip(3))
    np.testing.assert_allclose(done.views["plain+flip"][70], both[0].numpy(), rtol=1e-6)


def test_a_second_pass_is_made_only_for_few_images_or_models_that_want_it(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "MOST_FOR_BOTH_VIEWS", 100)
    done, _ = embed_protocol(protocol, [SIDES, SIDES], ["plain", "plain+flip"])
    assert [list(each.views) for each in done] == [["plain"], ["plain", "plain+flip"]]


def test_views_replace_the_declared_ones(protocol: Protocol) -> None:
    (plain,) = verify_models([SIDES], protocol)
    (both,) = verify_models([SIDES], protocol, "plain+flip")
    for done, views in ((plain, "plain"), (both, "plain+flip")):
        assert done.metrics["views"] == views
        assert done.metrics["by_views"][views]["accuracy"] == done.metrics["accuracy"]
        assert done.metrics["by_views"] == plain.metrics["by_views"]
    assert (plain.pairs.score != both.pairs.score).any()


def test_an_embedding_that_is_not_finite_is_named(protocol: Protocol) -> None:
    def broken(batch: torch.Tensor) -> torch.Tensor:
        return torch.full((len(batch), 3), float("nan"))

    model = Model("broken", "b" * 64, SMALL, "cosine", False, broken)
    with pytest.raises(InputError, match=r"model broken: its embedding of image p00/0\.png is not"):
        embed_protocol(protocol, [model], ["plain"])


def test_undetected_faces_are_counted_and_kept(protocol: Protocol) -> None:
    lost = iter([True, False] + [True] * 138)

    def find(pictures: Sequence[np.ndarray]) -> list[Face]:
        return [replace(face, detected=next(lost)) for face in CUT.find(pictures)]

    protocol = replace(protocol, alignment=Alignment("some", find))
    done, faces = embed_protocol(protocol, [SIDES], ["plain"])
    assert len(done[0].views["plain"]) == 140 and len(faces) == 140
    result = verify(protocol, done[0], faces, "plain")
    assert result.metrics["num_failed"] == 1
    name = protocol.benchmark.images[1]
    of_it = [
        name in pair for pair in zip(protocol.benchmark.left, protocol.benchmark.right, strict=True)
    ]
    assert result.pairs.failed.tolist() == of_it and any(of_it)


def test_an_aligned_crop_goes_to_a_frame_as_stores_do() -> None:
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (112, 112, 3), dtype=np.uint8)
    found = crop_photograph(picture, placed(ARCFACE112, len(picture)), ARCFACE112)
    np.testing.assert_array_equal(found.permute(1, 2, 0).numpy(), picture)  # the very pixels
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    tight = crop_photograph(picture, placed(ARCFACE112, len(picture)), DLIB150)
    np.testing.assert_allclose(tight, to_frame(pixels, ARCFACE112, DLIB150)[0].round(), atol=1.0)


@pytest.mark.parametrize(
    ("source", "wanted", "share"),
    [
        (ARCFACE112, ARCFACE112.at(64), 1.0),
        (WIDE, ARCFACE112, 1.0),
        (WIDE, DLIB150, 1.0),
        (ARCFACE112, WIDE, 114.51**2 / 128**2),
        (ARCFACE112, DLIB150, (114.51 - 3.11 - 19.997) / 100.581),
    ],
)
def test_coverage_is_the_share_of_the_area(source: object, wanted: object, share: float) -> None:
    assert frame_coverage(source, wanted) == pytest.approx(share, abs=1e-12)  # type: ignore[arg-type]
