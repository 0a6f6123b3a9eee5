"""The geometry that laws are tried in."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.identities.sampling_laws import Geometry, geometry_of
from tests.pipeline.identities.toys import WIDTH, teacher_response


@pytest.fixture
def geometry() -> Geometry:
    return geometry_of(teacher_response(), float(np.sqrt(WIDTH)))
