"""The picture that chapter 00 opens with, and its caption, are those of the run that ships."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from mpkit.course.opening import FINE, PICTURE, draw, main, opening
from mpkit.evaluation.rates import percent
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def drawn():
    return draw(opening())


def first_cell() -> str:
    book = json.loads((ROOT / "notebooks" / "00-start-here.ipynb").read_text("utf-8"))
    return " ".join("".join(book["cells"][0]["source"]).split())


def test_the_run_is_the_usual_attack_and_keeps_its_promises():
    from mpkit.course.opening import RUN
    from mpkit.runs.attack import make_attack
    from mpkit.runs.folder import open_run
    from mpkit.runs.prepared import resolved

    o, run = opening(), open_run(RUN)
    usual = resolved(make_attack(scale="laptop"), o.scenario)
    assert resolved(run.attack, o.scenario) == usual
    bases, poisons = o.pairs
    assert (poisons - bases).abs().max() <= usual.settings.epsilon + 1e-6
    names = o.scenario.train.classes
    assert {names[y] for y in o.scenario.train.y[o.scenario.bases]} == {"speed 50"}
    assert not torch.equal(poisons, bases)


def test_the_models_are_of_two_minds():
    o = opening()
    assert {arm: word for arm, (word, _) in o.said.items()} == {
        "poisoned": "speed 50",
        "clean": "stop",
        "noise": "stop",
    }
    assert o.rates["poisoned"].low > max(o.rates[arm].high for arm in ("clean", "noise"))


def test_the_picture_in_the_repository_is_that_of_the_run(drawn):
    shipped = Image.open(PICTURE).convert("RGB")
    assert shipped.size == drawn.size
    # Another Pillow may draw letters a little otherwise; pictures are the same to the last pixel.
    apart = np.abs(np.asarray(shipped, int) - np.asarray(drawn, int))
    assert apart.mean() < 1
    target = opening().scenario.targets[0]
    assert shipped.width / FINE < 1000
    colours = (255 * target).round().byte().flatten(1).T.tolist()
    there = {tuple(c) for c in np.asarray(shipped).reshape(-1, 3).tolist()}
    assert {tuple(c) for c in colours} <= there


def test_it_is_written_where_it_is_asked_for(tmp_path, drawn):
    main([str(tmp_path / "o.png")])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "o.png")), np.asarray(drawn))


def test_the_chapter_says_of_it_what_the_run_says():
    o, text = opening(), first_cell()
    for arm in ("poisoned", "clean"):
        word, share = o.said[arm]
        told = {">99.9%": "more than 99.9 %"}.get(
            percent(share, 0), f"{share:.0%}".replace("%", " %")
        )
        assert f"says “{word}” with {told}" in text
    poisoned, clean, noise = (o.rates[arm] for arm in ("poisoned", "clean", "noise"))
    ends = re.findall(r"(\d+) to (\d+) %", text)
    assert [tuple(map(int, e)) for e in ends] == [
        (round(100 * r.low), round(100 * r.high)) for r in (poisoned, clean)
    ]
    assert f"{poisoned.successes} of {poisoned.n} models that learned from the changed" in text
    assert clean == noise
    assert f"none does ({clean.successes} of {clean.n} each" in text
    assert f"{len(o.poisons)} of the {len(o.scenario.train)}" in text
    most = round(255 * float((o.pairs[1] - o.pairs[0]).abs().max()))
    assert f"no value of a pixel changed by more than {most} of 255" in text
