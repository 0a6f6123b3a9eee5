"""Trying failed faces again gives the bytes of a build from nothing with the same attempts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manifests.core import layout
from manifests.core.digests import folder_hashes
from manifests.core.errors import InputError
from manifests.settings.params import Detection, Params
from manifests.stores.reading import FaceStore
from pipeline.building.workers import Workers
from pipeline.render import render_round
from pipeline.retry import retry_round
from tests.conftest import lay_out
from tests.pipeline.conftest import SHARDED_ROWS

FACES = layout.faces("pool")


def with_retries(params: Params, *thresholds: float) -> Params:
    retries = tuple(Detection(112, threshold) for threshold in thresholds)
    return replace(params, render=replace(params.render, retries=retries))


def test_retried_is_rendered_from_nothing(
    sharded: Params, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lenient = with_retries(sharded, 0.955)
    before = FaceStore.open(FACES)
    ok, images = before.ok(), before.images(0, SHARDED_ROWS)
    said = retry_round("pool", lenient, workers=Workers(1))
    after, hashes = FaceStore.open(FACES), folder_hashes(FACES)
    gained = after.passport.num_ok - int(ok.sum())
    assert gained > 0 and f"{gained} of {SHARDED_ROWS - int(ok.sum())} failed" in said
    assert np.array_equal(after.images(0, SHARDED_ROWS)[ok], images[ok])
    manifest = layout.manifest("pool").read_bytes()
    monkeypatch.chdir(lay_out(tmp_path / "anew", weights))
    layout.manifest("pool").parent.mkdir(parents=True)
    layout.manifest("pool").write_bytes(manifest)
    render_round("pool", lenient, workers=Workers(1))
    assert folder_hashes(FACES) == hashes


def test_rendering_afterwards_finds_it_done(sharded: Params) -> None:
    lenient = with_retries(sharded, 0.955)
    retry_round("pool", lenient, workers=Workers(1))
    inode = (FACES / "images/c/0/0/0/0").stat().st_ino
    render_round("pool", lenient, workers=Workers(1))
    assert (FACES / "images/c/0/0/0/0").stat().st_ino == inode


def test_a_second_attempt_goes_on_from_the_first(sharded: Params) -> None:
    retry_round("pool", with_retries(sharded, 0.961), workers=Workers(1))
    first = FaceStore.open(FACES).passport.num_ok
    retry_round("pool", with_retries(sharded, 0.961, 0.95), workers=Workers(1))
    assert FaceStore.open(FACES).passport.num_ok > first


def test_other_changes_are_refused(sharded: Params) -> None:
    smaller = replace(sharded.render, frame_size=48)
    with pytest.raises(InputError, match=r"change nothing else"):
        retry_round(
            "pool", with_retries(replace(sharded, render=smaller), 0.955), workers=Workers(1)
        )


def test_without_a_new_attempt_there_is_nothing_to_try(sharded: Params) -> None:
    render_round("pool", sharded, workers=Workers(1))  # so that its scratch folder is there
    failed = SHARDED_ROWS - FaceStore.open(FACES).passport.num_ok
    wanted = rf"{failed} of {SHARDED_ROWS} faces were not found, and render.retries is empty; add"
    with pytest.raises(InputError, match=wanted):
        retry_round("pool", sharded, workers=Workers(1))


def test_a_second_go_says_how_many_are_missing_still(sharded: Params) -> None:
    lenient = with_retries(sharded, 0.955)
    assert retry_round("pool", lenient, workers=Workers(1)).endswith("next: facestill embed pool")
    before = folder_hashes(FACES)
    failed = SHARDED_ROWS - FaceStore.open(FACES).passport.num_ok
    said = retry_round("pool", lenient, workers=Workers(1))
    assert (
        failed and f"{failed} of {SHARDED_ROWS} faces were not found by any of 2 attempts" in said
    )
    assert folder_hashes(FACES) == before
