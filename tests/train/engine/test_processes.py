"""Real processes: one that is killed, and two that train together."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from manifests.core.errors import InputError
from manifests.settings.params import load_params
from tests.toys import make_round
from tests.train.toys import LONGER, OUT, start, write_params
from train.checkpoint import LOG, load_student
from train.engine.processes import Processes, described
from train.engine.state import STATE
from train.engine.supervised import open_plan
from train.engine.trainer import train_run
from train.losses.margin_heads import load_head

TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_round("pool", 150, seed=1)
    return tmp_path


def finish(*launcher: str) -> dict[str, Any]:
    """The log of a whole run."""
    process = start(*launcher)
    _, messages = process.communicate()
    assert process.returncode == 0, messages
    return dict(json.loads((OUT / LOG).read_text()))


def test_a_killed_run_ends_at_the_same_bits(folder: Path) -> None:
    write_params(ema=0.9)
    straight = finish()["student"]["sha256"]
    for made in (".work", OUT):
        shutil.rmtree(made)
    process = start()
    while not list(folder.glob(f".work/train-start/*/{STATE}")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    (state,) = folder.glob(f".work/train-start/*/{STATE}")
    assert not (state.parent / LOG).exists()
    assert finish()["student"]["sha256"] == straight


def test_a_second_trainer_is_refused_and_told_by_whom(folder: Path) -> None:
    """Also one of other threads, which was told to remove the folder that the first works in."""
    write_params()
    first = start()
    try:
        while not list(folder.glob(f".work/train-start/*/{STATE}")):
            assert first.poll() is None, first.communicate()[1]
            time.sleep(0.002)
        first.send_signal(signal.SIGSTOP)  # it has not ended when the second one comes
        for threads in ("1", "2"):
            second = start(threads=threads)
            _, said = second.communicate()
            assert second.returncode == 2
            assert f"runs/start: being written by process {first.pid} on" in said
    finally:
        first.send_signal(signal.SIGCONT)
    first.communicate()
    assert first.returncode == 0 and (OUT / LOG).exists()


def test_two_processes_see_the_same_faces_and_learn_the_same(folder: Path) -> None:
    write_params(batch_norm="frozen", optimizer="sgd")
    alone = finish()
    network = load_student(OUT).network.state_dict()
    shutil.rmtree(OUT)
    together = finish(*TORCHRUN)
    assert together["header"]["hardware"]["processes"] == 2
    losses = [[line["loss"] for line in log["history"]] for log in (alone, together)]
    assert len(losses[0]) == LONGER
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    for name, value in load_student(OUT).network.state_dict().items():
        torch.testing.assert_close(value, network[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("centres", ["learnt", "adadistill"])
def test_two_processes_sample_the_same_identities_and_learn_the_same(
    centres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each adds its share to the gradient of the same prototypes, or moves them by the faces of
    all. Pairs within a batch are of a share: they weigh nothing here, but are remembered."""
    monkeypatch.chdir(tmp_path)
    make_round("pool", 150, seed=1, origin="boundary", identity_id=np.arange(150) % 50)
    margin = {"name": "cosface", "sample_rate": 0.5, "centres": centres}
    pairs = {"name": "relational", "memory": 2, "weight": 1e-7}
    write_params({"loss": [margin, pairs]}, batch_norm="frozen", optimizer="sgd")
    train_run(open_plan("start", ["pool"], None, load_params()), OUT)
    alone, (head, _) = json.loads((OUT / LOG).read_text()), load_head(OUT)
    shutil.rmtree(OUT)
    together, (other, _) = finish(*TORCHRUN), load_head(OUT)
    losses = [[line["loss"] for line in log["history"]] for log in (alone, together)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    torch.testing.assert_close(other.prototypes, head.prototypes, rtol=1e-3, atol=1e-5)


def test_ctrl_c_ends_training_in_one_line_and_it_goes_on(folder: Path) -> None:
    write_params()
    process = start()
    while not list(folder.glob(f".work/train-start/*/{STATE}")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate()
    assert process.returncode == 130
    *bar, said = messages.splitlines()
    assert said == "stopped; what is finished is kept, run it again to go on"
    assert all("train start" in line or not line for line in bar)
    assert finish()["header"]["num_seeds"] == 1


UNLIKE = """
import os, sys, train.train
from manifests.core.errors import run_command
sys.argv.pop(1)  # the module, in whose place this is
if os.environ["RANK"] == "1":
    {change}
run_command(train.train.main)
"""


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("import numpy; numpy.__version__ = '1.0'", "libraries"),
        ("train.train.load_params = lambda: changed()", "parameters, stores or arithmetic"),
        (
            "from pipeline.arrays import numerics; own = numerics.has_bfloat16; "
            "numerics.has_bfloat16 = lambda place: not own(place)",
            "parameters, stores or arithmetic",
        ),
    ],
)
def test_a_process_that_is_unlike_the_first_is_refused(
    folder: Path, change: str, what: str
) -> None:
    write_params(precision="auto")
    script = folder / "unlike.py"
    changed = "from tests.train.toys import reseeded as changed\n"
    script.write_text(changed + UNLIKE.format(change=change), encoding="utf-8")
    process = start(*TORCHRUN[:-1], script.name)
    _, messages = process.communicate()
    assert process.returncode
    assert f"error: process 1 of 2 has other {what} than process 0; start all from" in messages


def test_shares_of_a_batch_are_all_of_it() -> None:
    rows = [row for rank in range(4) for row in range(64)[Processes(rank, 4).rows(64)]]
    assert rows == list(range(64))


def test_the_environment_must_be_torchruns(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    assert described() == Processes(1, 2, 0)
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(InputError, match="start several processes by torchrun"):
        described()
    for rank, count in (("2", "2"), ("-1", "2"), ("0", "0")):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", count)
        with pytest.raises(InputError, match=rf"RANK {rank}, WORLD_SIZE {count}, .* no such proc"):
            described()
