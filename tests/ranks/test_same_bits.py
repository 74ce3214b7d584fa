"""Any number of processes gives what one gives, bit for bit."""

from __future__ import annotations

import json

import pytest
import torch

from tests.ranks.launch import launch
from tests.ranks.work import CASES, come_to


@pytest.fixture(scope="module")
def of_ranks(cache, tmp_path_factory):
    """All cases by two and by four ranks: one start for all of them."""
    found = {}
    for ranks in (2, 4):
        folder = tmp_path_factory.mktemp("ranks")
        command = ("-m", "tests.ranks.work", str(folder / "found.json"))
        launched = launch(ranks, *command, folder=folder, MPKIT_DATA=str(cache))
        assert launched.codes() == [0] * ranks, launched.said()
        found[ranks] = json.loads((folder / "found.json").read_text("utf-8"))
    return found


@pytest.mark.parametrize("case", CASES)
def test_two_and_four_ranks_give_what_one_process_gives(case, of_ranks, cache, monkeypatch):
    monkeypatch.setenv("MPKIT_DATA", str(cache))
    torch.set_num_threads(1)
    alone = come_to(case)
    assert alone[1]
    assert alone[2]
    for ranks, found in of_ranks.items():
        assert found[case] == alone, ranks
