"""``mpkit attack --method``: every rival leaves a run folder like any other."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mpkit.data.schema import SEAL, sealed
from mpkit.runs import card, record, sheet
from mpkit.runs.story import story_of
from mpkit.settings import METHODS, STILL
from tests.cli.conftest import Killed, call, flags, numbers, refused


def of(method: str, **changes) -> list[str]:
    """The tiny attack by a method, without the flags that do nothing with it."""
    idle = {"unroll_steps": None} | ({"craft_steps": None} if method in STILL else {})
    return flags(method=method, **idle, **changes)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "metapoison"])
def test_a_run_by_every_method(method):
    said = call("attack", *of(method, out="run"))
    assert said.code == 0, said
    assert f"{METHODS[method]}, M = 2" in said.err
    summary = json.loads(Path("run/summary.json").read_text("utf-8"))
    assert summary["poisons"] == len(list(Path("run/poisons").iterdir()))
    assert METHODS[method] in dict(story_of(Path("run")).settings).values()


def test_restarts_are_resumed_bit_for_bit(monkeypatch):
    many = {"craft_steps": 7, "restarts": 3}
    assert call("attack", *of("gradient-matching", out="whole", **many)).code == 0
    write = record.save_state
    for stop in (2, 5):

        def killed(folder, state, stop=stop):
            write(folder, state)
            if state.step == stop:
                raise Killed

        out = f"cut-{stop}"
        with monkeypatch.context() as patch:
            patch.setattr(record, "save_state", killed)
            with pytest.raises(Killed):
                call("attack", *of("gradient-matching", out=out, **many))
        assert call("attack", "--resume", out).code == 0
        assert numbers(Path(out)) == numbers(Path("whole"))


def test_an_unfinished_run_of_the_old_gradient_matching_says_what_to_do(copy):
    path = copy / "settings.json"
    saved = json.loads(path.read_text("utf-8"))
    saved["attack"]["settings"]["metagradient"] = "matching"
    for name in ("method", "restarts", "beta", "opacity"):
        del saved["attack"]["settings"][name]
    del saved[SEAL]
    path.write_text(json.dumps(sealed(saved), allow_nan=False), "utf-8")
    assert call("card", copy).code == 0  # what is finished is shown
    assert call("attack", "--resume", copy).code == 0
    (copy / "poisons.safetensors").unlink()
    assert "start anew with --method gradient-matching" in refused("attack", "--resume", copy)


@pytest.mark.parametrize("method", ["label-flip", "watermark"])
def test_what_is_told_of_labels_is_true(method, monkeypatch):
    """On the picture of the summary, the card and the page."""
    told = []

    def noted(f):
        def write(draw, where, text, *rest):
            told.append(text)
            return f(draw, where, text, *rest)

        return write

    for module in (card, sheet):
        monkeypatch.setattr(module, "write", noted(module.write))
    assert call("attack", *of(method, out="run")).code == 0
    assert call("card", "run").code == 0
    assert call("page", "run").code == 0
    (page,) = (path.read_text("utf-8") for path in Path("run").glob("*.html"))
    words = " ".join(told) + page
    flips = method == "label-flip"
    assert ("All labels are right" in words) != flips
    assert ("nor did any label" in words) != flips
    assert ("and no label." in words) != flips
    assert ("got the label “8”" in words) == flips
    assert bool(re.search(r'"flips": *"labelled', page)) == flips
