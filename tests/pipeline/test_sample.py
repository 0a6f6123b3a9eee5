"""Rounds of the prior, the identities round as a stage, and what may not be sampled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.records.boundaries import Boundaries
from manifests.settings.params import Params, PriorRound, load_params
from manifests.stores.latents import LatentManifest
from pipeline.boundaries import boundaries_of_pool
from pipeline.sample import (
    main,
    prior,
    require_recipe,
    sample_from_boundaries,
    sample_prior,
    save,
    summary,
)
from tests.pipeline.identities.toys import EVEN, WIDTH
from tests.stylegans import SMALL2, network_of, write_pickle


@pytest.fixture
def pool(workspace: Path, params: Params) -> LatentManifest:
    manifest = sample_prior("pool", PriorRound(count=20, seed=1), params)
    save(manifest)
    return manifest


def test_a_round_is_not_replaced_by_another_unless_it_is_said(pool: LatentManifest) -> None:
    """Its stores may have taken hours."""
    save(pool)  # the same again is no other
    other = sample_prior("pool", PriorRound(count=21, seed=1), load_params())
    with pytest.raises(InputError, match=r"pool\.parquet: holds other faces than .*--force"):
        save(other)
    assert LatentManifest.read(layout.manifest("pool")).digest == pool.digest
    save(other, force=True)
    assert LatentManifest.read(layout.manifest("pool")).digest == other.digest


def test_prior_is_a_function_of_its_seed() -> None:
    assert np.array_equal(prior(50, WIDTH, "pool", seed=1), prior(50, WIDTH, "pool", seed=1))
    assert not np.array_equal(prior(50, WIDTH, "pool", seed=1), prior(50, WIDTH, "pool", seed=2))


def test_rounds_with_one_seed_share_no_latent() -> None:
    pool, probe = (prior(50, WIDTH, name, seed=1) for name in ("pool", "probe"))
    assert not {row.tobytes() for row in pool} & {row.tobytes() for row in probe}


def test_prior_is_standard_normal() -> None:
    latents = prior(2000, WIDTH, "pool", seed=0)
    assert abs(latents.mean()) < 0.01
    assert abs(latents.std() - 1) < 0.01


def test_a_prior_round_is_reproducible(workspace: Path, params: Params) -> None:
    first, second = (sample_prior("pool", PriorRound(30, 1), params) for _ in range(2))
    assert first.digest == second.digest


def test_rounds_of_one_seed_do_not_share_ids(workspace: Path, params: Params) -> None:
    pool, probe = (sample_prior(name, PriorRound(30, 1), params) for name in ("pool", "probe"))
    assert not set(pool.face_id) & set(probe.face_id)


class TestOnARealPool:
    """Boundaries and the identities round of a pool with stores."""

    @pytest.fixture
    def small(self, rounds: Path) -> Params:
        params = load_params()
        settings = replace(params.boundaries, references=4, neighbours=40, min_accuracy=0.0)
        small = replace(params, boundaries=settings, identities=EVEN)
        boundaries_of_pool(small).write(layout.boundaries("pool"))
        return small

    def test_identities_round_is_reproducible_and_described(self, small: Params) -> None:
        first, second = (sample_from_boundaries(small) for _ in range(2))
        assert first.digest == second.digest
        assert len(first) == 4 * 2 * EVEN.per_side
        pool = LatentManifest.read(layout.manifest("pool"))
        assert set(first.table["parent_id"].to_pylist()) <= set(pool.face_id)
        save(first)
        found = read_json(layout.manifest_summary("identities"))
        assert (found["rows"], found["num_identities"], found["num_parents"]) == (24, 8, 4)
        assert found["digest"] == LatentManifest.read(layout.manifest("identities")).digest
        assert (found["origins"], found["laws"]) == ({"boundary": 24}, {EVEN.law: 24})
        assert sum(found["latent_norm_histogram"]["counts"]) == 24

    @pytest.mark.parametrize("link", ["manifest_digest", "teacher_root"])
    def test_boundaries_of_another_pool_are_refused(self, small: Params, link: str) -> None:
        path = layout.boundaries("pool")
        replace(Boundaries.read(path), **{link: "ef" * 32}).write(path)
        with pytest.raises(InputError, match=r"boundaries\.parquet: drawn from .* efefefefefef"):
            sample_from_boundaries(small)

    def test_another_generator_than_the_pools_is_refused(self, small: Params) -> None:
        write_pickle(Path("small.pkl"), network_of(2, SMALL2), SMALL2)
        other = replace(small, generator="stylegan2:small.pkl")
        wanted = r"pool\.parquet: generator dcgan-digiface, but params\.yaml .* say small; change"
        with pytest.raises(InputError, match=wanted):
            sample_from_boundaries(other)

    @pytest.mark.parametrize(
        "wrong", [{"latent_space": "w"}, {"psi": 0.5}, {"generator_sha256": "ef" * 32}], ids=str
    )
    def test_latents_of_another_kind_are_refused(
        self, small: Params, wrong: dict[str, object]
    ) -> None:
        pool = LatentManifest.read(layout.manifest("pool")).recipe
        require_recipe(pool, replace(pool, round="identities"))
        name, value = next(iter(wrong.items()))
        with pytest.raises(InputError, match=rf"pool\.parquet: {name} .* say {value}; change"):
            require_recipe(pool, replace(pool, **wrong))


def test_summary_of_an_empty_round_is_legal(workspace: Path, params: Params) -> None:
    found = summary(sample_prior("none", PriorRound(0, 1), params))
    assert (found["rows"], found["origins"]) == (0, {})


def test_unknown_round_is_answered_with_the_valid_ones(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["sample", "crowd"])
    with pytest.raises(InputError, match=r"unknown round 'crowd'; valid names: pool, probe"):
        main()
