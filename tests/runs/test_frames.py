"""How poisons grew, in a file that no run needs."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mpkit.runs import frames
from mpkit.runs.frames import NAME, SHOWN, FrameKeeper, load_frames, save_frames
from mpkit.runs.record import RecordError
from tests.runs.conftest import changed, scenario


def kept(s, steps, most=frames.MOST) -> FrameKeeper:
    """A keeper that was offered these steps, of which the last is the run's last."""
    keeper = FrameKeeper(s, most)
    for step in steps:
        if keeper.wants(step, last=step == steps[-1]):
            keeper.add(step, changed(s, by=step % 50))
    return keeper


def test_frames_come_back_as_they_were(tmp_path):
    s = scenario(3, poisons=12)
    found = kept(s, range(1, 8)).frames()
    save_frames(tmp_path, found)
    again = load_frames(tmp_path)
    assert (again.steps, again.which) == (tuple(range(1, 8)), found.which)
    assert len(again.which) == SHOWN
    assert torch.equal(again.pictures[4], changed(s, 5)[list(again.which)])
    mean = (changed(s, 5).float() - (255 * s.base_images).round()).mean(0)
    assert torch.equal(again.mean[4], mean.half())


@pytest.mark.parametrize("count", [1, 2, 30, 101])
def test_the_file_stays_small_and_has_the_first_and_the_last_step(count, tmp_path):
    s = scenario(poisons=4)
    one = s.base_images[0].numel() * 6
    found = kept(s, range(1, count + 1), most=10 * one).frames()
    assert len(found.steps) <= 10
    assert (found.steps[0], found.steps[-1]) == (1, count)
    apart = {b - a for a, b in zip(found.steps[:-1], found.steps[1:-1], strict=False)}
    assert len(apart) <= 1  # at equal distances
    save_frames(tmp_path, found)
    assert (tmp_path / NAME).stat().st_size < 10 * one + 2000


def test_a_run_that_is_resumed_goes_on_with_its_frames(tmp_path):
    s = scenario()
    save_frames(tmp_path, kept(s, range(1, 6)).frames())
    keeper = FrameKeeper(s)
    keeper.go_on(tmp_path, done=3)  # steps 4 and 5 are crafted again
    keeper.add(4, changed(s, 4))
    assert keeper.frames().steps == (1, 2, 3, 4)
    other = FrameKeeper(scenario(3))
    other.go_on(tmp_path, done=3)
    assert other.frames() is None
    (tmp_path / NAME).write_bytes(b"x")
    keeper = FrameKeeper(s)
    keeper.go_on(tmp_path, done=3)  # no run ends for the sake of what is only looked at
    assert keeper.frames() is None


def test_no_file_is_no_frames(tmp_path):
    save_frames(tmp_path, None)
    assert load_frames(tmp_path) is None


def test_what_is_damaged_is_refused(tmp_path):
    found = kept(scenario(), range(1, 4)).frames()
    wrong = [
        {"steps": (3, 2, 1)}, {"steps": (1, 2)}, {"which": (0, 1)}, {"which": (-1, 1, 2, 3)},
        {"pictures": found.pictures.float()}, {"mean": found.mean[:, :, 1:]},
        {"mean": found.mean * float("inf")},
    ]  # fmt: skip
    for broken in wrong:
        save_frames(tmp_path, dataclasses.replace(found, **broken))
        with pytest.raises(RecordError, match="no frames can be read from"):
            load_frames(tmp_path)
    save_frames(tmp_path, found)
    blob = bytearray((tmp_path / NAME).read_bytes())
    blob[-1] ^= 1
    (tmp_path / NAME).write_bytes(blob)
    with pytest.raises(RecordError, match="checksum"):
        load_frames(tmp_path)
