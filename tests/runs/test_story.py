"""A run as it is told to others: from a folder, whatever of it is there."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

from mpkit.data.places import SHIPPED
from mpkit.data.schema import SEAL, sealed
from mpkit.evaluation.records import ARMS
from mpkit.metapoison import poisons_of
from mpkit.runs import record
from mpkit.runs.attack import make_attack
from mpkit.runs.folder import begin
from mpkit.runs.frames import NAME, FrameKeeper, save_frames
from mpkit.runs.prepared import prepare
from mpkit.runs.record import RecordError
from mpkit.runs.story import story_of
from tests.conftest import SMALL_DIGITS
from tests.runs.conftest import scenario, story


@pytest.fixture(scope="module")
def whole(tmp_path_factory, cache) -> Path:
    """A run folder with all that there may be. Copy it before changing anything in it."""
    tiny = {"models": 1, "craft_steps": 3, "epochs": 2, "batch": 20, "victims": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPKIT_DATA", str(cache))
        ready = prepare(make_attack("ci", **SMALL_DIGITS | tiny, target_index=(0,)))
    folder = begin(ready, out=tmp_path_factory.mktemp("story") / "run")
    keeper = FrameKeeper(ready.scenario)
    for state, step in ready.craft():
        record.append(folder / "records.jsonl", [step])
        poisons = poisons_of(ready.scenario, state, ready.attack.settings)
        keeper.add(step.step, poisons)
    save_frames(folder, keeper.frames())
    record.save_poisons(folder, poisons, ready.scenario.bases)
    *_, (_, victims) = ready.judge(poisons)
    record.write_lines(folder / "victims.jsonl", victims)
    return folder


@pytest.fixture
def run(whole, tmp_path) -> Path:
    return shutil.copytree(whole, tmp_path / "run")


def test_a_whole_run(run):
    found = story_of(run)
    assert [r.step for r in found.steps] == [1, 2, 3] == list(found.frames.steps)
    assert set(found.arms) == set(ARMS)
    assert (found.true, found.wanted, found.missing) == ("1", "7", "")
    assert torch.equal(found.frames.pictures[-1], found.poisons[list(found.frames.which)])
    assert found.title(str).startswith("A 1 is called 7 by ")
    assert found.code.startswith("mpkit1.craft.")


@pytest.mark.parametrize(
    "gone", ["records.jsonl", "poisons.safetensors", "victims.jsonl", "frames.safetensors"]
)
def test_a_run_without_one_of_its_files(run, gone):
    (run / gone).unlink()
    found = story_of(run)
    assert found.title(str)
    lacking = {
        "records.jsonl": not found.steps,
        "poisons.safetensors": found.poisons is None,
        "victims.jsonl": not found.victims,
        "frames.safetensors": found.frames is None,
    }
    assert [name for name, is_gone in lacking.items() if is_gone] == [gone]


def test_a_run_of_an_earlier_mpkit_has_no_checksums(run):
    settings = json.loads((run / "settings.json").read_text())
    old = {k: v for k, v in settings.items() if k != SEAL} | {"format": 1}
    (run / "settings.json").write_text(json.dumps(old))
    assert story_of(run).true == "1"


def test_runs_that_ship_are_told_also_without_their_pictures():
    without = 0
    for folder in sorted((SHIPPED / "recorded").glob("*/settings.json")):
        found = story_of(folder.parent)
        assert found.steps
        assert found.victims
        assert (found.scenario is None) == bool(found.missing)
        without += found.scenario is None
    assert without
    assert story_of(SHIPPED / "recorded" / "cifar10-three-classes").missing.startswith(
        "The pictures of this run are not here"
    )


def test_cifar10_is_not_fetched_for_it(no_network_folder):
    assert "mpkit fetch cifar10" in story_of(no_network_folder).missing


@pytest.fixture
def no_network_folder(run) -> Path:
    settings = json.loads((run / "settings.json").read_text())
    settings["attack"]["data"] = "cifar10"
    old = {k: v for k, v in settings.items() if k != SEAL} | {"format": 1}
    (run / "settings.json").write_text(json.dumps(old))
    return run


def test_pictures_of_other_runs_are_refused(run):
    poisons, rows = record.load_poisons(run)
    record.save_poisons(run, poisons, rows + 1)
    with pytest.raises(RecordError, match="are of other rows"):
        story_of(run)
    record.save_poisons(run, poisons[:, :, 1:], rows)
    with pytest.raises(RecordError, match="are no pictures"):
        story_of(run)
    record.save_poisons(run, poisons, rows)
    save_frames(run, FrameKeeper(scenario(3)).frames())
    keeper = FrameKeeper(scenario(3))
    keeper.add(1, torch.zeros(4, 3, 8, 8, dtype=torch.uint8))
    save_frames(run, keeper.frames())
    with pytest.raises(RecordError, match=r"frames in .* are of other pictures"):
        story_of(run)
    (run / NAME).unlink()
    with pytest.raises(ValueError, match="nowhere"):
        story_of(run, data="nowhere")


def test_the_names_of_each_goal():
    hidden = story(scenario(goal="self-concealment"))
    assert hidden.wanted == "something else"
    assert hidden.title(str) == "A a is called something else by 2 of 3 victims"
    alone = dataclasses.replace(story(), scenario=None)
    assert (alone.true, alone.wanted) == ("a", "b")


def test_a_story_tells_of_a_defense_and_what_it_threw_away(run):
    assert not {"defense", "thrown away"} & dict(story_of(run).settings).keys()
    saved = json.loads((run / "settings.json").read_text("utf-8"))
    saved["attack"]["defense"]["defense"] = "loss"
    del saved[SEAL]
    (run / "settings.json").write_text(json.dumps(sealed(saved)), "utf-8")
    counts = {"poisons": 6, "caught": 2, "innocents": 54, "lost": 10}
    summary = {"screening": {"poisoned": counts}}
    (run / "summary.json").write_text(json.dumps(summary), "utf-8")
    told = dict(story_of(run).settings)
    assert told["defense"] == "loss, suspected 0.1, looks_after 1.0"
    assert told["thrown away"] == "2 of 6 poisons and 10 of 54 other pictures"
    summary["screening"]["poisoned"]["caught"] = "all"
    (run / "summary.json").write_text(json.dumps(summary), "utf-8")
    with pytest.raises(RecordError, match="caught"):
        story_of(run)
