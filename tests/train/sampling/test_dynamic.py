"""The loop is the released one: its latents, its steps, its losses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.settings.params import Params
from pipeline.arrays.frames import to_frame
from tests.references.online import synthdistill
from tests.train.sampling.toys import BATCH, OUT, RUN, online_params, plan_of, studio_of
from train.checkpoint import LOG
from train.engine.trainer import train_run
from train.losses.objectives import make_objective
from train.losses.terms import Target
from train.sampling.dynamic import FRESH, MOVES, Watched, batches, is_moved
from train.sampling.faces import Made, Studio


def watched_of(studio: Studio, params: Params) -> Watched:
    target = Target(torch.zeros(studio.teacher.width), 1.0)
    objective = make_objective(params, {params.teacher: target}, num_identities=0)
    width = studio.generator.latent_width
    return Watched(objective, target, params.teacher, batch=BATCH, width=width)


@pytest.mark.parametrize(("batch_norm", "rounds"), [("batch", 2), ("frozen", 6)])
def test_a_run_is_that_of_its_slow_twin(workspace: Path, batch_norm: str, rounds: int) -> None:
    """Losses and cosines of each step. Normalised by the batch, faces of a random generator are
    much alike, and what weights differ by grows a hundredfold with a step: two rounds of the loop
    are as far as the twins go together."""
    params = online_params(coefficient=0.7)
    runs = {RUN: replace(params.train.runs[RUN], faces_seen=2 * rounds * BATCH)}
    engine = replace(params.train.engine, batch_norm=batch_norm)
    params = replace(params, train=replace(params.train, runs=runs, engine=engine))
    plan = plan_of(params)
    network, studio, rate = plan.new_network(), plan.studio, params.train.learning_rate
    target, seed = plan.target, plan.seed

    def picture(latent: np.ndarray) -> Tensor:
        made = studio.make(latent[None])
        stored = torch.from_numpy(made.images).permute(0, 3, 1, 2).float()
        return to_frame(stored, studio.frame, plan.frame)[0]

    def draws() -> Iterator[np.ndarray]:
        for chunk in count():
            yield from studio.draw((seed, FRESH, chunk))

    def eps(step: int) -> np.ndarray:
        width = studio.generator.latent_width
        return np.random.default_rng((seed, MOVES, step)).standard_normal((BATCH, width))

    network.train(batch_norm == "batch")
    wanted = synthdistill(
        lambda pictures: target.raw(network(pictures)),
        torch.optim.SGD(network.parameters(), rate),
        draws=draws(),
        show=picture,
        teach=lambda latent: torch.from_numpy(studio.make(latent[None]).targets[0, 0]),
        eps=eps,
        batch=BATCH,
        coefficient=0.7,
        iterations=rounds,
    )
    train_run(plan, OUT)
    history = read_json(OUT / LOG)["history"]
    assert len(history) == 2 * rounds
    losses, cosines = zip(*wanted, strict=True)
    np.testing.assert_allclose([line["loss"] for line in history], losses, rtol=1e-3)
    np.testing.assert_allclose([h["cosine"] for h in history[::2]], cosines[::2], atol=1e-4)
    np.testing.assert_allclose([h["moved_cosine"] for h in history[1::2]], cosines[1::2], atol=1e-4)


def test_moved_faces_follow_from_the_cosines_alone(workspace: Path) -> None:
    params = online_params(coefficient=2.0)
    studio = studio_of(params)
    watched = watched_of(studio, params)
    made = batches(studio, watched, params.online, seed=3)
    next(made)
    watched.cosine.copy_(torch.linspace(-1.0, 1.0, BATCH))
    latents = watched.latents.clone()
    (target,) = next(made).targets.values()
    eps = np.random.default_rng((3, MOVES, 1)).standard_normal(latents.shape)
    step = np.linspace(0.0, 2.0, BATCH)  # the raw scale: no spread, no shell
    wanted = studio.make((latents.numpy() + step[:, None] * eps).astype(np.float32))
    np.testing.assert_allclose(target.numpy(), wanted.targets, atol=1e-4)
    assert np.array_equal(target[0].numpy(), studio.make(latents.numpy()).targets[0])


def test_static_alone_shows_fresh_faces_alone(workspace: Path) -> None:
    params = online_params(dynamic=False)
    studio = studio_of(params)
    watched = watched_of(studio, params)
    found = list(islice(batches(studio, watched, params.online, seed=3), 7))
    wanted = np.concatenate([studio.draw((3, FRESH, chunk)) for chunk in range(2)])[: 7 * BATCH]
    targets = np.concatenate([next(iter(each.targets.values())).numpy() for each in found])
    assert np.array_equal(targets, studio.make(wanted).targets)
    assert not any(is_moved(step, params.online) for step in range(9))
    both = replace(params.online, dynamic=True)
    assert [is_moved(step, both) for step in range(4)] == [False, True, False, True]


class Shy(Studio):
    """Shows the first `found` faces of what it is asked for beside whole chunks."""

    found = BATCH

    def make(self, latents: np.ndarray) -> Made:
        made = Studio.make(self, latents)
        return made.part(0, self.found) if len(latents) == BATCH else made


@pytest.mark.parametrize("found", [0, 1, 2, BATCH - 1])
def test_moved_latents_without_a_face_are_passed_over(
    workspace: Path, found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = online_params()
    monkeypatch.setattr(Shy, "found", found)
    studio = Shy(**vars(studio_of(params)))
    made = batches(studio, watched_of(studio, params), params.online, seed=3)
    assert len(next(made)) == BATCH
    if found < 2:
        with pytest.raises(InputError, match=rf"{found} faces were found.*coefficient \(1\)"):
            next(made)
    else:
        assert len(next(made)) == found and len(next(made)) == BATCH
