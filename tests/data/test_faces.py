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


def test_a_face_is_drawn_once_and_cannot_be_changed():
    assert faces.face("stop") is faces.face("stop")
    with pytest.raises(ValueError, match="read-only"):
        faces.face("stop")[0, 0] = 1


@pytest.mark.parametrize("name", ["stop", "no entry", "priority", "give way"])
def test_faces_without_a_direction_are_the_same_in_a_mirror(name):
    face = faces.face(name)
    same = (face == face[:, ::-1]).mean()
    assert same > (0.9 if name == "stop" else 0.999)  # but for letters


def test_an_arrow_has_a_direction():
    face = faces.face("no left turn")
    assert (face == face[:, ::-1]).mean() < 0.95


def test_the_usual_signs_are_the_first():
    assert faces.SIGNS[: len(faces.USUAL_SIGNS)] == faces.USUAL_SIGNS
    assert "priority" not in faces.USUAL_SIGNS
