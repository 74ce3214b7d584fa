"""Attacks that take longer than one call: crafting and victims that stop in time, and go on.

Crafting is kept as a run folder, which `mpkit attack --resume` and the labs open; victims between
two epochs, and what they say at their end in a folder of lines.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from bench.ledger import Clock, Paused, Skipped
from safetensors import safe_open
from safetensors.torch import save

from mpkit.data import files
from mpkit.device import plan_for
from mpkit.evaluation.records import LAST, VictimRecord, victim_of
from mpkit.evaluation.tally import tallies
from mpkit.evaluation.victims import arm_pictures, noise_poisons, victim_seed, watched
from mpkit.functional import State
from mpkit.metapoison import poisons_of
from mpkit.networks import network
from mpkit.runs import record
from mpkit.runs.attack import Attack
from mpkit.runs.folder import begin, hold, open_run, saved_state
from mpkit.runs.origin import digest
from mpkit.runs.prepared import Prepared, prepare
from mpkit.training import EpochRecord, train

EVERY = 60
"""Seconds between two states of victims on disk."""


class Runs:
    """Attacks in `folder`, of which the last one stays loaded; `clock` says when to stop."""

    def __init__(self, folder: Path, clock: Clock):
        self.folder, self.clock = folder, clock
        self._last: tuple[Attack, Prepared] | None = None

    def ready(self, attack: Attack) -> Prepared:
        """The attack, loaded."""
        if not self._last or self._last[0] != attack:
            self._last = None  # before others are loaded beside it
            self._last = attack, prepare(attack, progress=False)
        return self._last[1]

    def craft(self, name: str, attack: Attack, until: int | None = None) -> dict:
        """Go on to craft step `until`, or to the end. Raises Paused, and ValueError where the run
        in the folder is another one."""
        folder, ready = self.folder / name, self.ready(attack)
        total = attack.settings.craft_steps
        with hold(folder):
            if not (folder / "settings.json").exists():
                begin(ready, out=folder)
            else:
                begun = open_run(folder)
                if (begun.attack, begun.data) != (ready.attack, digest(ready.scenario)):
                    raise ValueError(f"{folder} holds another run: name another --out")
            state = saved_state(folder, ready)
            done = state.step if state else 0
            if done or (folder / "records.jsonl").exists():
                record.truncate_records(folder, done)
            for state, step in ready.craft(state) if done < (until or total) else ():  # noqa: B020
                record.append(folder / "records.jsonl", [step])
                record.save_state(folder, state)
                if step.step >= (until or total):
                    break
                if self.clock.over(1.2 * step.seconds):
                    raise Paused(f"craft step {step.step} of {total}")
            if state.step == total:
                record.save_poisons(folder, self._poisons(ready, state), ready.scenario.bases)
        steps = record.replay(folder)
        seconds = [s.seconds for s in steps]
        return {
            "run": str(folder),
            "steps": len(steps),
            "crafting, s": sum(seconds),
            "s a step": sum(seconds[1:]) / max(1, len(seconds) - 1),
            "loss": [steps[0].loss, steps[-1].loss],
            "GPU memory, GiB": _most_memory(ready.scenario.targets.device),
        }

    @staticmethod
    def _poisons(ready: Prepared, state) -> torch.Tensor:
        return poisons_of(ready.scenario, state, ready.attack.settings)

    def victims(
        self,
        name: str,
        attack: Attack,
        *,
        poisons: str | None,
        arms: Sequence[str],
        numbers: range,
        chunk: int | None = None,
    ) -> dict:
        """Train these victims of each arm, on the poisons of the run called `poisons`, and count.
        `chunk`: how many side by side (all). Raises Paused, and Skipped without poisons."""
        lines, ready = self.folder / "victims" / f"{name}.jsonl", self.ready(attack)
        path, scenario, a = lines.with_suffix(".safetensors"), ready.scenario, attack
        lines.parent.mkdir(parents=True, exist_ok=True)
        pictures = {}
        for arm in arms:
            given = None
            if arm == "poisoned":
                given = self._crafted(poisons)
            elif arm == "noise":
                s = a.settings
                bounds = s.epsilon, s.seed, s.epsilon_c, s.perturbation
                given = noise_poisons(scenario, *bounds)
            pictures[arm] = arm_pictures(scenario, given)
        who = [(arm, v) for arm in arms for v in numbers]
        shape, classes = scenario.train.shape, len(scenario.train.classes)
        module = network(a.victim_network or a.network, shape, classes, a.batch_norm, fused=True)
        plan = plan_for(len(who), scenario.targets.device)
        if chunk:
            plan = dataclasses.replace(plan, chunk=chunk)
        epochs = a.victim_recipe.epochs
        runs = train(
            module,
            scenario.train.x,
            scenario.train.y,
            a.victim_recipe,
            [victim_seed(a.settings.seed, v) for _, v in who],
            plan=plan,
            own_x=[pictures[arm] for arm, _ in who].__getitem__,
            after=_read(path),
        )
        *_, (_, records) = watched(
            scenario, module, self._kept(runs, path, epochs), epochs, who, plan=plan
        )
        record.write_lines(lines, records)
        path.unlink(missing_ok=True)
        return counted(records) | {"lines": str(lines), "plan": str(plan)}

    def _crafted(self, name: str) -> torch.Tensor:
        folder = self.folder / name
        if not (folder / "poisons.safetensors").exists():
            raise Skipped(f"there are no poisons in {folder} yet")
        return record.load_poisons(folder)[0]

    def _kept(self, runs, path: Path, epochs: int) -> Iterator[tuple[State, EpochRecord]]:
        """The same epochs, with a state on disk now and then, and when time is up. The last ones
        are done in one call: whether a flip holds is told by all of them."""
        saved, last, end = Clock(EVERY / 60), Clock(0), epochs - LAST
        for state, epoch in runs:
            yield state, epoch
            took, last = Clock(0).end - last.end, Clock(0)
            stop = epoch.epoch < epochs and self.clock.over(1.2 * took)
            if epoch.epoch == end or (epoch.epoch < end and (stop or saved.over())):
                _write(path, epoch.epoch, state)
                saved = Clock(EVERY / 60)
            if stop:
                raise Paused(f"victims' epoch {min(epoch.epoch, max(end, 0))} of {epochs}")


def counted(records: Sequence[VictimRecord]) -> dict:
    """What came of each arm: successes of how many, the interval, and accuracy."""
    found = {}
    for arm, t in tallies(records).items():
        rate, other = t["success"], t.get("other_statistics")
        found[arm] = {k: v for k, v in rate.items() if isinstance(v, int | float)}
        found[arm] |= {"accuracy": t["accuracy"], "p adversarial": t["adversarial_probability"]}
        if other:
            found[arm]["by the other statistics"] = other["success"]
    return found


def pooled(folder: Path, names: Sequence[str]) -> dict:
    """The same, of all victims that are there in `folder` under these names."""
    there = [f for n in names if (f := folder / "victims" / f"{n}.jsonl").exists()]
    if not there:
        raise Skipped("no victims are there")
    records = [r for f in there for r in record.each_line(f, victim_of, True)]
    return {"of": len(there)} | counted(records)


def _write(path: Path, epoch: int, state: State) -> None:
    parts = {f"{i}/{k}": v.contiguous() for i, p in enumerate(state) for k, v in p.items()}
    files.write(path, save(parts, {"epoch": str(epoch)}))


def _read(path: Path) -> tuple[int, State] | None:
    if not path.exists():
        return None
    with safe_open(path, "pt") as file:
        parts: tuple[dict, dict] = {}, {}
        for key in list(file.keys()):
            i, _, name = key.partition("/")
            parts[int(i)][name] = file.get_tensor(key)
        return int(file.metadata()["epoch"]), State(*parts)


def _most_memory(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0
