"""What every backend must keep. Inherit a suite and give it the fixture that it names."""

from tests.contracts.aligners import AlignerContract, apart
from tests.contracts.annotators import AnnotatorContract
from tests.contracts.backends import FileContract
from tests.contracts.generators import GeneratorContract
from tests.contracts.image_collections import ImageCollectionContract
from tests.contracts.teachers import TeacherContract

__all__ = [
    "AlignerContract",
    "AnnotatorContract",
    "FileContract",
    "GeneratorContract",
    "ImageCollectionContract",
    "TeacherContract",
    "apart",
]
