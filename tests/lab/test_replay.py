"""ReplayLab: what was recorded is what is drawn, and nothing else is needed for it."""

from __future__ import annotations

import json
import shutil

import pytest

from mpkit.__main__ import main
from mpkit.data.schema import sealed, unsealed
from mpkit.evaluation.tally import success_rate
from mpkit.lab import ReplayLab
from mpkit.lab.kit.runner import Phase
from mpkit.lab.replay import RECORDED, find
from mpkit.runs import record
from mpkit.runs.folder import open_run
from mpkit.runs.record import RecordError
from tests.lab.conftest import finished

pytestmark = pytest.mark.usefixtures("unpainted")

FLAGS = (
    "attack --scale ci --data digits --n-train 60 --n-test 60 --classes 1,7 --size 8 --models 2 "
    "--epochs 3 --craft-steps 4 --batch 20 --victims 2 --quiet"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small run of the command line."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    assert main([*FLAGS.split(), "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def lab(run, monkeypatch):
    monkeypatch.delenv("MPKIT_SYNC", raising=False)
    lab = ReplayLab(run, rate=200)
    yield lab
    lab.close()
    lab.runner.close(30)


def test_it_shows_what_was_recorded(lab, run, until):
    assert "Nothing has been replayed" in lab.canvas.widget.value
    lab.transport.buttons["run"].click()
    until(lambda: lab.runner.phase is Phase.DONE)
    assert lab.records == record.replay(run)
    summary = record.read_json(run / "summary.json")
    assert [r.loss for r in lab.records] == summary["adversarial_loss"]
    for arm in ("poisoned", "clean", "noise"):
        found, kept = success_rate(lab.arrived, arm), summary["arms"][arm]["success"]
        assert (found.successes, found.n) == (kept["successes"], kept["n"])
        assert str(found) in lab.describe()
    lab.transport.buttons["reset"].click()
    assert (lab.records, lab.arrived, lab.ghost.label) == ([], [], "last run")


def test_it_rests_and_steps(lab, until):
    lab.transport.buttons["step"].click()
    until(lambda: lab.runner.phase is Phase.PAUSED)
    assert len(lab.records) == 1


def test_the_pictures_are_not_needed(run, tmp_path, monkeypatch):
    monkeypatch.setenv("MPKIT_SYNC", "1")
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("settings.json", "records.jsonl"):
        shutil.copy(run / name, bare)
    lab = ReplayLab(bare)
    lab.runner.run()
    assert len(lab.records) == lab.total() == 4
    lab.close()


def test_a_change_in_mid_run_has_its_mark(run, tmp_path, monkeypatch):
    monkeypatch.setenv("MPKIT_SYNC", "1")
    changed = shutil.copytree(run, tmp_path / "changed")
    rows = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    later = {"epsilon": 10 / 255, "unroll_steps": 5}
    rows = [sealed(unsealed(row) | (later if row["step"] > 2 else {})) for row in rows]
    (changed / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    lab = ReplayLab(changed)
    lab.runner.run()
    assert [where for where, _ in lab.marks] == [2.5, 2.5]
    assert [text.split(" → ")[1] for _, text in lab.marks] == ["10", "5"]
    lab.close()


def test_what_is_no_run_is_refused_in_words(tmp_path, run):
    with pytest.raises(RecordError, match="is no run folder"):
        ReplayLab(tmp_path)
    broken = shutil.copytree(run, tmp_path / "broken")
    (broken / "victims.jsonl").write_text('{"arm": "clean"}\n')
    with pytest.raises(RecordError, match=r"victims\.jsonl is damaged"):
        open_run(broken).victims()
    (broken / "settings.json").write_text('{"attack": {}}')
    with pytest.raises(RecordError, match=r"settings\.json is damaged"):
        ReplayLab(broken)


def test_every_run_that_ships_can_be_replayed(monkeypatch):
    monkeypatch.setenv("MPKIT_SYNC", "1")
    names = sorted(p.parent.name for p in RECORDED.glob("*/settings.json"))
    assert "cifar10-three-classes" in names
    for name in names:
        assert find(name) == RECORDED / name
        kept = {p.name for p in (RECORDED / name).iterdir()}
        told = {"settings.json", "records.jsonl", "victims.jsonl", "summary.json"}
        assert kept <= told | {"differences.safetensors", "bases.json", "poisons.safetensors"}
        lab = ReplayLab(name)
        lab.runner.run()
        assert lab.runner.phase is Phase.DONE
        assert len(lab.arrived) == len(open_run(RECORDED / name).victims()) > 0
        lab.close()


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), "4", None])
def test_a_rate_that_is_none_is_refused_in_words(run, rate):
    with pytest.raises(ValueError, match=f"a number above 0, and not {rate!r}"):
        ReplayLab(run, rate=rate)


def test_a_run_whose_pictures_are_here_shows_its_poisons(until):
    lab = ReplayLab("signs-stop", rate=1000)
    try:
        gallery, (scenario, frames) = lab.exhibit.gallery, lab.grown
        assert gallery.poisons == gallery.bases  # nothing is replayed yet
        finished(lab, until)
        assert gallery.poisons == frames.pictures[-1][:6].numpy().tobytes()
        assert len(frames.which) == len(scenario.bases) == gallery.total
        gallery.press(2)
        assert "while poisons are crafted" in lab.exhibit.words.value
        lab.scrub(1)
        early = [i for i, step in enumerate(frames.steps) if step <= 1]
        shown = frames.pictures[early[-1]][:6].numpy().tobytes() if early else gallery.bases
        assert gallery.poisons == shown
    finally:
        lab.close()


def test_a_run_whose_pictures_are_elsewhere_shows_its_numbers():
    lab = ReplayLab(rate=1000)
    try:
        assert lab.grown is None
        assert lab.exhibit.widget not in lab.panel.children
    finally:
        lab.close()
