"""Runs on several processes, one of which is killed (kill -9) at a random moment; resumed, and
compared with a run that nobody killed.

    python tests/fuzz/ranks.py [how many kills] [--seed 0] [--first 0]

Each number is a run of its own on two or three ranks; the others must end in time, with one
message, and one, two or three ranks go on. A number is repeated by --first.
"""

from __future__ import annotations

import random
import shutil
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[2]))

from killed import HOW, computed
from watching import killing

from tests.ranks.launch import Launched, launch

IN_TIME = 60
"""Seconds in which the others must have ended."""
STEPS = 40
LONGER = [*HOW, "--craft-steps", str(STEPS), "--models", "3"]


class Runs:
    """Runs in one folder, and what they must come to."""

    def __init__(self, parent: Path):
        self.parent, began = parent, time.monotonic()
        launched = self.start(2, "whole")
        assert launched.codes() == [0, 0], launched.said()
        self.took = time.monotonic() - began
        self.expected = computed(parent / "whole")

    def start(self, ranks: int, name: str = "run") -> Launched:
        begun = (self.parent / name / "settings.json").exists()
        how = ["attack", "--resume", name, "--quiet"] if begun else [*LONGER, "--out", name]
        return launch(ranks, "-m", "mpkit", *how, folder=self.parent)

    def reached(self, step: int) -> bool:
        """Whether the run was begun, and has recorded so many steps."""
        records = self.parent / "run" / "records.jsonl"
        done = records.read_bytes().count(b"\n") if records.exists() else 0
        return done >= step and (self.parent / "run" / "settings.json").exists()

    def killed(self, number: int, seed: int) -> tuple[bool, str, float, str]:
        """A run killed and resumed: whether the kill hit it, how it was done, the seconds that the
        others took to end, and what is wrong, or ""."""
        draw, wrong = random.Random(f"{seed} {number}"), []
        shutil.rmtree(self.parent / "run", ignore_errors=True)
        ranks, again = draw.choice((2, 3)), draw.choice((1, 2, 3))
        lost, step, later = draw.randrange(ranks), draw.randint(0, STEPS), draw.uniform(0, 0.3)
        launched = self.start(ranks)
        while not self.reached(step) and all(p.poll() is None for p in launched.processes):
            time.sleep(0.002)
        time.sleep(later)
        launched.processes[lost].kill()
        began = time.monotonic()
        codes = launched.codes(IN_TIME + 240)
        ended = time.monotonic() - began
        told = sum("lost rank" in text for text in launched.said())
        # At the very end those that are done do not need the one that was killed.
        hit = codes[lost] == -signal.SIGKILL and sum(codes) != codes[lost]
        if ended > IN_TIME:
            wrong.append(f"ended after {ended:.0f} s with {codes}")
        if hit and (told != 1 or codes.count(1) != ranks - 1):
            wrong.append(f"said {told} times: {codes} {launched.said()}")
        on = self.start(again)
        if codes := [code for code in on.codes() if code]:
            wrong.append(f"resumed, {codes}: {on.said()}")
        else:
            found = computed(self.parent / "run")
            wrong += [k for k in found if found[k] != self.expected[k]]
        how = f"rank {lost} of {ranks} {later:.2f} s after step {step}, then {again}"
        return hit, how, ended, ", ".join(wrong)


def fuzz(count: int, seed: int, first: int, parent: Path) -> list[str]:
    """The failures of so many kills that hit a run; prints counts."""
    runs, failures, hits, number, longest = Runs(parent), [], 0, first, 0.0
    while hits < count:
        hit, how, ended, wrong = runs.killed(number, seed)
        print(f"{number}: {how}; ended in {ended:.1f} s {wrong}", flush=True)
        failures += [f"{number}: {wrong}"] * bool(wrong)
        hits, number, longest = hits + hit, number + 1, max(longest, ended)
    print(
        f"{hits} kills in {number - first} runs of {runs.took:.1f} s, {len(failures)} failures; "
        f"the others ended within {longest:.1f} s"
    )
    return failures


if __name__ == "__main__":
    sys.exit(killing(__doc__, fuzz))
