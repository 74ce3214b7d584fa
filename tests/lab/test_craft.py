"""CraftLab without a browser: presses, turned knobs, codes."""

from __future__ import annotations

import gc
import weakref

import pytest

from mpkit.lab import CraftLab
from mpkit.lab.kit.runner import Phase
from mpkit.runs.share import encode
from tests.lab.conftest import crafted, finished, press, said

pytestmark = pytest.mark.usefixtures("unpainted")


def test_a_run_from_start_to_end(lab, until):
    assert "Nothing has run yet" in lab.describe()
    assert "<b>ready</b>" in lab.status.value
    losses = crafted(lab, until)
    assert len(losses) == 6
    assert f"is {losses[-1]:.2f}" in lab.describe()
    until(lambda: "After craft step 6 " in lab.canvas.widget.value)  # the last frame is drawn
    until(lambda: "<b>done</b> · craft step 6 of 6" in lab.status.value)
    assert lab.poisons().shape == lab.scenario.base_images.shape


def test_reset_with_the_same_seed_gives_the_same_curve(lab, until):
    first = crafted(lab, until)
    press(lab, "reset")
    assert (lab.records, lab.runner.phase) == ([], Phase.READY)
    assert crafted(lab, until) == first
    assert list(lab.ghost.y) == first


@pytest.mark.parametrize("network", ["mlp", "convnet-bn"])
def test_two_labs_at_once_draw_the_curves_of_each_alone(small, until, network):
    """They trace functions, build weights and train in two threads at the same time."""
    labs = [small(CraftLab, network=network, seed=seed, unroll_steps=2) for seed in (3, 4)]
    for lab in labs:
        press(lab, "run")
    until(lambda: all(lab.runner.phase.ended for lab in labs), 120)
    together = [[r.losses for r in lab.records] for lab in labs]
    for lab, losses in zip(labs, together, strict=True):
        assert lab.runner.error is None
        assert len(losses) == 6
        press(lab, "reset")
        crafted(lab, until)
        assert [r.losses for r in lab.records] == losses
    assert together[0] != together[1]


def test_only_the_last_ensemble_is_kept(lab, until):
    states, take = [], lab.runner.on_item

    def watched(item):
        states.append(weakref.ref(next(iter(item[0].surrogates.params.values()))))
        take(item)

    lab.runner.on_item = watched
    crafted(lab, until)
    gc.collect()
    assert [state() is not None for state in states] == [False] * 5 + [True]


def test_another_seed_gives_another(lab, until):
    first = crafted(lab, until)
    press(lab, "reset")
    lab.controls["seed"].box.value = 5
    assert crafted(lab, until) != first


def test_a_change_lands_at_the_next_step_and_is_marked(lab, until):
    for _ in range(2):
        count = lab.runner.steps
        press(lab, "step")
        until(lambda count=count: lab.runner.steps > count and lab.runner.phase is Phase.PAUSED)
    lab.controls["epsilon"].slider.value = 12
    lab.controls["unroll_steps"].box.value = 5
    press(lab, "step")
    until(lambda: lab.runner.steps == 3 and lab.runner.phase is Phase.PAUSED)
    assert [round(255 * r.epsilon) for r in lab.records] == [26, 26, 12]
    assert [r.unroll_steps for r in lab.records][-2:] == [lab.records[0].unroll_steps, 5]
    texts = [text for _, text in lab.marks]
    assert texts == ["ε 26 → 12", f"K {lab.records[0].unroll_steps} → 5"]
    assert {x for x, _ in lab.marks} == {2.5}
    assert "Changed at step 3: ε 26 → 12" in lab.describe()
    bases = lab.scenario.base_images
    assert (lab.poisons().float() / 255 - bases).abs().max() <= 12 / 255 + 1e-6


def test_later_settings_wait_for_a_reset(lab, until):
    press(lab, "step")
    until(lambda: lab.runner.phase is Phase.PAUSED)
    lab.controls["models"].slider.value = 3
    assert "After reset" in said(lab)
    press(lab, "step")
    until(lambda: lab.runner.steps == 2 and lab.runner.phase is Phase.PAUSED)
    assert len(lab.records[-1].losses) == 2
    press(lab, "reset")
    press(lab, "step")
    until(lambda: lab.runner.phase is Phase.PAUSED)
    assert len(lab.records[-1].losses) == 3


def test_an_error_is_shown_and_reset_helps(lab, until, monkeypatch):
    good = lab.runner.make

    def broken():
        for i, item in enumerate(good()):
            if i == 3:  # the first one is what is made ready
                raise RuntimeError("out of <ink>")
            yield item

    lab.runner.make = broken
    press(lab, "run")
    until(lambda: lab.runner.phase is Phase.FAILED)
    until(lambda: "out of &lt;ink&gt;" in lab.message.value)
    assert "failed: RuntimeError" in lab.message.value
    assert len(lab.records) == 2
    lab.runner.make = good
    press(lab, "reset")
    assert "ink" not in lab.message.value
    assert len(crafted(lab, until)) == 6


def test_a_share_code_carries_the_settings(small, until):
    one, two = small(CraftLab, seed=3), small(CraftLab)
    one.controls["epsilon"].slider.value = 20
    code = one.code()
    assert len(code) < 300
    two.use_code(code)
    assert two.code() == code
    assert crafted(one, until) == crafted(two, until)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"settings": {"epsilon": 7}}, "epsilon must lie between 0 and 1"),
        ({"settings": {"epsilon": "much"}}, "epsilon"),
        ({"settings": {"magic": 1}}, "magic"),
        ({"budget": 2}, "budget"),
        ({"network": "a/b"}, "unknown"),
        ({"settings": 5}, "settings"),
    ],
)
def test_a_code_with_settings_that_do_not_fit_changes_nothing(lab, values, words):
    before = lab.attack, lab.knobs()
    with pytest.raises(ValueError, match=words):
        lab.use_code(encode("craft", values))
    assert (lab.attack, lab.knobs()) == before


def test_only_bounds_that_act_are_named(small):
    lab = small(CraftLab, perturbation="both", epsilon_c=0.05)
    assert "; ε = 26/255, ε_c = 0.05, K = 3." in lab.describe()
    lab.controls["perturbation"].menu.value = "recolor"
    assert "; ε_c = 0.05, K = 3." in lab.describe()


def test_the_line_in_words_keeps_up_with_what_is_asked_for(small, until):
    lab = small(CraftLab)
    lab.controls["craft_steps"].box.value = 5
    assert "of 5" in lab.status.value
    lab.controls["epsilon"].box.value = 20
    until(lambda: "ε = 20/255" in lab.canvas.widget.value)
    finished(lab, until)
    lab.controls["epsilon"].box.value = 60
    assert "ε = 20/255" in lab.describe()
    lab.controls["craft_steps"].box.value = 2
    assert "craft step 5 of 5" in lab.status.value
