"""facestill adapt: a real student learns a modality of patterns, and people that it never saw are
known across; what may not train does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional

from eval.photos.crossing import verify_across
from eval.photos.models import load_model
from eval.photos.verification import METRICS, verify_models
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.settings.params import load_params
from manifests.settings.real_faces import RealFaces
from tests.flow import run_stage, workspace
from tests.protocols import opened, write_rows
from train.checkpoint import (
    BLOCK,
    FILE,
    LOG,
    BlockCard,
    StudentCard,
    load_block,
    load_student,
    save_block,
    save_student,
)
from train.exporting.adapted import ADAPTED, RECORD
from train.students import build_student
from train.students.prepended import PrependedBlock

SIDE, WIDTH = 32, 16
RUN, THERMAL = Path("runs/start"), Path("runs/adapted/thermal")
SAID = ["--synthetic-source", "patterns of a test", "--licence", "CC0-1.0"]
ASKED = ["--pairs", "pairs", "--modality", "thermal", "--frame", "arcface112"]
PAIRS = "pairs:unseen"


def patterns(people: range, each: int) -> torch.Tensor:
    """A coarse pattern a person, with noise: (person, image, 3, side, side)."""
    found = []
    for person in people:
        generator = torch.Generator().manual_seed(person)
        coarse = functional.interpolate(torch.rand(1, 3, 4, 4, generator=generator) * 255, SIDE)
        noise = torch.randn(each, 3, SIDE, SIDE, generator=generator) * 8
        found.append((coarse + noise).clamp(0, 255))
    return torch.stack(found)


def save(path: Path, pixels: torch.Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.permute(1, 2, 0).round().to(torch.uint8).numpy()).save(path)


def make_run() -> None:
    """Random weights; its embeddings are centred, as those of taught students are."""
    torch.manual_seed(0)
    network = build_student("small-resnet", input_size=SIDE, width=0.25, embedding_width=WIDTH)
    with torch.no_grad():
        for _ in range(30):  # normalisation gets to know the patterns
            network.train()(patterns(range(1000, 1064), 1)[:, 0])
        network.eval()[-1].bias -= network(patterns(range(1000, 1064), 1)[:, 0]).mean(0)
    card = StudentCard(
        "small-resnet", SIDE, 0.25, WIDTH, "arcface112", "cosine", "plain", "{}", "0" * 64, "", 0
    )
    save_student(RUN / FILE, network, card)


def make_pictures() -> None:
    """24 people to learn from, and pairs of 20 others: left visible, right thermal."""
    for person, images in enumerate(patterns(range(24), 4)):
        for at, pixels in enumerate(images):
            modality, shown = ("visible", pixels) if at < 2 else ("thermal", 255 - pixels)
            save(Path(f"pairs/{modality}/{person}/{at}.png"), shown)
    rows = []
    for person, (one, other) in enumerate(patterns(range(100, 120), 2)):
        save(Path(f"unseen/images/{person}/visible.png"), one)
        save(Path(f"unseen/images/{person}/thermal.png"), 255 - other)
        for who in (person, (person + 4) % 20, (person + 8) % 20):
            pair = f"{person}/visible.png", f"{who}/thermal.png"
            rows.append((person % 4, *pair, int(who == person)))
    write_rows(Path("unseen/pairs.csv"), ("fold", "left", "right", "same"), rows)


def adapt(*arguments: str) -> None:
    run_stage("train.adapt", arguments)


@pytest.fixture(scope="module", autouse=True)
def made(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[None]:
    with workspace(tmp_path_factory.mktemp("adapt"), weights, {}):
        make_run()
        make_pictures()
        Path("quick.yaml").write_text("people: 12\nimages: 2\nepochs: 40\nlearning_rate: 1e-2\n")
        Path("once.yaml").write_text("images: 2\nepochs: 1\nwarmup_epochs: 0\n")
        adapt("start", *ASKED, *SAID, "--settings", "quick.yaml")
        yield


def test_people_it_never_saw_are_known_across_better_than_before() -> None:
    protocol, plain = opened(PAIRS), load_model("start", layout.WEIGHTS)
    (before,) = verify_models([plain], protocol)
    after = verify_across(plain, load_model(str(THERMAL), layout.WEIGHTS), protocol)
    assert before.metrics["auc"] < 0.6 < 0.8 < after.metrics["auc"]
    assert after.metrics["num_subjects"] == 20 and after.metrics["subject_rule"] == "folder"


def test_the_command_line_measures_the_same() -> None:
    asked = ["--model", "start", "--probes", str(THERMAL), "--benchmark", PAIRS, "--out", "result"]
    run_stage("eval.verify", [*asked, "--frame", "arcface112"])
    plain, adapted = (load_model(name, layout.WEIGHTS) for name in ("start", str(THERMAL)))
    wanted = verify_across(plain, adapted, opened(PAIRS))
    found = read_json(Path("result") / METRICS)
    assert found["auc"] == wanted.metrics["auc"]
    assert found["model"] == "runs/start, probes runs/adapted/thermal"


def test_the_log_says_what_it_was_made_of() -> None:
    log, block = read_json(THERMAL / LOG), load_block(THERMAL)
    assert log["before_sha256"] == block.card.before_sha256 == load_student(RUN).sha256
    assert (log["num_people"], log["num_visible"], log["num_pictures"]) == (24, 48, 48)
    assert log["pictures"] == block.card.pictures == "patterns of a test"
    assert log["real_faces"] is block.card.real_faces is False
    assert [each["epoch"] for each in log["history"]] == list(range(40))


def test_the_same_again_is_made_anew_to_the_same_bits_and_another_is_not_lost() -> None:
    again = ["start", *ASKED, *SAID, "--settings", "once.yaml"]
    adapt(*again, "--out", "runs/once")
    before = (Path("runs/once") / BLOCK).read_bytes()
    adapt(*again, "--out", "runs/once")
    assert (Path("runs/once") / BLOCK).read_bytes() == before
    with pytest.raises(InputError, match="a block of another settings"):
        adapt("start", *ASKED, *SAID, "--out", "runs/once")
    with pytest.raises(InputError, match="a student is here"):
        adapt(*again, "--out", str(RUN))


def test_nothing_trains_on_pictures_of_which_nothing_is_said() -> None:
    with pytest.raises(InputError, match="real_faces names their folder"):
        adapt("start", *ASKED, "--licence", "CC0-1.0", "--out", "runs/none")
    assert not Path("runs/none").exists()


def test_photographs_are_named_wherever_the_block_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    whose = "photographs of the authors, who agreed"
    real = RealFaces("pairs", True, whose, "ours")
    params = replace(load_params(), real_faces=real)
    monkeypatch.setattr("train.adapt.load_params", lambda: params)
    adapt("start", *ASKED, "--settings", "once.yaml", "--out", "runs/real")
    assert read_json(Path("runs/real") / LOG)["real_faces"] is True
    run_stage("train.export_adapted", ["runs/real", "--out", "real"])
    found = load_declared(Path("real") / ADAPTED)
    assert found["facestill.real_faces"] == whose
    licence = found["facestill.licence"]
    assert licence.endswith(f"block: photographs of people, {whose}: ours")


def load_declared(path: Path) -> dict[str, str]:
    onnx = pytest.importorskip("onnx")
    return {each.key: each.value for each in onnx.load(str(path)).metadata_props}


def test_block_and_network_are_exported_as_one() -> None:
    run_stage("train.export_adapted", [str(THERMAL)])
    out = layout.export("thermal")
    exported, run = (
        load_model(text, layout.WEIGHTS) for text in (f"onnx:{out / ADAPTED}", str(THERMAL))
    )
    crops = patterns(range(200, 240), 1)[:, 0]
    one, other = exported.embed(crops), run.embed(crops)
    assert np.std(one, axis=0).max() > 0.05  # not all alike, or agreeing would be no wonder
    np.testing.assert_allclose(one, other, atol=1e-4)
    assert exported.frame == run.frame and exported.metric == run.metric
    assert read_json(out / RECORD)["block"]["modality"] == "thermal"
    with pytest.raises(InputError, match="is there already"):
        run_stage("train.export_adapted", [str(THERMAL)])


def test_a_block_fits_no_other_network() -> None:
    shutil.copytree(THERMAL, "runs/stale", dirs_exist_ok=True)
    block = load_block(THERMAL)
    card = replace(block.card, before_sha256="0" * 64)
    save_block(Path("runs/stale") / BLOCK, block.network, card)
    with pytest.raises(InputError, match="taught before runs/start 000000000000, here is"):
        load_model("stale", layout.WEIGHTS)
    with pytest.raises(InputError, match="taught before runs/start 000000000000, here is"):
        run_stage("train.export_adapted", ["runs/stale"])


@pytest.mark.parametrize("content", [b"", b"junk", b"\x08\0\0\0\0\0\0\0{}      "])
def test_what_is_no_block_is_refused(content: bytes) -> None:
    Path("runs/broken").mkdir(exist_ok=True)
    (Path("runs/broken") / BLOCK).write_bytes(content)
    with pytest.raises(InputError, match="not a block of `facestill adapt`"):
        load_model("broken", layout.WEIGHTS)


def test_a_card_with_other_values_is_refused(tmp_path: Path) -> None:
    card = asdict(BlockCard("thermal", "start", "0" * 64, "1" * 64, "made here", False, "CC0"))
    text = {"card": json.dumps(card | {"before": 3})}
    save_file(PrependedBlock().state_dict(), tmp_path / BLOCK, text)
    with pytest.raises(InputError, match="card: before: 3 is a int, not str"):
        load_block(tmp_path)


def test_a_teacher_of_torch_takes_a_block_too() -> None:
    Path("few.yaml").write_text("people: 2\nimages: 2\nepochs: 1\nwarmup_epochs: 0\n")
    few = Path("few")
    for modality in ("visible", "thermal"):
        for person in ("0", "1"):
            shutil.copytree(f"pairs/{modality}/{person}", few / modality / person)
    asked = ["--pairs", "few", "--modality", "thermal", "--frame", "arcface112", *SAID]
    adapt("teacher:dlib-resnet", *asked, "--settings", "few.yaml", "--out", "runs/big")
    teacher, adapted = (load_model(n, layout.WEIGHTS) for n in ("teacher:dlib-resnet", "runs/big"))
    crops = torch.rand(3, 3, 150, 150, generator=torch.Generator().manual_seed(1)) * 255
    block = load_block(Path("runs/big")).network
    np.testing.assert_array_equal(adapted.embed(crops), teacher.embed(in_batch(block, crops)))
    assert (adapted.embed(crops) != teacher.embed(crops)).any()


def in_batch(block: PrependedBlock, crops: torch.Tensor) -> torch.Tensor:
    """As `Model.outputs` calls: in the batch and layout of everything here."""
    padded = torch.cat([crops, crops[-1:].expand(61, -1, -1, -1)])
    return block(padded.contiguous(memory_format=torch.channels_last))[:3].detach()


def test_a_network_without_gradients_is_refused() -> None:
    with pytest.raises(InputError, match="no gradient goes through it"):
        adapt("onnx:some.onnx", *ASKED, *SAID)


def test_an_adapted_run_is_no_student() -> None:
    with pytest.raises(InputError, match="a block for another modality, no student"):
        load_student(THERMAL)
    assert "settings" in json.loads((THERMAL / LOG).read_text())
