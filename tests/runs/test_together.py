"""What the ranks of a run tell one another; see tests/ranks for the run itself."""

from __future__ import annotations

import dataclasses

import pytest

from mpkit.device import cores
from mpkit.ranks import Ranks
from mpkit.runs import origin, together
from mpkit.runs.attack import make_attack
from mpkit.runs.prepared import prepare
from tests.ranks.work import TINY


class Said(Ranks):
    """Ranks of which the first has said something, and which keep what it says."""

    words: list

    def told(self, value=None):
        if self.first:
            self.words.append(value)
        return self.words[-1]


@pytest.fixture
def two():
    Said.words = []
    return Said(0, 2), Said(1, 2)


@pytest.fixture(scope="module")
def ready(cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPKIT_DATA", str(cache))
        return prepare(make_attack("ci", **TINY), progress=False)


def test_who_follows_has_the_first_ones_attack_and_folder(ready, two, tmp_path):
    leading = together.lead(ready, tmp_path, two[0])
    following, folder = together.follow(two[1])
    assert following.attack == leading.attack == ready.attack
    assert folder == str(tmp_path)
    assert (following.ranks, leading.ranks) == (two[1], two[0])
    assert following.plan == leading.plan
    assert origin.digest(following.scenario) == origin.digest(ready.scenario)


@pytest.mark.parametrize("device", ["cuda:1", "mps"])
def test_a_device_that_several_can_t_share_is_refused(device, ready, two, tmp_path):
    attack = dataclasses.replace(ready.attack, device=device)
    with pytest.raises(ValueError, match=f"several processes can't share --device '{device}'"):
        together.lead(dataclasses.replace(ready, attack=attack), tmp_path, two[0])


@pytest.mark.parametrize("local", [1, 2, 1000])
def test_each_rank_takes_its_share_of_the_cores(local, ready, two, tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(local))
    leading = together.lead(ready, tmp_path, two[0])
    for plan, whole in ((leading.plan, ready.plan), (leading.victim_plan, ready.victim_plan)):
        assert plan.workers == min(whole.workers, max(1, cores() // local))
        assert plan.chunk == whole.chunk


@pytest.mark.parametrize(
    "name", ["data (fingerprint)", "version of torch", "version of mpkit's code"]
)
def test_other_data_or_versions_are_refused(name, ready, two, tmp_path):
    together.lead(ready, tmp_path, two[0])
    Said.words[-1]["alike"][name] = "another"
    with pytest.raises(ValueError, match=f"not every process has the same {name}".split("(")[0]):
        together.follow(two[1])


def test_alone_a_state_is_whole_and_all_its_own(ready):
    state, _ = next(ready.craft())
    assert together.whole(state, ready) is state
    assert together.handed_out(state, ready) is state
    assert together.handed_out(None, ready) is None
    assert dataclasses.replace(ready).ranks.size == 1
