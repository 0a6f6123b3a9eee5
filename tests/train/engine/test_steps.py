"""What the engine's switches do to a step, and that every one of them resumes to the same bits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import train.engine.trainer as trainer
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.settings.params import Params
from pipeline.arrays import numerics
from pipeline.arrays.frames import ARCFACE112, WIDE
from tests.toys import FACE_SIZE, make_round
from tests.train.toys import OUT, interrupted, small_params, with_engine, with_train
from train.batching.batches import Batch
from train.checkpoint import LOG, load_student
from train.engine import preflight
from train.engine.state import STATE
from train.engine.steps import NotFinite, make_learner, supervised_loss, train_steps
from train.engine.supervised import open_plan
from train.engine.trainer import NOT_FINITE, train_run
from train.losses.objectives import Objective, Supervision
from train.students import build_student


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(tmp_path)
    return small_params()


def trained(params: Params) -> str:
    """The digest of the student of a whole run, begun anew."""
    plan = open_plan("start", ["pool"], None, params)
    (plan.work / LOG).unlink(missing_ok=True)
    train_run(plan, OUT)
    return load_student(OUT).sha256


def test_a_student_with_dropout_resumes_to_the_same_bits(params: Params) -> None:
    """What it drops is a function of seed and step, whoever drew from torch before."""
    student = replace(params.train.student, name="iresnet-50-dropout", width=0.01)
    own = with_train(params, student=student)
    straight = trained(own)
    plan = open_plan("start", ["pool"], None, own)
    (plan.work / LOG).unlink()
    with interrupted(trainer, "train_steps", at=7):
        train_run(plan, OUT)
    torch.rand(100)
    train_run(plan, OUT)
    assert load_student(OUT).sha256 == straight


ENGINES: list[dict[str, Any]] = [
    {"optimizer": "sgd", "schedule": "cosine", "ema": 0.9, "precision": "bfloat16"},
    {"optimizer": "adamw", "schedule": "step", "clip_norm": 0.1, "channels_last": False,
     "batch_norm": "frozen"},
    {"optimizer": "muon", "channels_last": True},
]  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES, ids=["sgd", "adamw", "muon"])
def test_every_switch_resumes_to_the_same_bits(params: Params, engine: dict[str, Any]) -> None:
    own = with_engine(params, **engine)
    plan = open_plan("start", ["pool"], None, own)

    with interrupted(trainer, "train_steps", at=3):
        train_run(plan, OUT)
    assert (plan.work / STATE).exists()
    train_run(open_plan("start", ["pool"], None, own), OUT)
    resumed = load_student(OUT).sha256
    assert resumed == trained(own)


def test_a_run_with_other_parameters_does_not_pass_for_the_unfinished_one(params: Params) -> None:
    with interrupted(trainer, "train_steps", at=3):
        train_run(open_plan("start", ["pool"], None, params), OUT)
    other = open_plan("start", ["pool"], None, with_engine(params, ema=0.5))
    with pytest.raises(
        InputError, match=r"unfinished with train\.engine\.ema 0\.0, now it is 0\.5; put it back"
    ):
        train_run(other, OUT)


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Says whether this machine computes bfloat16 natively."""
    return lambda found: monkeypatch.setattr(numerics, "has_bfloat16", lambda place: found)


def test_precision_is_what_the_machine_has_and_stated(
    params: Params, native: Callable[[bool], None]
) -> None:
    own, found = with_engine(params, precision="auto"), {}
    for used, there in (("float32", False), ("bfloat16", True)):
        native(there)
        shutil.rmtree(OUT, ignore_errors=True)
        found[used] = trained(own)
        log = json.loads((OUT / LOG).read_text())
        assert log["header"]["precision"] == {"asked": "auto", "used": used}
        assert log["params"]["engine"]["precision"] == log["student"]["precision"] == used
        assert load_student(OUT).card.precision == used
        shutil.rmtree(OUT)
        assert trained(with_engine(params, precision=used)) == found[used]
    assert found["float32"] != found["bfloat16"]


def test_a_run_is_not_gone_on_with_where_auto_is_another(
    params: Params, native: Callable[[bool], None]
) -> None:
    native(True)
    own = with_engine(params, precision="auto")
    with interrupted(trainer, "train_steps", at=3):
        train_run(open_plan("start", ["pool"], None, own), OUT)
    native(False)
    said = r'unfinished with train\.engine\.precision "bfloat16", now it is "float32"; say train\.'
    with pytest.raises(InputError, match=said + r"engine\.precision: bfloat16 to go on"):
        train_run(open_plan("start", ["pool"], None, own), OUT)
    train_run(open_plan("start", ["pool"], None, with_engine(params, precision="bfloat16")), OUT)
    with pytest.raises(InputError, match=r'finished with train\.engine\.precision "bfloat16"'):
        train_run(open_plan("start", ["pool"], None, own), OUT)


def test_auto_looks_at_the_student(params: Params, native: Callable[[bool], None]) -> None:
    native(True)
    auto = with_engine(params, precision="auto")
    for name, used in (("small-resnet", "bfloat16"), ("mobilefacenet", "float32")):
        own = with_train(auto, student=replace(auto.train.student, name=name))
        plan = open_plan("start", ["pool"], None, replace(own, device="cpu"))
        assert plan.train.engine.precision == plan.inputs["train"]["engine"]["precision"] == used


def test_a_student_that_is_gone_on_with_in_another_precision_states_both(params: Params) -> None:
    make_round("mined-1", 100, seed=9, origin="mined")
    trained(params)
    after = open_plan("mined-1", ["mined-1"], "start", with_engine(params, precision="bfloat16"))
    assert after.precision == "bfloat16, float32"


def test_the_average_is_what_is_exported(params: Params) -> None:
    own = with_engine(params, ema=0.999)
    learners = []

    def noted(*args: Any, **kwargs: Any) -> Any:
        learners.append(make_learner(*args, **kwargs))
        return learners[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.engine.supervised.make_learner", noted)
        trained(own)
    (learner,) = learners
    assert learner.average is not None
    kept = load_student(OUT).network.state_dict()
    average, last = learner.average.network.state_dict(), learner.network.state_dict()
    assert all(torch.equal(kept[name], average[name]) for name in kept)
    assert not all(torch.equal(kept[name], last[name]) for name in kept)


def test_each_whole_epoch_leaves_its_student(params: Params) -> None:
    plan = open_plan("start", ["pool"], None, with_engine(params, keep_epochs=True))
    train_run(plan, OUT)
    epochs = plan.num_steps * 16 // plan.num_faces
    assert epochs == 1
    assert [path.name for path in (OUT / "snapshots").iterdir()] == ["000"]
    kept = load_student(OUT / "snapshots/000")
    assert kept.card.faces_seen == -(-plan.num_faces // 16) * 16
    assert kept.sha256 != load_student(OUT).sha256


def test_the_header_says_where_a_run_comes_from(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    trained(params)
    header = json.loads((OUT / LOG).read_text())["header"]
    plan = open_plan("start", ["pool"], None, params)
    assert header["git_commit"] is None
    assert header["stores"] == plan.stores
    assert header["params_sha256"] == load_student(OUT).card.params_sha256
    assert header["seeds"] == {"train.seed": params.train.seed, "run": plan.seed}
    assert header["hardware"]["threads"] == torch.get_num_threads()
    assert header["hardware"]["processes"] == 1 and header["seconds"] > 0


class Spoilt(nn.Module):
    """A network whose third output is no number."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = build_student("small-resnet", input_size=32, width=0.25, embedding_width=16)
        self.calls = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        found: torch.Tensor = self.inner(images)
        return found * float("nan") if self.calls == 3 else found


class Square(Objective):
    def forward(self, embeddings: torch.Tensor, supervision: Supervision) -> torch.Tensor:
        return embeddings.square().mean()


def batches(count: int, size: int = 8) -> Iterator[Batch]:
    generator = torch.Generator().manual_seed(5)
    for number in range(count):
        shape = (size, FACE_SIZE, FACE_SIZE, 3)
        images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        ids = torch.arange(size) + 100 * number
        yield Batch(images, {"toy": torch.zeros(size, 2, 16)}, torch.full((size,), -1), ids)


class Steep(Objective):
    """A loss of 0, whose gradient is no number there."""

    def forward(self, embeddings: torch.Tensor, supervision: Supervision) -> torch.Tensor:
        return (embeddings - embeddings.detach()).square().sum().sqrt()


def go(
    network: nn.Module, params: Params, count: int = 4, objective: type[Objective] = Square
) -> list[float]:
    """Losses of steps on random pictures."""
    learning = objective()
    learner = make_learner(network, learning, params.train)
    lines = train_steps(
        learner, batches(count),
        supervised_loss(
            network, learning, stored=WIDE.at(FACE_SIZE), seen=ARCFACE112.at(32),
            train=params.train, seed=1, num_faces=16,
        ),
        train=params.train, run=params.train.runs["start"], steps=range(count),
    )  # fmt: skip
    return [line.loss for line in lines]


def test_a_loss_that_is_no_number_names_the_faces_before_it_spoils_the_student(
    params: Params,
) -> None:
    network = Spoilt()
    with pytest.raises(NotFinite) as found:
        go(network, params)
    assert found.value.face_ids == list(range(200, 208))
    assert found.value.before == list(range(100, 108))
    assert all(value.isfinite().all() for value in network.state_dict().values())


def test_a_gradient_that_is_no_number_stops_before_its_own_step(params: Params) -> None:
    network = build_student("small-resnet", input_size=32, width=0.25, embedding_width=16)
    before = {name: value.clone() for name, value in network.named_parameters()}
    with pytest.raises(NotFinite, match="the gradient's norm is nan") as found:
        go(network, params, objective=Steep)
    assert found.value.face_ids == list(range(8)) and found.value.before == []
    assert all(torch.equal(value, before[name]) for name, value in network.named_parameters())


def test_a_diverged_run_leaves_the_ids_of_its_faces(params: Params) -> None:
    plan = open_plan("start", ["pool"], None, with_train(params, learning_rate=1e38))
    with pytest.raises(
        InputError, match=r"not-finite\.json\); lower train\.learning_rate"
    ) as found:
        train_run(plan, OUT)
    assert "\n" not in str(found.value)
    kept = json.loads((plan.work / NOT_FINITE).read_text())
    known = set(plan.sources[0].face_ids[plan.sources[0].usable].tolist())
    assert len(kept["face_ids"]) == 16 and set(kept["face_ids"]) <= known


@pytest.mark.skipif(not preflight.compiler(), reason="no C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # torch.compile's own, of itself
def test_a_compiled_network_learns_the_same(params: Params) -> None:
    losses = []
    for compiled in (False, True):
        torch.manual_seed(0)  # a small network: compiling a student takes a minute
        network = nn.Sequential(nn.Conv2d(3, 8, 4, stride=8), nn.Flatten(), nn.Linear(128, 16))
        losses.append(go(network, with_engine(params, compile=compiled)))
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_clipping_acts_on_the_gradients_of_its_own_step(params: Params) -> None:
    """SGD at a rate of 1: a step is as long as the gradient, at most as the limit."""
    own = with_train(
        with_engine(params, optimizer="sgd", momentum=0.0, clip_norm=0.01),
        learning_rate=1.0, warmup_faces=0, weight_decay=0.0,
    )  # fmt: skip
    torch.manual_seed(1)
    network = build_student("small-resnet", input_size=32, width=0.25, embedding_width=16)
    before = [p.detach().clone() for p in network.parameters()]
    go(network, own, count=1)
    after = [p.detach() for p in network.parameters()]
    moved = [(p - q).square().sum() for p, q in zip(after, before, strict=True)]
    assert float(torch.stack(moved).sum().sqrt()) == pytest.approx(0.01, rel=1e-3)


def test_frozen_statistics_stay(params: Params) -> None:
    network = build_student("small-resnet", input_size=32, width=0.25, embedding_width=16)
    go(network, with_engine(params, batch_norm="frozen"))
    means = [v for name, v in network.state_dict().items() if name.endswith("running_mean")]
    assert means and all((mean == 0).all() for mean in means)


def test_bfloat16_is_near_float32(params: Params) -> None:
    losses, threads = [], torch.get_num_threads()
    torch.set_num_threads(1)  # oneDNN's threads wait for each other by spinning
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(1)
        network = build_student("small-resnet", input_size=32, width=0.25, embedding_width=16)
        losses.append(go(network, with_engine(params, precision=precision), count=2))
    torch.set_num_threads(threads)
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_runs_log_live_where_dvclive_is(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[tuple[str, float]] = []

    class Live:
        def __init__(self, dir: str, resume: bool, **_: object) -> None:
            assert dir == str(layout.REPORTS / "live/start") and not resume

        def __enter__(self) -> Live:
            return self

        def __exit__(self, *_: object) -> None:
            lines.append(("end", 0.0))

        def log_metric(self, name: str, value: float) -> None:
            lines.append((name, value))

        def next_step(self) -> None:
            lines.append(("step", 0.0))

    own = with_train(params, live=True)
    with monkeypatch.context() as patch:
        patch.setitem(__import__("sys").modules, "dvclive", None)
        with pytest.raises(InputError, match="dvclive is not installed"):
            trained(own)
    module = type("dvclive", (), {"Live": Live})
    monkeypatch.setitem(__import__("sys").modules, "dvclive", module)
    trained(own)
    history = json.loads((OUT / LOG).read_text())["history"]
    assert [value for name, value in lines if name == "train/loss"] == [
        line["loss"] for line in history
    ]
    assert lines[-1] == ("end", 0.0)


def test_rounds_with_a_weight_are_seen_as_often(params: Params) -> None:
    plan = open_plan("start", ["pool"], None, with_train(params, round_weights={"pool": 2.0}))
    assert plan.num_faces == 2 * len(plan.sources[0].usable)
    assert replace(plan, params=params).num_faces == len(plan.sources[0].usable)
