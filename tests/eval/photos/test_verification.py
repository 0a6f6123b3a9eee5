"""What verification says beside its figures."""

from __future__ import annotations

from eval.photos.verification import doubt_of_people


def test_folders_that_no_model_tells_apart_are_doubted() -> None:
    doubt = doubt_of_people("folder", [0.48, 0.52])
    assert doubt is not None and "AUC 0.52" in doubt and doubt.endswith("are its folders people?")
    assert doubt_of_people("folder", [0.52, 0.71]) is None  # one of them tells people apart
    assert doubt_of_people("pairs", [0.5]) is None  # whose list says who is who
