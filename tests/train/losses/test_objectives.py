"""Objectives: what they add up, what they leave alone, and what their state brings back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from manifests.settings.objectives import Losses, Margin, ThresholdRanks, Tuition
from manifests.settings.params import Params
from tests.references import losses as slow
from train.losses.adaptors import Adaptor, Input
from train.losses.margin_heads import MarginHead, running
from train.losses.margins import labelled_cross_entropy
from train.losses.objectives import (
    Fused,
    Objective,
    Supervision,
    Teaching,
    make_objective,
    teachers_of,
)
from train.losses.terms import Comparison, GroupedComparison, RankComparison, Target, comparison

WIDTH, OTHER, BATCH, IDENTITIES = 6, 9, 8, 4
LABELS = torch.tensor([0, 1, 1, -1, 2, 3, 0, -1])


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed % 2**32))


OUTPUTS = drawn(1, BATCH, WIDTH)
RAW = {"dlib-resnet": drawn(2, BATCH, WIDTH) + 3.0, "other": drawn(3, BATCH, OTHER)}
TARGETS = {
    "dlib-resnet": Target(torch.full((WIDTH,), 3.0), 1.25),
    "other": Target(torch.zeros(OTHER), 0.5),
}
STANDARDISED = (RAW["dlib-resnet"] - 3.0) / 1.25


def objective(params: Params, loss: Any, **train: Any) -> Objective:
    torch.manual_seed(0)
    changed = replace(params.train, loss=Losses.parsed(loss, "loss"), **train)
    return make_objective(replace(params, train=changed), TARGETS, num_identities=IDENTITIES)


def value(objective: Objective, outputs: Tensor = OUTPUTS, **supervision: Any) -> float:
    with torch.no_grad():
        return float(objective(outputs, Supervision(**{**GIVEN, **supervision})))


GIVEN: Mapping[str, Any] = {"targets": RAW, "labels": LABELS, "epoch": 0}


class TestOneTeacher:
    def test_the_default_is_the_standardised_difference(self, params: Params) -> None:
        expected = slow.mse(OUTPUTS.numpy(), STANDARDISED.numpy())
        assert value(objective(params, "standardised-mse")) == pytest.approx(expected, rel=1e-5)
        assert not list(objective(params, "standardised-mse").parameters())

    def test_raw_embeddings_are_what_the_outputs_stand_for(self, params: Params) -> None:
        expected = slow.mse(OUTPUTS.numpy() * 1.25 + 3.0, RAW["dlib-resnet"].numpy())
        assert value(objective(params, "mse")) == pytest.approx(expected, rel=1e-5)
        assert expected == pytest.approx(1.25**2 * value(objective(params, "standardised-mse")))

    @pytest.mark.parametrize("name", ["cosine", "unit-mse"])
    def test_an_angle_is_centred_unless_told_otherwise(self, params: Params, name: str) -> None:
        twin = {"cosine": slow.cosine, "unit-mse": slow.unit_squared_distance}[name]
        centred = twin(OUTPUTS.numpy(), STANDARDISED.numpy())
        raw = twin(OUTPUTS.numpy() * 1.25 + 3.0, RAW["dlib-resnet"].numpy())
        assert value(objective(params, name)) == pytest.approx(centred, rel=1e-4)
        found = value(objective(params, {"name": name, "centred": False}))
        assert found == pytest.approx(raw, rel=1e-3)

    def test_a_convention_stands_for_a_weight(self, params: Params) -> None:
        published = value(objective(params, {"name": "unit-mse", "convention": "kd-fairness"}))
        assert published == pytest.approx(10_000 / WIDTH * value(objective(params, "unit-mse")))

    def test_terms_are_added_by_their_weights(self, params: Params) -> None:
        both = [{"name": "cosine", "weight": 0.3}, {"name": "relational", "weight": 5.0}]
        expected = 0.3 * value(objective(params, "cosine"))
        expected += 5.0 * value(objective(params, "relational"))
        assert value(objective(params, both)) == pytest.approx(expected, rel=1e-5)


class TestSeveralTeachers:
    def test_teachers_are_added_by_their_weights(self, params: Params) -> None:
        teachers = {"dlib-resnet": Tuition(0.5), "other": Tuition(2.0)}
        found = value(objective(params, "relational", teachers=teachers))
        expected = 0.5 * slow.relational(OUTPUTS.numpy(), STANDARDISED.numpy())
        expected += 2.0 * slow.relational(OUTPUTS.numpy(), RAW["other"].numpy() / 0.5)
        assert found == pytest.approx(expected, rel=1e-4)

    def test_a_projection_leads_to_another_width_and_is_trained(self, params: Params) -> None:
        teachers = {"other": Tuition(1.0, projection=True)}
        made = objective(params, "standardised-mse", teachers=teachers, embedding_width=WIDTH)
        weight, bias = made.parameters()
        assert weight.shape == (OTHER, WIDTH)
        projected = OUTPUTS @ weight.T + bias
        expected = slow.mse(projected.detach().numpy(), RAW["other"].numpy() / 0.5)
        assert value(made) == pytest.approx(expected, rel=1e-5)
        made(OUTPUTS, Supervision(**GIVEN)).backward()
        assert weight.grad is not None and weight.grad.abs().sum() > 0

    def test_pairs_are_compared_past_the_projection(self, params: Params) -> None:
        teachers = {"other": Tuition(1.0, projection=True)}
        made = objective(params, "relational", teachers=teachers, embedding_width=WIDTH)
        expected = slow.relational(OUTPUTS.numpy(), RAW["other"].numpy())
        assert value(made) == pytest.approx(expected, rel=1e-4)

    def test_snapshots_take_turns(self) -> None:
        targets = [Target(torch.zeros(WIDTH), 1.0), Target(torch.ones(WIDTH), 2.0)]
        terms = Losses.parsed("standardised-mse", "loss").terms
        made = Teaching(["e0", "e1"], targets, terms)
        raw = {"e0": drawn(4, BATCH, WIDTH), "e1": drawn(5, BATCH, WIDTH)}
        for epoch, wanted in enumerate([raw["e0"], (raw["e1"] - 1.0) / 2.0]):
            found = made(OUTPUTS, Supervision(raw, LABELS, epoch))
            assert float(found) == pytest.approx(slow.mse(OUTPUTS.numpy(), wanted.numpy()))

    @pytest.mark.parametrize(
        ("loss", "train", "names"),
        [
            ("cosine", {}, ("dlib-resnet",)),
            ("arcface", {}, ()),
            ("cosine", {"teachers": {"b": Tuition(), "a": Tuition()}}, ("b", "a")),
            ("cosine", {"snapshots": ("e0", "e1")}, ("e0", "e1")),
        ],
    )
    def test_only_the_stores_that_are_looked_at_are_needed(
        self, params: Params, loss: str, train: dict[str, Any], names: tuple[str, ...]
    ) -> None:
        changed = replace(params.train, loss=Losses.parsed(loss, "loss"), **train)
        assert teachers_of(replace(params, train=changed)) == names


class TestMargins:
    def test_a_margin_is_added_to_what_the_teacher_asks(self, params: Params) -> None:
        both = objective(params, ["cosine", {"name": "cosface", "weight": 0.1}])
        alone = objective(params, "cosface", embedding_width=WIDTH)
        expected = value(objective(params, "cosine")) + 0.1 * value(alone)
        assert value(both) == pytest.approx(expected, rel=1e-5)

    def test_centres_are_the_teacher_s_standardised_embeddings(self, params: Params) -> None:
        made = objective(params, {"name": "cosface", "centres": "adadistill-unweighted"},
                         teachers={"dlib-resnet": Tuition()})  # fmt: skip
        assert not [p for p in made.parameters() if p.requires_grad]
        opposite = -STANDARDISED  # so that the centre is the teacher's
        only = {"dlib-resnet": RAW["dlib-resnet"]}
        made(opposite, Supervision(only, torch.tensor([0, 1, 2, 3, -1, -1, -1, -1]), 0))
        found = dict(made.named_parameters())["head.prototypes"]
        expected = torch.nn.functional.normalize(STANDARDISED[:4])
        torch.testing.assert_close(found.detach(), expected, atol=1e-4, rtol=0)

    @pytest.mark.parametrize("name", ["arcface", "cosface", "adaface", "elastic-arcface"])
    def test_unlabelled_faces_move_neither_student_nor_prototypes(
        self, params: Params, name: str
    ) -> None:
        outputs = OUTPUTS.clone().requires_grad_(True)
        made = objective(params, name, embedding_width=WIDTH)
        made(outputs, Supervision(**GIVEN)).backward()
        assert outputs.grad is not None
        moved = outputs.grad.abs().sum(dim=1) > 0
        assert moved.tolist() == (LABELS >= 0).tolist()
        nobody = Supervision(RAW, torch.full((BATCH,), -1), 0)
        loss = objective(params, name, embedding_width=WIDTH)(outputs, nobody)
        assert float(loss.detach()) == 0.0

    def test_elastic_margins_differ_by_batch_and_come_back_with_the_state(self) -> None:
        torch.manual_seed(3)
        one, other = (
            MarginHead(Margin("elastic-arcface", margin_spread=0.2), 4, WIDTH) for _ in "ab"
        )
        first = one(OUTPUTS, LABELS)[1]
        state = {name: tensor.clone() for name, tensor in one.state_dict().items()}
        second = one(OUTPUTS, LABELS)[1]
        assert not torch.equal(first, second)
        other.load_state_dict(state)
        assert torch.equal(other(OUTPUTS, LABELS)[1], second)

    def test_elastic_margins_have_their_mean_and_spread(self) -> None:
        head = MarginHead(Margin("elastic-cosface", margin=0.35, margin_spread=0.05), 1, WIDTH)
        rows, labels = OUTPUTS[:1].expand(4000, -1), torch.zeros(4000, dtype=torch.long)
        margins = (head.eval()(rows, labels)[1] - head.train()(rows, labels)[1]) / 64.0
        assert float(margins.detach().mean()) == pytest.approx(0.0, abs=0.005)
        assert float(margins.detach().std()) == pytest.approx(0.05, rel=0.05)

    def test_adaface_follows_the_norms(self) -> None:
        head = MarginHead(Margin("adaface", running_share=0.25), 4, WIDTH)
        head(OUTPUTS, LABELS)
        norms = OUTPUTS.norm(dim=1)
        first = torch.stack([norms.mean(), norms.std(correction=0)])
        torch.testing.assert_close(head.norms, first)
        head(OUTPUTS * 3, LABELS)
        torch.testing.assert_close(head.norms, first * 1.5)  # a quarter of the way from 1 to 3

    def test_running_figures_begin_with_the_first_batch(self) -> None:
        found = running(torch.tensor([float("nan"), 2.0]), torch.tensor([5.0, 6.0]), 0.25)
        assert found.tolist() == [5.0, 3.0]


class TestMemory:
    TERMS = ("relational", "ekd")

    def memorised(self, name: str, batches: int) -> Comparison:
        (term,) = Losses.parsed({"name": name, "memory": batches}, "loss").terms
        return comparison(term)

    def losses(self, made: Comparison, steps: range) -> list[Tensor]:
        return [
            made(drawn(at, BATCH, WIDTH), drawn(-at, BATCH, OTHER), LABELS, TARGETS["other"])
            for at in steps
        ]

    def test_pairs_are_made_with_the_last_batches(self) -> None:
        found = self.losses(self.memorised("relational", 2), range(1, 5))
        for step, loss in enumerate(found, start=1):
            seen = range(step, max(0, step - 3), -1)  # this one and two before
            ours = np.concatenate([drawn(at, BATCH, WIDTH).numpy() for at in seen])
            theirs = np.concatenate([drawn(-at, BATCH, OTHER).numpy() for at in seen])
            assert float(loss) == pytest.approx(slow.relational(ours, theirs, now=BATCH), rel=1e-4)

    @pytest.mark.parametrize("name", TERMS)
    def test_what_is_remembered_comes_back_with_the_state(self, name: str) -> None:
        straight, first, then = (self.memorised(name, 2) for _ in "abc")
        expected = self.losses(straight, range(1, 7))[4:]
        self.losses(first, range(1, 5))
        then.load_state_dict({key: tensor.clone() for key, tensor in first.state_dict().items()})
        assert torch.equal(torch.stack(self.losses(then, range(5, 7))), torch.stack(expected))
        assert not torch.equal(torch.stack(self.losses(self.memorised(name, 2), range(5, 7))),
                               torch.stack(expected))  # fmt: skip

    @pytest.mark.parametrize("name", TERMS)
    def test_faces_of_the_past_get_no_gradient(self, name: str) -> None:
        made = self.memorised(name, 1)
        past = OUTPUTS.clone().requires_grad_(True)
        made(past, RAW["other"], LABELS, TARGETS["other"])
        now = drawn(9, BATCH, WIDTH).requires_grad_(True)
        made(now, drawn(8, BATCH, OTHER), LABELS, TARGETS["other"]).backward()
        assert past.grad is None and now.grad is not None and now.grad.any()

    @pytest.mark.parametrize("name", TERMS)
    def test_none_is_kept_where_none_is_asked_for(self, name: str) -> None:
        made = self.memorised(name, 0)
        self.losses(made, range(1, 3))
        assert not [key for key in made.state_dict() if "memory" in key]


class TestRanks:
    def test_ekd_by_hand(self) -> None:
        """Two people, two photographs each; thresholds of the first batch are its own."""
        term = ThresholdRanks("ekd", positive_weight=2.0, negative_weight=3.0, thresholds=1)
        labels = torch.tensor([0, 0, 1, 1])
        ours, theirs = OUTPUTS[:4], drawn(7, 4, OTHER)
        found = float(RankComparison(term)(ours, theirs, labels, TARGETS["other"]))
        cosines = []
        for rows in (ours.numpy(), theirs.numpy()):
            unit = np.stack([slow.unit(row) for row in rows])
            cosines.append(unit @ unit.T)
        negatives = [(0, 2), (0, 3), (1, 2), (1, 3)]
        counts = []
        for cosine in cosines:
            threshold = max(cosine[pair] for pair in negatives)
            pairs = [(0, 1), (2, 3), *negatives]
            counts.append([slow.soft_count(cosine[pair], [threshold], 0.01) for pair in pairs])
        squares = (np.array(counts[0]) - np.array(counts[1])) ** 2
        assert found == pytest.approx(2 * squares[:2].mean() + 3 * squares[2:].mean(), abs=1e-3)

    def test_only_the_hardest_negatives_count(self) -> None:
        """The hardest pair of the student is the teacher's easiest."""
        term = ThresholdRanks("ekd", positive_weight=0.0, hardest=1, thresholds=1)
        labels, ours = torch.tensor([0, 1, 2]), torch.eye(3) + 0.1
        ours[0, 1] = 5.0
        theirs = torch.eye(3)
        target = Target(torch.zeros(3), 1.0)
        one = RankComparison(term)(ours, theirs, labels, target)
        every = RankComparison(replace(term, hardest=3))(ours, theirs, labels, target)
        assert float(one) != pytest.approx(float(every), rel=0.01)

    def test_before_two_people_met_there_is_nothing_to_learn(self) -> None:
        made = RankComparison(ThresholdRanks("ekd"))
        outputs = OUTPUTS.clone().requires_grad_(True)
        nobody = torch.full((BATCH,), -1)
        loss = made(outputs, RAW["other"], nobody, TARGETS["other"])
        loss.backward()
        assert float(loss.detach()) == 0.0
        assert torch.isfinite(made(outputs, RAW["other"], LABELS, TARGETS["other"]).detach())
        after = made(outputs, RAW["other"], nobody, TARGETS["other"])  # with thresholds by now
        assert float(after.detach()) == 0.0


class TestGroups:
    def test_a_student_with_the_teachers_logits_has_nothing_to_learn(self, params: Params) -> None:
        (_, term) = Losses.parsed(
            ["cosface", {"name": "gkd", "head": "runs/t", "group_step": 1}], "loss"
        ).terms
        head = MarginHead(Margin("cosface", margin=0.4), IDENTITIES, WIDTH).eval()
        made = GroupedComparison(term, head)
        logits = head.logits(OUTPUTS, LABELS)
        assert float(made(logits, OUTPUTS, LABELS, 20).detach()) == pytest.approx(0.0, abs=1e-4)
        other = made(logits.flip(1), OUTPUTS, LABELS, 20)
        assert float(made(logits.flip(1), OUTPUTS, LABELS, 0)) == 0.0
        halfway = made(logits.flip(1), OUTPUTS, LABELS, 5)
        assert float(halfway.detach()) == pytest.approx(float(other.detach()) / 2) != 0.0
        assert not any(parameter.requires_grad for parameter in made.parameters())


class TestFused:
    def test_a_fused_target_is_the_adaptors_and_does_not_move_it(self) -> None:
        inputs = [Input("other", OTHER, "0"), Input("dlib-resnet", WIDTH, "1")]
        adaptor = Adaptor("double-linear-dropout", inputs, WIDTH)
        joined = adaptor.join(RAW)
        units = [np.stack([slow.unit(row) for row in RAW[i.name].numpy()]) for i in inputs]
        np.testing.assert_allclose(joined.numpy(), np.concatenate(units, axis=1), rtol=1e-5)
        first, _, _, last = adaptor.layers
        hidden = torch.nn.functional.leaky_relu(first(joined), 0.01)
        expected = torch.nn.functional.normalize(last(hidden)).detach()
        torch.testing.assert_close(adaptor.fused(RAW), expected)
        made = Fused(adaptor, Losses.parsed("mse", "loss").terms)
        outputs = OUTPUTS.clone().requires_grad_(True)
        loss = made(outputs, Supervision(**GIVEN))
        loss.backward()
        assert float(loss.detach()) == pytest.approx(slow.mse(OUTPUTS.numpy(), expected.numpy()))
        assert outputs.grad is not None and first.weight.grad is None


@pytest.mark.parametrize(
    "loss",
    ["mse", "cosine", "unit-mse", "relational", "arcface", "cosface", "adaface",
     "elastic-arcface", ["standardised-mse", {"name": "ekd", "weight": 5}]],
    ids=str,
)  # fmt: skip
def test_following_the_gradient_lowers_every_objective(params: Params, loss: Any) -> None:
    made = objective(params, loss, embedding_width=WIDTH)
    outputs = OUTPUTS.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([outputs, *made.parameters()], lr=0.05)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        found = made(outputs, Supervision(**GIVEN))
        found.backward()
        optimizer.step()
        losses.append(float(found.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_what_a_head_loses_is_the_cross_entropy_of_its_logits() -> None:
    head = MarginHead(Margin("arcface"), IDENTITIES, WIDTH)
    loss, logits = head(OUTPUTS, LABELS)
    torch.testing.assert_close(loss, labelled_cross_entropy(logits, LABELS))
