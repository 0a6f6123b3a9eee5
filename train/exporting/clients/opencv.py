"""OpenCV: cv2.dnn, and cv2.FaceRecognizerSF, which aligns by YuNet's points and compares.

FaceRecognizerSF hands on RGB in 0...255, 1 x 3 x 112 x 112. OpenCV 4 reads no graph whose lengths
are open, as those of student.onnx are.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np

from train.exporting.clients.base import Client, Crops, Embed, Feed

SNIPPET = """\
import cv2

image = cv2.imread("photograph.jpg")
yunet = "face_detection_yunet_2023mar.onnx"  # of OpenCV's model zoo, opencv_zoo
detector = cv2.FaceDetectorYN.create(yunet, "", image.shape[1::-1])
recognizer = cv2.FaceRecognizerSF.create("student.onnx", "")
_, faces = detector.detect(image)  # None where no face is found
embedding = recognizer.feature(recognizer.alignCrop(image, faces[0])).copy()
"""
NOTES = """\
Without FaceRecognizerSF: `cv2.dnn.readNetFromONNX`, fed by `cv2.dnn.blobFromImage(crop, 1,
(112, 112), (0, 0, 0), swapRB=True)`. `feature` may hand out memory that its next call writes to:
keep a copy. `recognizer.match(one, other)` is the cosine. The threshold of OpenCV's SFace (0.363)
means nothing here."""


def run(path: Path) -> Embed:
    cv2 = importlib.import_module("cv2")
    speech = cv2.utils.logging  # the new engine says of every network that it takes no targets
    speech.setLogLevel(speech.LOG_LEVEL_ERROR)
    recognizer = cv2.FaceRecognizerSF.create(str(path), "")

    def embed(crops: Crops) -> np.ndarray:
        pictures = [np.ascontiguousarray(crop[..., ::-1]) for crop in crops]
        return np.concatenate([recognizer.feature(picture).copy() for picture in pictures])

    return embed


CLIENT = Client(Feed(), SNIPPET, "python", NOTES, "cv2", run)
