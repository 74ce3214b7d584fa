"""The faces of road signs."""

from __future__ import annotations

import numpy as np
import pytest

from mpkit.data import faces, signs


@pytest.mark.parametrize("name", signs.SIGNS)
def test_a_face_has_its_colours_and_keeps_its_distance_from_the_edge(name):
    face = faces.face(name)
    assert face.shape == (faces.SIDE, faces.SIDE)
    wanted = {
        "stop": {faces.RED, faces.WHITE},
        "give way": {faces.RED, faces.WHITE},
        "no entry": {faces.RED, faces.WHITE},
        "priority": {faces.YELLOW, faces.WHITE},
    }.get(name, {faces.RED, faces.WHITE, faces.BLACK})
    assert set(np.unique(face)) - {faces.NOTHING} == wanted
    assert 0.3 < (face != faces.NOTHING).mean() < 0.9
    corners = face[:: faces.SIDE - 1, :: faces.SIDE - 1]
    assert (corners[0 if name != "give way" else 1] == faces.NOTHING).all()


def test_faces_differ():
    for a in signs.SIGNS:
        for b in signs.SIGNS:
            assert (a == b) == bool((faces.face(a) == faces.face(b)).all())
