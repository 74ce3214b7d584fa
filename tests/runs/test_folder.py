"""How a run folder begins and is opened again, and what it is called."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time

import pytest
from safetensors.torch import load_file, save_file

from mpkit.data import places
from mpkit.data.schema import SEAL, sealed
from mpkit.device import Plan
from mpkit.evaluation.records import VictimRecord
from mpkit.runs import origin, record
from mpkit.runs.attack import make_attack
from mpkit.runs.folder import begin, name_of, open_run, refuse_used
from mpkit.runs.prepared import prepare
from tests.data.conftest import encoded, pack, tree


@pytest.fixture
def ready():
    return prepare(
        make_attack(
            "ci", data="digits", size=10, n_train=60, n_test=100, target_index=(0,), models=1
        )
    )


def test_a_run_opens_as_it_was_begun(ready, tmp_path):
    folder = begin(ready, parent=tmp_path)
    run = open_run(folder)
    assert run.attack == ready.attack
    assert run.attack.target_class == "1"  # what was a default is written down by name
    assert run.plans == (ready.plan, ready.victim_plan)
    again = run.prepare(progress=False)
    assert origin.digest(again.scenario) == origin.digest(ready.scenario)
    assert run.victims() == []
    assert begin(ready, parent=tmp_path) != folder


def test_a_run_goes_on_with_no_more_threads_than_there_are_cores_for_it(
    ready, tmp_path, monkeypatch
):
    large = dataclasses.replace(ready, plan=Plan(1, 16), victim_plan=Plan(3))
    run = open_run(begin(large, parent=tmp_path))
    monkeypatch.setenv("MPKIT_THREADS", "1")
    again = run.prepare(progress=False)
    assert (again.plan, again.victim_plan) == (Plan(), Plan(3))


def test_a_folder_that_is_named_is_used(ready, tmp_path):
    refuse_used(tmp_path / "mine")
    assert begin(ready, out=tmp_path / "mine") == tmp_path / "mine"
    with pytest.raises(ValueError, match="holds a run already"):
        refuse_used(tmp_path / "mine")


def resealed(settings: dict) -> str:
    return json.dumps(sealed({k: v for k, v in settings.items() if k != SEAL}))


def test_settings_that_were_changed_by_hand_are_refused(ready, tmp_path):
    folder = begin(ready, parent=tmp_path)
    settings = json.loads((folder / "settings.json").read_text())
    for name in settings:
        without = {k: v for k, v in settings.items() if k != name}
        for broken in (without, settings | {name: "x"}):
            (folder / "settings.json").write_text(json.dumps(broken))
            with pytest.raises(record.RecordError, match=r"settings\.json is damaged"):
                open_run(folder)
    # Another order of names and other spaces say the same.
    (folder / "settings.json").write_text(json.dumps(dict(sorted(settings.items())), indent=3))
    assert open_run(folder).attack == ready.attack


def test_runs_of_an_earlier_mpkit_need_no_checksums(ready, tmp_path):
    folder = begin(ready, parent=tmp_path)
    settings = json.loads((folder / "settings.json").read_text())
    old = {k: v for k, v in settings.items() if k != SEAL} | {"format": 1}
    (folder / "settings.json").write_text(json.dumps(old))
    one = VictimRecord("poisoned", 0, (0,), (True,), (0.9,), (0.1,), 0.5)
    (folder / "victims.jsonl").write_text(json.dumps(dataclasses.asdict(one)) + "\n")
    assert open_run(folder).victims() == [one]
    (folder / "settings.json").write_text(resealed(settings))
    with pytest.raises(record.RecordError, match=r"line 1: it was changed since"):
        open_run(folder).victims()


def test_other_data_and_newer_formats_are_refused(ready, tmp_path):
    folder = begin(ready, parent=tmp_path)
    settings = json.loads((folder / "settings.json").read_text())
    (folder / "settings.json").write_text(resealed(settings | {"data": "0" * 16}))
    with pytest.raises(record.RecordError, match="the data are not those"):
        open_run(folder).prepare(progress=False)
    (folder / "settings.json").write_text(resealed(settings | {"format": 3}))
    with pytest.raises(record.RecordError, match="newer mpkit"):
        open_run(folder)
    assert open_run(begin(ready, parent=tmp_path)).folder != folder
    wrong = [{"attack": 3}, {"plan": 3}, {"targets": [1]}, {"targets": [{"index": 0}]}]
    wrong += [{"plan": {"chunk": True, "workers": 1}}, {"plan": {"chunk": 10**30, "workers": 1}}]
    wrong += [{"plan": {"chunk": 1}}, {"victim_plan": {}}, {"data": "é" * 16}, {"data": ""}]
    wrong += [{"data": None}, {"weights": 3}, {"device": []}, {"versions": {"torch": 2}}]
    wrong += [{"format": "1"}, {"format": True}, {"format": 1.0}, {"format": 0}, {"new": 1}]
    wrong += [{"plan": {"chunk": 1, "workers": 1, "gpus": 8}}]
    for broken in wrong:
        (folder / "settings.json").write_text(resealed(settings | broken))
        with pytest.raises(record.RecordError, match="is damaged"):
            open_run(folder)


def test_no_victim_stands_there_twice(ready, tmp_path):
    folder = begin(ready, parent=tmp_path)
    one = VictimRecord("poisoned", 0, (0,), (True,), (0.9,), (0.1,), 0.5)
    record.append(folder / "victims.jsonl", [one, dataclasses.replace(one, arm="clean")])
    assert len(open_run(folder).victims()) == 2
    record.append(folder / "victims.jsonl", [one])
    with pytest.raises(record.RecordError, match=r"line 3: victim 0 .poisoned. stands"):
        open_run(folder).victims()


def test_a_run_may_go_on_on_another_device(ready, tmp_path):
    run = open_run(begin(ready, parent=tmp_path))
    assert run.prepare(progress=False, device="cpu").attack == dataclasses.replace(
        ready.attack, device="cpu"
    )


@pytest.fixture
def brought(tmp_path, monkeypatch):
    """A run in tmp_path/run on pictures and weights that were named from tmp_path/here."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    pack(tmp_path / "here", tree(10, 4, size=(32, 32)), name="caf\udce9")
    shutil.copy(places.SHIPPED / "pretrained/cifar10-small.safetensors", "mine.safetensors")
    how = {"data": "caf\udce9", "fine_tune": "last", "weights": "mine.safetensors"}
    begin(prepare(make_attack("ci", **how, target_index=(0,))), out=tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_finds_its_pictures_and_weights_from_where_it_began(brought):
    run = open_run(brought / "run")
    assert run.attack.data == "caf\udce9"  # as it was named
    assert run.prepare(progress=False).attack.weights == str(brought / "here/mine.safetensors")


def test_pictures_that_moved_are_named_and_must_be_the_same(brought):
    moved = (brought / "here/caf\udce9").rename(brought / "moved")
    run = open_run(brought / "run")
    with pytest.raises(record.RecordError, match="say where they are now with --data"):
        run.prepare(progress=False)
    assert run.prepare(progress=False, data=str(moved)).scenario.train.name == "moved"
    assert run.prepare(progress=False, data="moved").scenario.train.name == "moved"
    (moved / "train/ant/0.png").write_bytes(encoded((99, 99, 99), size=(32, 32)))
    with pytest.raises(record.RecordError, match="the data are not those of the run"):
        run.prepare(progress=False, data="moved")


@pytest.mark.parametrize("bases", ["first", "nearest"])
def test_other_weights_are_said_to_be_the_weights(brought, bases):
    weights = brought / "here/mine.safetensors"
    how = {"data": str(brought / "here/caf\udce9"), "fine_tune": "last", "weights": str(weights)}
    attack = make_attack("ci", **how, target_index=(0,), bases=bases, budget=0.2)
    run = open_run(begin(prepare(attack), out=brought / bases))
    tensors = load_file(weights)
    tensors["features.conv1.weight"] = tensors["features.conv1.weight"].flip(1)
    save_file(tensors, weights, {"network": "convnet-small", "data": "other"})
    with pytest.raises(record.RecordError, match=r"the weights .* are not those"):
        run.prepare(progress=False)


def test_the_folder_that_paths_lead_from_may_be_gone(brought):
    (brought / "here").rename(brought / "there")
    os.chdir(brought / "there")
    open_run(brought / "run").prepare(progress=False)  # as it was named, from here


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "digits-targeted-seed0"),
        ({"target_class": "3", "poison_class": "8", "seed": 7}, "digits-3-as-8-seed7"),
        ({"target_class": "3", "adversarial_class": "5"}, "digits-3-as-5-seed0"),
        ({"goal": "self-concealment", "target_class": "3"}, "digits-self-concealment-seed0"),
        ({"data": "/a b/my pets.zip"}, "my_pets-targeted-seed0"),
        ({"target_class": "../x", "poison_class": "a/b"}, "digits-.._x-as-a_b-seed0"),
        (
            {"target_class": "x" * 300, "poison_class": "y" * 300, "data": "z" * 300},
            f"{'z' * 40}-{'x' * 40}-as-{'y' * 40}-seed0",
        ),
        ({"target_class": "猫", "poison_class": "Kätzchen"}, "digits-猫-as-Kätzchen-seed0"),
    ],
)
def test_the_name_of_a_run_says_when_and_what_and_is_one_folder(given, name, monkeypatch):
    attack = make_attack("ci", **{"data": "digits"} | given)
    monkeypatch.setattr(time, "strftime", lambda _: "20260102-030405")
    assert name_of(attack) == f"20260102-030405-{name}"
