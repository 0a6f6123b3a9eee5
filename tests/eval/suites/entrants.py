"""A student that may enter every competition."""

from __future__ import annotations

from eval.suites.trained_on import TrainingFaces
from train.checkpoint import StudentCard

CARD = StudentCard(
    "iresnet-50", 112, 1.0, 512, "arcface112", "cosine", "plain+flip", "{}", "0" * 64, "unknown",
    1_000_000,
)  # fmt: skip
FACES = TrainingFaces("runs/entrant", CARD, 400_000, 400_000, 0, 0, (), 8_000)
