"""What the page shows of the study exfacegan: networks that learnt identities by a margin."""

from __future__ import annotations

from eval.studies.training_sets.report import section as section

TITLE = "ExFaceGAN: networks that learnt its identities by a margin"
