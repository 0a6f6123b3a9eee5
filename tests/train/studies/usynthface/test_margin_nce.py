"""Momentum contrast: its logits, its queue and its key encoder against slow twins."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from manifests.core.errors import InputError
from manifests.settings.params import Params
from manifests.settings.training import Run
from manifests.studies.usynthface import Contrast, Descent
from tests.references import after_fifo, margin_nce, moco_logits
from train.engine.optimizers import learning_rate, make_optimizer
from train.students import build_student
from train.studies.usynthface import margin_nce as module
from train.studies.usynthface.contrastive import (
    folded,
    published_sgd,
    with_descent,
    with_final_norm,
)
from train.studies.usynthface.margin_nce import MomentumContrast, follow, in_parts, margin_logits

SETTINGS = Contrast(
    margin=0.1, temperature=0.07, queue=7, replacement="fifo", momentum=0.9, sub_batches=1
)
WIDTH, SIDE = 5, 4


def units(rng: np.random.Generator, count: int, width: int = WIDTH) -> np.ndarray:
    rows = rng.standard_normal((count, width))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def tensors(*arrays: np.ndarray) -> list[Tensor]:
    return [torch.from_numpy(array).float() for array in arrays]


def encoder(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, WIDTH), nn.BatchNorm1d(WIDTH))


def pictures(count: int, seed: int) -> Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def contrast(query: nn.Module, **changes: object) -> MomentumContrast:
    settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]
    return MomentumContrast(query, settings, WIDTH, torch.Generator().manual_seed(1)).train()


class TestLogits:
    @given(
        seed=st.integers(0, 99),
        batch=st.integers(1, 6),
        queue=st.integers(1, 9),
        temperature=st.floats(0.03, 1.0),
    )
    def test_without_a_margin_they_are_mocos(
        self, seed: int, batch: int, queue: int, temperature: float
    ) -> None:
        rng = np.random.default_rng(seed)
        rows = units(rng, batch), units(rng, batch), units(rng, queue)
        found = margin_logits(*tensors(*rows), margin=0.0, temperature=temperature)
        np.testing.assert_allclose(found, moco_logits(*rows, temperature), rtol=0, atol=2e-5)

    @given(seed=st.integers(0, 99), margin=st.floats(0.0, 0.5))
    def test_the_loss_is_the_papers(self, seed: int, margin: float) -> None:
        rng = np.random.default_rng(seed)
        rows = units(rng, 4), units(rng, 4), units(rng, 9)
        logits = margin_logits(*tensors(*rows), margin=margin, temperature=0.07)
        wanted = margin_nce(*rows, margin, 0.07)
        assert float(module.margin_nce(logits)) == pytest.approx(wanted, abs=1e-4)

    def test_the_margin_is_taken_off_the_positive_before_the_temperature_divides(self) -> None:
        one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        found = margin_logits(one, one, other, margin=0.1, temperature=0.5)
        assert found.tolist() == [[pytest.approx(1.8), 0.0]]


class TestSteps:
    def steps(self, contrast: MomentumContrast, query: nn.Module, count: int) -> list[Tensor]:
        return [
            contrast(query, pictures(3, at), pictures(3, 50 + at), torch.tensor([2, 0, 1]))
            for at in range(count)
        ]

    def test_negatives_are_keys_of_earlier_batches_alone(self) -> None:
        query = encoder()
        study = contrast(query)
        before = study.queue.clone()
        logits = study(query, pictures(3, 0), pictures(3, 9), torch.arange(3))
        queries = functional.normalize(query(pictures(3, 0)))
        torch.testing.assert_close(logits[:, 1:], queries @ before.T / SETTINGS.temperature)
        assert not torch.equal(study.queue, before)

    def test_the_queue_is_first_in_first_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Batches of 3 in a queue of 7: the places go round."""
        query, made = encoder(), []
        study = contrast(query)
        before = list(study.queue.numpy().copy())
        embed = study.embedded_keys

        def noted(*arguments: Tensor) -> Tensor:
            made.append(embed(*arguments))  # type: ignore[arg-type]
            return made[-1]

        monkeypatch.setattr(study, "embedded_keys", noted)
        self.steps(study, query, 6)
        wanted = after_fifo(before, [keys.numpy() for keys in made])
        np.testing.assert_array_equal(study.queue, wanted)
        assert int(study.enqueued) == 18

    def test_keys_pass_no_gradient(self) -> None:
        query = encoder()
        study = contrast(query)
        self.steps(study, query, 1)[0].sum().backward()
        assert all(parameter.grad is None for parameter in study.parameters())
        assert all(parameter.grad is not None for parameter in query.parameters())

    def test_it_begins_with_a_copy_and_rows_of_unit_length(self) -> None:
        query = encoder()
        study = contrast(query)
        for own, other in zip(study.key.parameters(), query.parameters(), strict=True):
            assert torch.equal(own, other) and not own.requires_grad
        torch.testing.assert_close(study.queue.norm(dim=1), torch.ones(7))

    @pytest.mark.parametrize("parts", [1, 2, 3])
    def test_every_key_belongs_to_its_query_whatever_the_order(self, parts: int) -> None:
        """In evaluation, where a face's key depends on that face alone."""
        query = encoder()
        study = contrast(query, sub_batches=parts).eval()
        shown = pictures(6, 3)
        keys = study.embedded_keys(query, shown, torch.tensor([4, 2, 0, 5, 1, 3]))
        torch.testing.assert_close(keys, functional.normalize(query.eval()(shown)))

    def test_sub_batches_are_normalised_apart(self) -> None:
        network, shown = encoder().train(), pictures(6, 3)
        apart = torch.cat([copy.deepcopy(network)(part) for part in (shown[:3], shown[3:])])
        torch.testing.assert_close(in_parts(network, shown, 2), apart)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_it_learns_to_find_faces_by_their_other_view(optimizer: str, params: Params) -> None:
    """What two views share is one of three colours; the others are noise to be left aside."""
    descent = Descent(optimizer, 16, {"sgd": 0.3, "adamw": 0.03}[optimizer], 0.9, 1e-4, 0)
    query = encoder().train()
    study = contrast(query, queue=64, margin=0.0)
    train, run = with_descent(params.train, descent), Run(60 * 16, rate_from=1.0, rate_to=0.0)
    trained = make_optimizer(query, study, train)
    if optimizer == "sgd":
        trained = published_sgd(query, descent)
    losses = []
    for step in range(60):
        for group in trained.param_groups:
            group["lr"] = learning_rate(step, 60, run, train)
        views = [pictures(16, 1000 + 2 * step + view) for view in (0, 1)]
        for view in views:
            view[:, 0] = 2 * pictures(16, step)[:, 0]
        logits = study(query, *views, torch.arange(16).roll(step))
        trained.zero_grad()
        loss = module.margin_nce(logits)
        loss.backward()
        trained.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-20:]) < 0.85 * np.mean(losses[:20])


class TestFollowing:
    def test_is_a_moving_average_of_parameters_alone(self) -> None:
        key, query = encoder(1), encoder(2)
        query.train()(pictures(8, 1))  # its running statistics move
        before = copy.deepcopy(key.state_dict())
        follow(key, query, 0.9)
        for name, tensor in key.state_dict().items():
            other = query.state_dict()[name]
            learnt = name in dict(key.named_parameters())
            wanted = 0.9 * before[name] + 0.1 * other if learnt else before[name]
            torch.testing.assert_close(tensor, wanted)

    def test_an_unmoved_query_leaves_the_key_as_it_is(self) -> None:
        key = encoder(1)
        follow(key, copy.deepcopy(key), 0.5)
        for own, other in zip(key.parameters(), encoder(1).parameters(), strict=True):
            torch.testing.assert_close(own, other)


class TestReplacements:
    queue = torch.eye(3)
    keys = torch.tensor([[0.9, 0.1, 0.2], [0.1, 0.2, 0.9]])

    @pytest.mark.parametrize(
        ("name", "rows"), [("fifo", [1, 2]), ("most-similar", [0, 2]), ("least-similar", [1, 0])]
    )
    def test_of_a_full_queue(self, name: str, rows: Sequence[int]) -> None:
        found = module.REPLACEMENTS[name](self.queue, self.keys, 4)
        assert found.tolist() == rows

    @pytest.mark.parametrize("name", module.REPLACEMENTS)
    def test_until_the_queue_is_full_random_rows_go_first(self, name: str) -> None:
        assert module.REPLACEMENTS[name](self.queue, self.keys, 1).tolist() == [1, 2]

    def test_of_two_keys_for_one_row_the_later_stays(self) -> None:
        study = contrast(encoder(), queue=3, replacement="most-similar")
        study.queue, study.enqueued = torch.eye(3, WIDTH), torch.tensor(3)
        keys = functional.normalize(torch.tensor([[0.9, 0.1, 0, 0, 0], [0.8, 0, 0, 0, 0.1]]))
        study.enqueue(keys)
        assert torch.equal(study.queue[0], keys[1]) and torch.equal(
            study.queue[1:], torch.eye(3, WIDTH)[1:]
        )


class TestFinalNorm:
    def student(self, name: str = "small-resnet") -> nn.Module:
        torch.manual_seed(3)
        return build_student(name, input_size=16, width=0.125, embedding_width=WIDTH)

    def test_folded_it_gives_the_same_embeddings_from_the_student_alone(self) -> None:
        network = with_final_norm(self.student())
        shown = torch.rand(32, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 255
        with torch.no_grad():
            network[1].bias.copy_(torch.linspace(-1, 1, WIDTH))
            for _ in range(20):
                network.train()(shown)
            wanted = network.eval()(shown)
            found = folded(network)
            torch.testing.assert_close(found.eval()(shown), wanted, rtol=1e-4, atol=1e-4)
        assert {n: t.shape for n, t in found.state_dict().items()} == {
            n: t.shape for n, t in self.student().state_dict().items()
        }

    def test_its_scale_stays_at_one(self) -> None:
        network = with_final_norm(self.student())
        assert not network[1].weight.requires_grad and network[1].bias.requires_grad

    def test_a_student_that_ends_in_one_keeps_its_own(self) -> None:
        student = self.student("mobilefacenet")
        assert folded(with_final_norm(student)) is student

    def test_another_end_is_refused(self) -> None:
        with pytest.raises(InputError, match="ends in neither a linear layer with a bias nor"):
            with_final_norm(nn.Sequential(nn.Linear(3, 3), nn.ReLU()))
