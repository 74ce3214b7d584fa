"""Every lab can be looked back at: what it showed after a step, it shows again, all of it."""

from __future__ import annotations

import random

import numpy as np
import pytest

from mpkit.lab import CollisionLab, DynamicsLab
from mpkit.lab.kit.film import Filming
from mpkit.lab.kit.runner import Phase
from tests.lab.actions import new
from tests.lab.conftest import LABS, finished, press

pytestmark = pytest.mark.usefixtures("unpainted")  # but for what `unlike` renders itself
MOMENTS = 8
"""Of so many, drawn at random, the pixels are compared."""
FILMED = [kind for kind in LABS if kind.frame is not Filming.frame]


@pytest.fixture(params=FILMED, ids=lambda kind: kind.__name__)
def lab(request, monkeypatch, tmp_path):
    monkeypatch.setenv("MPKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MPKIT_SCALE", "ci")
    # Times that are measured differ from run to run.
    monkeypatch.setattr("mpkit.lab.lookahead_film.cost", lambda work: (work() and 1.0, 2.0))
    lab = new(request.param)
    if "victims" in lab.controls:
        lab.controls["victims"].box.value = 6  # three groups
    yield lab
    lab.close()


def seen(lab) -> list:
    """Words and all that is drawn, but for where the film stands."""
    found = [lab.describe()]
    if hasattr(lab, "exhibit"):
        gallery = lab.exhibit.gallery
        found += [gallery.poisons, gallery.mean, gallery.captions, gallery.words]
    if isinstance(lab, CollisionLab):
        found += [lab.view.faces.pixels, lab.view.faces.captions]
    for axes in lab.canvas.figure.axes:
        if isinstance(lab, DynamicsLab) and axes is lab.view.plane:
            continue  # it lies through the latest ends
        found += [axes.get_title(loc=side) for side in ("left", "center", "right")]
        found += [text.get_text() for text in axes.texts]
        lines = [line for line in axes.lines if line.get_gid() != "film"]
        found += [np.asarray(line.get_xydata(), float).tolist() for line in lines]
        found += [np.asarray(cloud.get_offsets(), float).tolist() for cloud in axes.collections]
        found += [np.asarray(image.get_array(), float).tolist() for image in axes.images]
        found += [bar.get_width() for bar in axes.patches]
    return found


def unlike(lab) -> float:
    """The share of pixels that are others where all is drawn from scratch: few, under a legend."""
    canvas = lab.canvas

    def pixels() -> np.ndarray:
        canvas._render()
        return np.asarray(canvas.figure.canvas.buffer_rgba())[..., :3].astype(int)

    quick, parts, moving = pixels(), canvas.moving(), canvas.moving
    ground = canvas._ground, canvas._look  # the next moment is drawn on this one's
    for part in parts:
        part.set_animated(False)
    canvas.moving = None
    whole = pixels()
    canvas.moving, (canvas._ground, canvas._look) = moving, ground
    for part in parts:
        part.set_animated(True)
    return (abs(whole - quick).max(-1) > 40).mean()


def one_step(lab, until) -> None:
    press(lab, "step")
    button = lab.transport.buttons["step"]
    until(lambda: lab.runner.phase.ended or lab.runner.phase is Phase.PAUSED, 120)
    until(lambda: lab.runner.phase.ended or not button.disabled)


def test_what_was_shown_after_a_step_is_shown_again(lab, until):
    shown = {}
    while not lab.runner.phase.ended:
        done = lab.runner.steps
        one_step(lab, until)
        if lab.runner.steps > done:
            shown[lab.runner.steps] = seen(lab)
    assert lab.runner.error is None
    kept = list(lab.film.frames)
    assert len(kept) > 2
    assert kept == [*shown][-len(kept) :]  # there is nothing to see of twins before they train
    shown = {step: shown[step] for step in kept}
    draw = random.Random(0)
    steps = draw.sample([*shown], len(shown)) + draw.choices([*shown], k=5)
    curve, records, drawn = lab.curve(), len(getattr(lab, "records", [])), set()
    for step in steps:
        lab.scrub(step)
        assert str(seen(lab)) == str(shown[step])  # NaN is none but itself
        assert ("looking back at" in lab.status.value) is (step < max(shown))
        assert lab.bar.live is (step == max(shown))
        assert lab.bar.words
        if step not in drawn and len(drawn) < MOMENTS:
            with lab.canvas.lock:  # the end may still be drawn
                assert unlike(lab) < 0.005
            drawn.add(step)
    assert (lab.curve(), len(getattr(lab, "records", []))) == (curve, records)


def test_a_run_goes_on_unseen_and_is_the_same(lab, until):
    finished(lab, until)
    curve, end = lab.curve(), seen(lab)
    press(lab, "reset")
    for _ in range(2):
        one_step(lab, until)
    lab.scrub(1)
    back = seen(lab)
    finished(lab, until)
    assert str(lab.curve()) == str(curve)
    assert str(seen(lab)) == str(back)
    lab.scrub(lab.film.last)
    now = seen(lab)
    assert str(now[0]) == str(end[0])
    press(lab, "reset")
    assert (lab.film.frames, lab.bar.last) == ({}, 0)
