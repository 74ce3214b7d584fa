"""CraftLab without a browser: presses, turned knobs, codes, kept runs."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from mpkit.__main__ import main
from mpkit.lab import CraftLab
from mpkit.lab.kit.panel import Question
from mpkit.lab.kit.runner import Phase
from mpkit.lab.kit.share import encode
from mpkit.runs.record import load_poisons, replay


def press(lab, name: str) -> None:
    button = lab.transport.buttons[name]
    assert not button.disabled, f"{name} cannot be pressed while {lab.runner.phase.value}"
    button.click()


@pytest.fixture
def lab(small):
    return small(CraftLab)


def finished(lab, until) -> list[float]:
    press(lab, "run")
    until(lambda: lab.runner.phase.ended)
    assert lab.runner.error is None
    return [r.loss for r in lab.records]


def test_a_run_from_start_to_end(lab, until):
    assert "Nothing has run yet" in lab.describe()
    assert "<b>ready</b>" in lab.status.value
    losses = finished(lab, until)
    assert len(losses) == 6
    assert f"is {losses[-1]:.2f}" in lab.describe()
    until(lambda: "After craft step 6 " in lab.canvas.widget.value)  # the last frame is drawn
    assert "<b>done</b> · craft step 6 of 6" in lab.status.value
    assert lab.poisons().shape == lab.scenario.base_images.shape


def test_reset_with_the_same_seed_gives_the_same_curve(lab, until):
    first = finished(lab, until)
    press(lab, "reset")
    assert (lab.records, lab.runner.phase) == ([], Phase.READY)
    assert finished(lab, until) == first
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
        finished(lab, until)
        assert [r.losses for r in lab.records] == losses
    assert together[0] != together[1]


def test_only_the_last_ensemble_is_kept(lab, until):
    states, take = [], lab.runner.on_item

    def watched(item):
        states.append(weakref.ref(next(iter(item[0].surrogates.params.values()))))
        take(item)

    lab.runner.on_item = watched
    finished(lab, until)
    gc.collect()
    assert [state() is not None for state in states] == [False] * 5 + [True]


def test_colour_is_bounded_by_its_own_slider(small, until):
    lab = small(CraftLab, perturbation="recolor", epsilon_c=0.1)
    assert lab.controls["epsilon"].slider.disabled
    assert not lab.controls["epsilon_c"].slider.disabled
    lab.transport.buttons["step"].click()
    until(lambda: lab.runner.phase is Phase.PAUSED)
    lab.controls["epsilon_c"].slider.value = 0.2
    finished(lab, until)
    assert [round(r.epsilon_c, 3) for r in lab.records] == [0.1] + [0.2] * 5
    assert lab.marks == [(1.5, "ε_c 0.1 → 0.2")]
    press(lab, "reset")
    lab.controls["perturbation"].menu.value = "additive"
    assert lab.controls["epsilon_c"].slider.disabled
    assert lab.knobs().perturbation == "additive"


def test_another_seed_gives_another(lab, until):
    first = finished(lab, until)
    press(lab, "reset")
    lab.controls["seed"].box.value = 5
    assert finished(lab, until) != first


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
    assert "After reset" in lab.message.value
    press(lab, "step")
    until(lambda: lab.runner.steps == 2 and lab.runner.phase is Phase.PAUSED)
    assert len(lab.records[-1].losses) == 2
    press(lab, "reset")
    press(lab, "step")
    until(lambda: lab.runner.phase is Phase.PAUSED)
    assert len(lab.records[-1].losses) == 3


def test_a_class_that_cannot_be_is_refused_in_words(lab):
    target = lab.controls["target_class"]
    target.buttons[1].click()  # 7 is the poison class
    assert "must differ" in lab.message.value
    assert [b.button_style for b in target.buttons] == ["primary", ""]
    assert lab.waiting == {}


def test_an_error_is_shown_and_reset_helps(lab, until, monkeypatch):
    good = lab.runner.make

    def broken():
        for i, item in enumerate(good()):
            if i == 2:
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
    assert len(finished(lab, until)) == 6


def test_a_share_code_carries_the_settings(small, until):
    one, two = small(CraftLab, seed=3), small(CraftLab)
    one.controls["epsilon"].slider.value = 20
    code = one.code()
    assert len(code) < 300
    two.use_code(code)
    assert two.code() == code
    assert finished(one, until) == finished(two, until)


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


def test_predict_then_reveal(small, until):
    lab = small(CraftLab, Question("How many?", 0, 8, 4))
    assert lab.transport.buttons["run"].disabled
    assert "guess first" in lab.status.value
    commit = next(
        w for w in lab.panel.children[0].children[1].children
        if getattr(w, "description", "") == "Commit"
    )  # fmt: skip
    commit.click()
    assert lab.guess == 4
    assert len(finished(lab, until)) == 6


def test_two_runs_can_be_kept_and_the_last_is_a_ghost(lab, until):
    tools = lab.panel.children[-1].children[0].children
    name, keep = tools[0], tools[1]
    keep.click()
    assert "nothing to keep" in lab.message.value
    first = finished(lab, until)
    for label in ("one", "two", "three"):
        name.value = label
        keep.click()
    assert [line.label for line in lab.named] == ["two", "three"]
    press(lab, "reset")
    shown = [artist.get_label() for artist in lab.view.losses.kept]
    assert shown == ["last run", "two", "three"]
    assert list(lab.view.losses.kept[0].get_ydata()) == first


def test_a_victim_trains_beside(lab, until):
    lab.victim.button.click()
    assert "no poisons yet" in lab.message.value
    press(lab, "run")
    until(lambda: lab.runner.steps > 1)
    lab.victim.button.click()
    until(lambda: lab.victim.runner.phase.ended and lab.runner.phase.ended)
    assert lab.victim.runner.error is None
    assert [p.epoch for p in lab.victim.points] == [1, 2, 3]
    last = lab.victim.points[-1]
    assert 0 <= last.true + last.wanted <= 1 + 1e-6
    assert f"its clean twin's {last.clean:.1%}" in lab.victim.describe()
    # The last frame is drawn just after the end.
    until(lambda: "after epoch 3 it gives" in lab.victim.canvas.widget.value)


def test_closing_the_panel_stops_its_thread(lab, until):
    lab.controls["craft_steps"].slider.value = 200
    press(lab, "run")
    until(lambda: lab.runner.steps > 0)
    lab.close()
    assert lab.runner.close(30)
    assert lab.runner.phase is Phase.STOPPED


def test_the_strip_turns_its_pages(small):
    lab = small(CraftLab, budget=0.4)
    assert lab.view.strip.pages == 3
    first = lab.view.strip.image.get_array().copy()
    lab.page.slider.value = 3
    assert lab.view.strip.title.get_text() == "poisons 21–24 of 24"
    assert (lab.view.strip.image.get_array() != first).any()


def test_in_a_notebook_that_is_only_executed_it_runs_to_its_end(small, monkeypatch):
    monkeypatch.setattr("mpkit.lab.kit.runner.how_to_run", lambda: "sync")
    lab = small(CraftLab)
    lab._ipython_display_()
    assert (lab.runner.phase, len(lab.records)) == (Phase.DONE, 6)


def test_a_run_saved_in_the_middle_can_be_resumed(lab, until, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save = next(b for b in lab.panel.children[-1].children[0].children if b.description == "Save")
    save.click()
    assert "nothing to save yet" in lab.message.value
    press(lab, "step")
    until(lambda: lab.runner.phase is Phase.PAUSED)
    lab.controls["epsilon"].slider.value = 20
    press(lab, "step")
    until(lambda: lab.runner.steps == 2 and lab.runner.phase is Phase.PAUSED)
    save.click()
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name in lab.message.value
    assert [round(255 * r.epsilon) for r in replay(folder)] == [26, 20]
    # The command line goes on where the lab is, and both come to the same poisons.
    assert main(["attack", "--resume", str(folder), "--quiet"]) == 0
    press(lab, "run")
    until(lambda: lab.runner.phase.ended)
    assert torch.equal(load_poisons(folder)[0], lab.poisons())
    assert [r.loss for r in replay(folder)] == [r.loss for r in lab.records]
