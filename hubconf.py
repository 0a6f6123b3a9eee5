"""Students by torch.hub, from a clone of this repository or from its address.

network = torch.hub.load("PATH/OF/facestill", "student", "runs/exports/mined-2", source="local")
embeddings = network(pictures)  # batch x 3 x height x width, RGB in 0...255, aligned
"""

from __future__ import annotations

import pathlib  # whatever can be called here by a plain name is an entry

from torch import nn

dependencies = ["torch", "safetensors", "numpy", "pyarrow", "jaxtyping", "annotated_types", "tqdm"]


def student(folder: str | pathlib.Path) -> nn.Module:
    """The student of an export or a run, in evaluation mode: pictures of any size in 0...255, the
    face in the student's frame, become embeddings as by `student.onnx` of the same folder.

    Raises manifests.core.errors.InputError where there is none.
    """
    from train.checkpoint import load_student
    from train.exporting.graph import WithPreprocessing

    found = load_student(pathlib.Path(folder))
    return WithPreprocessing(found.network, found.card.input_size).eval()
