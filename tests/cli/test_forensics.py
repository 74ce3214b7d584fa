"""mpkit forensics, on a run's folder."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mpkit.cli.forensics import _given
from mpkit.defenses.forensics import Answer, precision_at, tracin
from mpkit.evaluation.victims import victim_seed
from mpkit.runs.folder import open_run
from mpkit.runs.record import load_poisons
from tests.blobs import setting
from tests.cli.conftest import call, flags, refused


def test_pictures_are_listed_by_the_scores_of_the_runs_own_victims(copy):
    said = call("forensics", copy, "--rows", "4", "--json", "scores.json", "--quiet")
    assert (said.code, said.err) == (0, "")
    ready = open_run(copy).prepare(progress=False)
    poisons, rows = load_poisons(copy)
    data = ready.arms(poisons)["poisoned"]
    answer = Answer(ready.scenario.targets, ready.scenario.adversarial)
    recipe, seeds = ready.attack.victim_recipe, [victim_seed(0, 0)]
    scores = tracin(ready.victim_network, data, recipe, answer, seeds=seeds)
    found = json.loads(Path("scores.json").read_text())
    listed = found["pictures"]
    torch.testing.assert_close(
        torch.tensor([p["score"] for p in listed]), scores.sort(descending=True).values
    )
    assert found["precision"] == precision_at(scores, rows, len(rows) / len(scores))
    assert {p["row"] for p in listed if p["poison"]} == set(rows.tolist())
    head, _, *lines = said.out.splitlines()
    assert f"{round(found['precision'] * len(rows))} are poisons" in head
    assert [int(line.split()[1]) for line in lines] == [p["row"] for p in listed[:4]]
    assert [line.endswith(", a poison") for line in lines] == [p["poison"] for p in listed[:4]]


def test_groups_can_be_left_out_instead(copy):
    said = call("forensics", copy, "--by", "left-out", "--models", "1", "--json", "-")
    assert said.code == 0
    found = json.loads(said.out)
    assert len({round(p["score"], 6) for p in found["pictures"]}) <= 10
    assert "step 10 of 10" in said.err


def test_who_hides_in_their_own_class_asks_for_the_label_that_victims_gave():
    def run(*said: tuple[int, ...]):
        victims = [SimpleNamespace(arm="poisoned", predicted=p) for p in said]
        twin = SimpleNamespace(arm="clean", predicted=(2,))
        return SimpleNamespace(folder="here", victims=lambda: [*victims, twin])

    hidden = setting(goal="self-concealment", poison_class=None)
    assert _given(run((1,), (0,), (1,), (2,)), hidden).tolist() == [1]
    with pytest.raises(ValueError, match="no victim in here was turned"):
        _given(run((0,), (0,)), hidden)
    open_attack = setting()
    assert torch.equal(_given(run((0,)), open_attack), open_attack.adversarial)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--models", "0"], "--models must be at least 1, not 0"),
        (["--rows", "-1"], "--rows must be at least 1, not -1"),
        (["--by", "guess"], "invalid choice: 'guess'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(given, words, copy):
    assert words in refused("forensics", copy, *given)


def test_a_folder_without_poisons_is_refused(copy, tmp_path):
    assert "is no run folder" in refused("forensics", tmp_path / "nowhere")
    (copy / "poisons.safetensors").unlink()
    assert "no poisons can be read" in refused("forensics", copy, "--quiet")


def test_victims_that_defended_themselves_are_not_explained_by_others():
    call("attack", *flags(out="run", defense="jpeg"))
    assert "defended themselves (jpeg)" in refused("forensics", "run")
