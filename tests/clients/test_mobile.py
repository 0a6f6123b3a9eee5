"""LiteRT on the files of `--for mobile`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from manifests.records.clients import ClientRecord
from tests.clients import picture, rows_of_the_student
from tests.exports import RUN
from tests.train.exporting.toys import OUT
from train.exporting.client_files import cosines

pytest.importorskip("litert_torch", reason="make clients brings LiteRT and its converter")
litert = pytest.importorskip("ai_edge_litert.interpreter")


@pytest.mark.parametrize(
    ("file", "least"), [("student.tflite", 0.9999), ("student.int8.tflite", 0.995)]
)
def test_a_bitmaps_numbers_are_embedded_as_the_student_embeds_them(
    inside: Path, file: str, least: float
) -> None:
    interpreter = litert.Interpreter(str(OUT / "mobile" / file), num_threads=1)
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (given["shape"].tolist(), given["dtype"]) == ([1, 112, 112, 3], np.float32)
    crop = picture(112)
    interpreter.set_tensor(given["index"], crop[None].astype(np.float32))
    interpreter.invoke()
    found = interpreter.get_tensor(made["index"])
    assert cosines(found, rows_of_the_student(RUN, crop[None])) > least


def test_the_export_was_compared_by_litert(inside: Path) -> None:
    record = ClientRecord.read(OUT / "mobile")
    assert set(record.files) == {"student.tflite", "student.int8.tflite"}
    for file in record.files.values():
        assert file.agreement.measured_by.startswith("ai_edge_litert ")
