"""Checkpoints: a run's student, quality head and prepended block, safetensors with string
metadata."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save, save_file
from torch import Tensor, nn

from manifests.core import layout
from manifests.core.digests import canonical_json, sha256_text
from manifests.core.errors import InputError, pick
from manifests.core.files import put_tensors, read_json, replacing
from manifests.core.parsing import parse
from manifests.core.students import in_todays_words
from pipeline.arrays.frames import FRAMES, Frame
from train.students import build_student
from train.students.prepended import PrependedBlock

FILE = "student.safetensors"
LOG = "log.json"
QUALITY = "quality.safetensors"
BLOCK = "block.safetensors"
SNAPSHOTS = "snapshots"  # of epochs, a student in a folder each
DISTILLED = "distilled from a teacher"
LABELLED = "on identity labels, without a teacher"


@dataclass(frozen=True)
class StudentCard:
    """What anyone must know to run a student, and what it was made from."""

    name: str
    input_size: int
    width: float
    embedding_width: int
    frame: str
    metric: str  # for verification
    views: str  # plain, or plain+flip: the two outputs are summed
    stores: str  # JSON: {relative path: Merkle root} of every store trained on
    params_sha256: str
    git_commit: str
    faces_seen: int
    projected_from: int = 0  # width of its own embedding before a projection; 0: there is none
    training: str = DISTILLED  # in words, for whoever meets the student
    aligner: str = ""  # names of those that found the faces trained on; "" where none had to
    precision: str = ""  # that it was trained in: float32, bfloat16; "" where nothing says so
    real_faces: str = ""  # what is stated of people on photographs it was trained on, a line each

    @property
    def input_frame(self) -> Frame:
        return FRAMES[self.frame].at(self.input_size)

    @property
    def people(self) -> list[str]:
        """What is stated of people on photographs that it was trained on."""
        return self.real_faces.splitlines()


@dataclass(frozen=True)
class Student:
    folder: Path
    card: StudentCard
    network: nn.Module
    sha256: str  # of the weights alone: metadata names the commit, which may change without them


def save_student(path: Path, network: nn.Module, card: StudentCard) -> None:
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    put_tensors(path, save(tensors, {key: str(value) for key, value in asdict(card).items()}))


def load_student(run: Path) -> Student:
    """The student of a run directory, in evaluation mode.

    Raises InputError if there is none, or if its weights do not fit its card.
    """
    path = run / FILE
    if (run / BLOCK).exists():
        raise InputError(
            f"{run}: a block for another modality, no student; facestill verify and "
            "facestill export-adapted take it"
        )
    if not path.exists():
        there = sorted(own.parent.name for own in layout.RUNS.glob(f"*/{FILE}"))
        raise InputError(
            f"{path}: no student here; name a run that is trained (here: "
            f"{', '.join(there[:20]) or 'none yet'}), or the folder of one"
        )
    try:
        with safe_open(path, framework="pt") as opened:
            card = _card(opened.metadata() or {})
            shapes = {name: opened.get_slice(name).get_shape() for name in opened.keys()}
        with torch.device("meta"):  # a stranger's card takes no more memory than its file
            wanted = _network(card).state_dict()
        if shapes != {name: list(tensor.shape) for name, tensor in wanted.items()}:
            raise ValueError(f"its weights are not those of a {card.name} as its card has it")
        network = _network(card)
        network.load_state_dict(load_file(path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (SafetensorError, RuntimeError, KeyError, ValueError) as error:
        raise InputError(f"{path}: not a student checkpoint ({error})") from None
    return Student(run, card, network.eval().requires_grad_(False), weights_sha256(network))


def read_log(student: Student) -> dict[str, Any]:
    """The run's log.json. Raises InputError for one that is not this student's."""
    path = student.folder / LOG
    log = read_json(path)
    try:
        recorded = log["student"]["sha256"]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not the log of a run ({error}); train it again") from None
    if recorded != student.sha256:
        raise InputError(
            f"{path}: of student {str(recorded)[:12]}, the weights beside it are "
            f"{student.sha256[:12]}; bring the run's own files, or train it again"
        )
    return log


def _network(card: StudentCard) -> nn.Module:
    return build_student(
        card.name,
        input_size=card.input_size,
        width=card.width,
        embedding_width=card.embedding_width,
        projected_from=card.projected_from or None,
    )


def weights_sha256(network: nn.Module) -> str:
    """Over names and values of all tensors, in name order."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _card(metadata: Mapping[str, str]) -> StudentCard:
    kinds = {"int": int, "float": float, "str": str}
    # Older students have no projection, and were all distilled; in which precision is not said.
    given = {"projected_from": "0", "training": DISTILLED, "precision": "", "real_faces": ""}
    given |= in_todays_words(metadata)
    values = {f.name: kinds[str(f.type)](given[f.name]) for f in fields(StudentCard)}
    pick("frame", values["frame"], FRAMES)
    pick("metric", values["metric"], {"cosine": 1, "euclidean": 1})
    pick("views", values["views"], {"plain": 1, "plain+flip": 1})
    return StudentCard(**values)


@dataclass(frozen=True)
class QualityCard:
    ratio: str  # what the head predicts, a manifests.settings.objectives.Ratio
    student_sha256: str  # of the weights that it was trained with: it fits no others


@dataclass(frozen=True)
class RatedStudent:
    """A student with the head that tells a face's quality from its embedding."""

    student: Student
    card: QualityCard
    layer: nn.Linear
    sha256: str  # of the head alone

    def __call__(
        self, crops: Float[Tensor, "face 3 size size"]
    ) -> tuple[Float[Tensor, " face"], Float[Tensor, "face width"]]:
        """Qualities (higher is better) and raw embeddings of pictures in the student's frame."""
        embeddings = self.student.network(crops.contiguous(memory_format=torch.channels_last))
        return self.layer(embeddings)[:, 0], embeddings


def save_quality(path: Path, layer: nn.Linear, card: QualityCard) -> None:
    tensors = {name: tensor.cpu().contiguous() for name, tensor in layer.state_dict().items()}
    with replacing(path) as scratch:
        save_file(tensors, scratch, {"card": canonical_json(asdict(card))})


def load_quality(run: Path) -> RatedStudent:
    """The student of a run directory with its quality head, in evaluation mode.

    Raises InputError if there is none, or if it was trained with another student.
    """
    student, path = load_student(run), run / QUALITY
    if not path.exists():
        raise InputError(
            f"{path}: no quality head here; name a run that was trained with cr-fiqa in train.loss"
        )
    try:
        with safe_open(path, framework="pt") as opened:
            card = QualityCard(**json.loads((opened.metadata() or {})["card"]))
        layer = nn.Linear(student.card.embedding_width, 1)
        layer.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a quality head of this student ({error})") from None
    if card.student_sha256 != student.sha256:
        raise InputError(
            f"{path}: trained with student {str(card.student_sha256)[:12]}, here is "
            f"{student.sha256[:12]}; train the run again"
        )
    return RatedStudent(student, card, layer.requires_grad_(False), weights_sha256(layer))


@dataclass(frozen=True)
class BlockCard:
    modality: str  # of the pictures that go through the block
    before: str  # the network behind it, as commands name models: a run, or teacher:NAME
    before_sha256: str  # of that network's weights: the block fits no others
    pairs_sha256: str  # of the pictures that taught it
    pictures: str  # what is stated of them: made by …, or whose photographs they are
    real_faces: bool  # whether they are photographs of people
    licence: str  # of the pictures


@dataclass(frozen=True)
class Block:
    """A block of `facestill adapt`, which goes before a network that it does not hold."""

    card: BlockCard
    network: PrependedBlock
    sha256: str  # of the block and of the network behind it


def save_block(path: Path, block: PrependedBlock, card: BlockCard) -> None:
    tensors = {name: tensor.cpu().contiguous() for name, tensor in block.state_dict().items()}
    with replacing(path) as scratch:
        save_file(tensors, scratch, {"card": canonical_json(asdict(card))})


def load_block(run: Path) -> Block:
    """The block of a run of `facestill adapt`, in evaluation mode. Raises InputError for none."""
    path = run / BLOCK
    try:
        with safe_open(path, framework="pt") as opened:
            said = json.loads((opened.metadata() or {})["card"])
        card: BlockCard = parse(BlockCard, said, "card")
        network = PrependedBlock()
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError, KeyError, ValueError, InputError) as error:
        raise InputError(f"{path}: not a block of `facestill adapt` ({error})") from None
    digest = sha256_text(f"{card.before_sha256} {weights_sha256(network)}")
    return Block(card, network.eval().requires_grad_(False), digest)
