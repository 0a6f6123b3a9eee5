"""Browsers: onnxruntime-web, with a page that compares two pictures where they are.

The page loads the runtime from a CDN, by a version and digests that are written in it, and talks
to nobody else: its Content-Security-Policy forbids that.
"""

from __future__ import annotations

from pathlib import Path

from train.exporting.clients.base import Client, Feed

SNIPPET = """\
const session = await ort.InferenceSession.create("student.onnx");
// chw: 3 x 112 x 112 numbers, the red pixels first, 0...255
const pictures = new ort.Tensor("float32", chw, [1, 3, 112, 112]);
const { embeddings } = await session.run({ pictures });
"""
NOTES = """\
`index.html` shows it whole: `python -m http.server -d .` here, and open the address that it says.
It compares two pictures that you choose, by the eyes that you click. Nothing is uploaded: the page
may load its runtime and `student.onnx`, and send nothing."""

CLIENT = Client(Feed(), SNIPPET, "javascript", NOTES, page=Path(__file__).with_suffix(".html"))
