"""Training runs: resuming is exact, empty rounds pass the student on, chains are checked."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import train.engine.trainer as stage
from manifests.core import layout
from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from manifests.records.marks import Mark, Marks
from manifests.settings.objectives import IdentityPart, Losses
from manifests.settings.params import Params, load_params
from manifests.settings.training import MinedRun, Run
from manifests.stores.rounds import open_round
from tests.conftest import ROOT
from tests.toys import make_round
from tests.train.toys import interrupted
from train.checkpoint import FILE, LOG, load_student
from train.engine.optimizers import learning_rate
from train.engine.supervised import open_plan
from train.engine.trainer import train_run
from train.train import rounds_to_measure

OUT = Path("runs/start")


def test_the_gap_is_measured_on_rounds_that_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert rounds_to_measure().startswith("ROUND, ")
    make_round("pool", 70)
    assert rounds_to_measure() == "pool"


def test_an_unknown_run_is_answered_with_where_to_add_it() -> None:
    with pytest.raises(InputError, match=r"unknown run 'mine'; valid names: .*start; or add it"):
        load_params(ROOT / "params.yaml").of_run("mine")


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    params = load_params(ROOT / "params.yaml")
    monkeypatch.chdir(tmp_path)
    make_round("pool", 150, seed=1)
    small = replace(params.train.student, name="small-resnet", input_size=32, width=0.25)
    run = Run(faces_seen=16 * 12, rate_from=1.0, rate_to=0.1)
    train = replace(
        params.train, student=small, batch=16, pool_rows=64, warmup_faces=32, checkpoint_faces=64,
        runs={"start": run}, leave_out=(),
    )  # fmt: skip
    mined = {"mined-1": MinedRun("start", 16 * 12, 1.0, 0.1)}
    return replace(params, teacher="toy", train=train, mined=mined, report="mined-1")


def with_runs(params: Params, run: Run) -> Params:
    return replace(params, train=replace(params.train, runs={"start": run}))


def weights(run: Path) -> str:
    return load_student(run).sha256


def test_a_run_leaves_a_student_that_knows_where_it_comes_from(params: Params) -> None:
    plan = open_plan("start", ["pool"], None, params)
    train_run(plan, OUT)
    card = load_student(OUT).card
    assert json.loads(card.stores) == plan.stores
    assert card.faces_seen == 192
    log = json.loads((OUT / LOG).read_text())
    assert log["rounds"] == ["pool"] and log["num_faces"] < 150
    assert [line["faces_seen"] for line in log["history"]] == list(range(16, 193, 16))


def test_a_run_ends_with_what_it_came_to(
    params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    train_run(open_plan("start", ["pool"], None, params), OUT)
    (said,) = capsys.readouterr().out.splitlines()
    assert said.startswith("runs/start: small-resnet, ") and "192 faces seen of " in said


def test_an_interrupted_run_ends_at_the_same_bits(params: Params) -> None:
    train_run(open_plan("start", ["pool"], None, params), OUT)
    straight = weights(OUT)
    plan = open_plan("start", ["pool"], None, params)
    (plan.work / LOG).unlink()

    with interrupted(stage, "train_steps", at=6):
        train_run(plan, OUT)
    assert (plan.work / "state.safetensors").exists()
    train_run(open_plan("start", ["pool"], None, params), OUT)
    assert weights(OUT) == straight


def test_a_run_that_other_code_began_is_not_gone_on_with(params: Params) -> None:
    plan = open_plan("start", ["pool"], None, params)
    with interrupted(stage, "train_steps", at=6):
        train_run(plan, OUT)
    begun = plan.work / "loaded.json"
    values = json.loads(begun.read_text(encoding="utf-8"))
    values["libraries"]["torch"] = "1.0"
    begun.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(
        InputError, match=r"unfinished with torch 1\.0, here it is .* to begin anew"
    ):
        train_run(open_plan("start", ["pool"], None, params), OUT)
    assert (plan.work / "state.safetensors").exists()


def test_a_finished_run_is_relinked(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    train_run(open_plan("start", ["pool"], None, params), OUT)
    before = sha256_file(OUT / FILE)
    (OUT / FILE).unlink()
    monkeypatch.setattr(stage, "train_steps", None)
    train_run(open_plan("start", ["pool"], None, params), OUT)
    assert sha256_file(OUT / FILE) == before


def test_a_finished_run_is_not_replaced_by_another_unless_it_is_said(params: Params) -> None:
    train_run(open_plan("start", ["pool"], None, params), OUT)
    before = weights(OUT)
    other = replace(params, train=replace(params.train, loss=Losses.parsed("mse", "loss")))
    plan = open_plan("start", ["pool"], None, other)
    with pytest.raises(InputError, match=r"^runs/start: .* finished with train\.loss\."):
        train_run(plan, OUT)
    assert weights(OUT) == before
    train_run(open_plan("start", ["pool"], None, params), OUT)  # the same again is no other
    train_run(plan, OUT, force=True)
    assert weights(OUT) != before


def test_what_is_finished_is_not_trained_again_where_scratch_is_gone(
    params: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train_run(open_plan("start", ["pool"], None, params), OUT)
    shutil.rmtree(layout.WORK)
    with monkeypatch.context() as patch:
        patch.setattr(stage, "train_steps", None)
        train_run(open_plan("start", ["pool"], None, params), OUT)
    assert "runs/start: done before; small-resnet" in capsys.readouterr().out


def test_an_older_run_that_does_not_state_all_is_the_same_unless_it_differs(params: Params) -> None:
    train_run(open_plan("start", ["pool"], None, params), OUT)
    before = weights(OUT)
    shutil.rmtree(layout.WORK)
    log = json.loads((OUT / LOG).read_text())
    del log["header"]["inputs_sha256"]
    (OUT / LOG).write_text(json.dumps(log))
    other = replace(params, train=replace(params.train, loss=Losses.parsed("mse", "loss")))
    with pytest.raises(InputError, match=r"^runs/start: .* finished with train\.loss\."):
        train_run(open_plan("start", ["pool"], None, other), OUT)
    train_run(open_plan("start", ["pool"], None, params), OUT)
    assert weights(OUT) == before


def test_force_begins_the_same_run_anew(params: Params) -> None:
    plan = open_plan("start", ["pool"], None, params)
    train_run(plan, OUT)
    (OUT / "stray").touch()
    train_run(plan, OUT, force=True)
    assert not (OUT / "stray").exists()
    with interrupted(stage, "train_steps", at=6):
        train_run(plan, OUT, force=True)
    assert (plan.work / "state.safetensors").exists()
    train_run(plan, OUT)  # goes on with what was begun in its place
    assert not (plan.work / "state.safetensors").exists()


def test_a_run_of_other_threads_is_another(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "said")  # else the number that it was begun with holds
    train_run(open_plan("start", ["pool"], None, params), OUT)
    torch.set_num_threads(torch.get_num_threads() + 1)
    try:
        with pytest.raises(InputError, match=r"finished with threads \d, now it is \d; .*--force"):
            train_run(open_plan("start", ["pool"], None, params), OUT)
    finally:
        torch.set_num_threads(torch.get_num_threads() - 1)


def test_a_run_does_not_take_the_place_of_other_files(params: Params) -> None:
    OUT.mkdir(parents=True)
    train_run(open_plan("start", ["pool"], None, params), OUT)  # an empty folder is none
    (OUT / LOG).write_text('{"kind": "single-linear", "teachers": ["a", "b"]}')
    with pytest.raises(InputError, match=r"^runs/start: holds other files, and no trained"):
        train_run(open_plan("start", ["pool"], None, params), OUT)


def test_an_unfinished_run_is_begun_anew_where_it_is_said(params: Params) -> None:
    with interrupted(stage, "train_steps", at=6):
        train_run(open_plan("start", ["pool"], None, params), OUT)
    other = replace(params, train=replace(params.train, loss=Losses.parsed("mse", "loss")))
    plan = open_plan("start", ["pool"], None, other)
    with pytest.raises(InputError, match=r"stopped there unfinished with .*anew with --force"):
        train_run(plan, OUT)
    train_run(plan, OUT, force=True)
    assert [path.name for path in plan.work.parent.iterdir()] == [plan.work.name]


def test_an_empty_mined_round_passes_the_last_student_on(params: Params) -> None:
    train_run(open_plan("start", ["pool"], None, params), OUT)
    make_round("mined-1", 0, origin="mined")
    train_run(open_plan("mined-1", ["mined-1"], "start", params), Path("runs/mined-1"))
    assert weights(Path("runs/mined-1")) == weights(OUT)
    assert load_student(Path("runs/mined-1")).card.faces_seen == 192


def test_rounds_that_the_run_before_saw_are_no_new_ones(params: Params) -> None:
    train_run(open_plan("start", ["pool"], None, params), OUT)
    with pytest.raises(InputError, match="pool: run start was trained on all of them; name a new"):
        open_plan("mined-1", ["pool"], "start", params)
    make_round("mined-1", 100, seed=9, origin="mined")
    plan = open_plan("mined-1", ["pool", "mined-1"], "start", params)
    assert (plan.rounds, plan.num_new) == (["pool", "mined-1"], 1)


def test_a_later_run_continues_on_the_earlier_rounds(params: Params) -> None:
    train_run(open_plan("start", ["pool"], None, params), OUT)
    make_round("mined-1", 100, seed=9, origin="mined")
    train_run(open_plan("mined-1", ["mined-1"], "start", params), Path("runs/mined-1"))
    card = load_student(Path("runs/mined-1")).card
    assert {Path(path).parts[1] for path in json.loads(card.stores)} == {"pool", "mined-1"}
    assert card.faces_seen == 384
    assert weights(Path("runs/mined-1")) != weights(OUT)


def test_a_store_that_changed_since_the_last_run_is_refused(params: Params) -> None:
    train_run(open_plan("start", ["pool"], None, params), OUT)
    make_round("pool", 150, seed=2)
    make_round("mined-1", 100, seed=9)
    with pytest.raises(InputError, match=r"data/pool/faces\.zarr: made from root"):
        open_plan("mined-1", ["mined-1"], "start", params)


def test_runs_draw_different_noise_and_orders(params: Params) -> None:
    seeds = {open_plan(name, ["pool"], None, params).seed for name in ("start", "mined-1")}
    assert len(seeds) == 2


def test_continuing_with_another_student_or_teacher_is_refused(params: Params) -> None:
    train_run(open_plan("start", ["pool"], None, params), OUT)
    make_round("mined-1", 100, seed=9)
    wider = replace(params.train, student=replace(params.train.student, width=0.5))
    with pytest.raises(
        InputError, match=r"small-resnet of width 0\.25 .* asks for small-resnet, 0\.5"
    ):
        open_plan("mined-1", ["mined-1"], "start", replace(params, train=wider))
    with pytest.raises(InputError, match="not taught by dlib-resnet"):
        open_plan("mined-1", ["mined-1"], "start", replace(params, teacher="dlib-resnet"))


def test_a_damaged_finished_run_is_trained_again(params: Params) -> None:
    plan = open_plan("start", ["pool"], None, params)
    train_run(plan, OUT)
    straight = weights(OUT)
    log = json.loads((plan.work / LOG).read_text())
    log["student"]["sha256"] = "0" * 64
    (plan.work / LOG).unlink()
    (plan.work / LOG).write_text(json.dumps(log))
    train_run(open_plan("start", ["pool"], None, params), OUT)
    assert weights(OUT) == straight
    assert json.loads((OUT / LOG).read_text())["student"]["sha256"] == straight


def test_the_probe_is_never_trained_on(params: Params) -> None:
    make_round("probe", 100, seed=4)
    with pytest.raises(InputError, match="probe is never trained on"):
        open_plan("start", ["pool", "probe"], None, params)


def test_fewer_faces_than_a_batch_do_not_pass_for_a_run(params: Params) -> None:
    with pytest.raises(InputError, match="less than one batch of 16"):
        open_plan("start", ["pool"], None, with_runs(params, Run(15, 1.0, 0.1)))


@pytest.mark.parametrize(
    ("run", "line"),
    [
        (Run(0, 1.0, 0.1), r"run start: no faces to see .* no --after"),
        (Run(160, 1.0, 0.1, IdentityPart(0, 4)), r"none of 0 identities is in it; ask for fewer"),
    ],
    ids=["none asked for", "none with an identity"],
)
def test_a_first_run_without_faces_is_refused(params: Params, run: Run, line: str) -> None:
    with pytest.raises(InputError, match=line):
        open_plan("start", ["pool"], None, with_runs(params, run))


def test_continuing_with_embeddings_of_another_width_is_refused(params: Params) -> None:
    pairs = replace(params.train, loss=Losses.parsed("relational", "loss"))
    train_run(open_plan("start", ["pool"], None, replace(params, train=pairs)), OUT)
    make_round("mined-1", 100, seed=9)
    wider = replace(params, train=replace(pairs, embedding_width=24))
    with pytest.raises(InputError, match=r"runs/start: embeddings of 16 numbers, .* asks for 24"):
        open_plan("mined-1", ["mined-1"], "start", wider)


def test_a_diverged_loss_stops_the_run(params: Params) -> None:
    broken = replace(params.train, learning_rate=1e38)
    with pytest.raises(InputError, match=r"lower train\.learning_rate"):
        train_run(open_plan("start", ["pool"], None, replace(params, train=broken)), OUT)


def test_no_student_in_a_folder_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no student here"):
        load_student(tmp_path)
    (tmp_path / FILE).write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="not a student checkpoint"):
        load_student(tmp_path)


def test_learning_rate_warms_up_and_falls_in_a_line(params: Params) -> None:
    run = Run(faces_seen=1600, rate_from=1.0, rate_to=0.5)
    rates = [learning_rate(step, 100, run, params.train) for step in range(100)]
    peak = params.train.learning_rate
    assert rates[0] == pytest.approx(peak / 2)  # half of the 32 warm-up faces
    assert rates[50] == pytest.approx(peak * 0.75)
    assert rates[99] == pytest.approx(peak * 0.505)


def test_weights_digest_does_not_depend_on_metadata(params: Params) -> None:
    train_run(open_plan("start", ["pool"], None, params), OUT)
    student = load_student(OUT)
    with torch.no_grad():
        next(student.network.parameters()).add_(1.0)
    stage.save_student(Path("runs/other") / FILE, student.network, student.card)
    assert weights(Path("runs/other")) != student.sha256
    renamed = replace(student.card, git_commit="another")
    stage.save_student(Path("runs/third") / FILE, load_student(OUT).network, renamed)
    assert weights(Path("runs/third")) == student.sha256


def test_one_student_is_one_file(params: Params) -> None:
    """The library gives metadata of several keys another order every time."""
    train_run(open_plan("start", ["pool"], None, params), OUT)
    student = load_student(OUT)
    for time in range(8):
        path = Path(f"runs/again-{time}") / FILE
        stage.save_student(path, student.network, student.card)
        assert sha256_file(path) == sha256_file(OUT / FILE)
    with safe_open(OUT / FILE, framework="pt") as opened:
        assert opened.metadata()["training"] == student.card.training
    assert (8 + int.from_bytes((OUT / FILE).read_bytes()[:8], "little")) % 8 == 0


class TestLeavingFacesOut:
    @pytest.fixture
    def choosy(self, params: Params) -> Params:
        """Parameters that leave out near-duplicates; two faces of the pool are marked so."""
        self.mark(3, 7)
        return replace(params, train=replace(params.train, leave_out=("near_duplicate",)))

    def mark(self, *rows: int) -> None:
        files = open_round("pool", "toy")
        usable = np.flatnonzero(files.faces.ok())
        marks = tuple(Mark(int(usable[at]), "near_duplicate", 0.99, "pool", 0) for at in rows)
        other = Mark(int(usable[20]), "low_quality", -1.0)
        roots = files.faces.root, files.teacher.root
        Marks((*marks, other), *roots, {}).write(layout.marks("pool", "toy"))

    def test_marked_faces_are_not_trained_on(self, choosy: Params) -> None:
        plan = open_plan("start", ["pool"], None, choosy)
        usable = np.flatnonzero(plan.sources[0].faces.ok())
        assert set(usable) - set(plan.sources[0].usable) == {usable[3], usable[7]}

    def test_the_student_names_the_marks(self, choosy: Params) -> None:
        train_run(open_plan("start", ["pool"], None, choosy), OUT)
        assert "data/pool/marks/toy.parquet" in json.loads(load_student(OUT).card.stores)

    def test_other_marks_are_another_run(self, choosy: Params) -> None:
        before = open_plan("start", ["pool"], None, choosy).work
        self.mark(3)
        assert open_plan("start", ["pool"], None, choosy).work != before

    def test_marks_drawn_anew_do_not_fit_the_earlier_run(self, choosy: Params) -> None:
        train_run(open_plan("start", ["pool"], None, choosy), OUT)
        make_round("mined-1", 100, seed=9)
        self.mark(3)
        with pytest.raises(InputError, match=r"marks/toy\.parquet: drawn anew since the last run"):
            open_plan("mined-1", ["mined-1"], "start", choosy)

    def test_without_marks_it_says_how_to_draw_them(self, choosy: Params) -> None:
        layout.marks("pool", "toy").unlink()
        with pytest.raises(InputError, match=r"run `facestill screen pool`"):
            open_plan("start", ["pool"], None, choosy)
