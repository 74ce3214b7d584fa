"""One attack on several ranks: the first has the folder, and tells the others what to do."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from mpkit.data.schema import built, strict
from mpkit.device import Plan
from mpkit.metapoison import CraftState
from mpkit.ranks import Ranks
from mpkit.runs import origin, record
from mpkit.runs.prepared import Prepared, prepare
from mpkit.runs.saved import from_dict, to_dict
from mpkit.runs.workers import share_of_cores

TYPES = {str(t): t for t in (torch.float32, torch.float64, torch.bfloat16, torch.int64)}
"""What a state's tensors are made of."""


def lead(ready: Prepared, folder: Path, ranks: Ranks) -> Prepared:
    """The first rank's attack on all `ranks`, which hear of it (see `follow`). Raises ValueError
    for a device that they can't share."""
    if (device := ready.attack.device) not in ("auto", "cpu", "cuda"):
        raise ValueError(
            f"several processes can't share --device {device!r}: with cuda each has a GPU of its "
            "own; or say cpu, or auto"
        )
    plans = (ready.plan, ready.victim_plan)
    said = {
        "attack": to_dict(ready.attack),
        "plans": [dataclasses.asdict(plan) for plan in plans],
        "alike": _alike(ready),
        "folder": str(folder),
    }
    ranks.told(strict(said))
    return _sharing(ready, ranks)


def follow(ranks: Ranks) -> tuple[Prepared, str]:
    """The attack that the first rank leads, and its folder. Raises ValueError where data or
    versions are other ones here."""
    said = ranks.told()
    plans = [built(Plan, plan) for plan in said["plans"]]
    ready = prepare(from_dict(said["attack"]), False, *plans)
    mine = _alike(ready)
    for name, theirs in said["alike"].items():
        if mine[name] != theirs:
            raise ValueError(
                f"not every process has the same {name}: {theirs} on the first, and {mine[name]} "
                "here; give all of them the same"
            )
    return _sharing(ready, ranks), said["folder"]


def _alike(ready: Prepared) -> dict[str, str]:
    """What must be the same everywhere."""
    found = origin.versions()
    data = {"data (fingerprint)": origin.digest(ready.scenario)}
    found["mpkit's code"] = origin.code()
    return data | {f"version of {name}": found[name] for name in ("mpkit", "mpkit's code", "torch")}


def _sharing(ready: Prepared, ranks: Ranks) -> Prepared:
    """Each rank with no more threads than its share of this host's cores. Run folders have the
    plan of the whole host, so that a run goes on well with another number of ranks."""
    share = share_of_cores(ranks)
    plans = (ready.plan, ready.victim_plan)
    fewer = [dataclasses.replace(p, workers=min(p.workers, share)) for p in plans]
    return dataclasses.replace(ready, plan=fewer[0], victim_plan=fewer[1], ranks=ranks)


def whole(state: CraftState, ready: Prepared) -> CraftState:
    """A state with every rank's surrogates, on the first rank: what is saved of it."""
    if ready.ranks.size == 1:
        return state
    count, gathered = ready.attack.settings.models, ready.ranks.gathered
    all_of_it = state.surrogates.map(lambda t: gathered(t, count, first_only=True))
    return dataclasses.replace(state, surrogates=all_of_it)


def handed_out(state: CraftState | None, ready: Prepared) -> CraftState | None:
    """The first rank's state on all of them, each with its own surrogates; None where a run
    begins. The others give None."""
    ranks, device = ready.ranks, ready.scenario.targets.device
    if ranks.size == 1:
        return state
    flat = record.flatten(state) if state else {}
    looks = {name: (str(t.dtype), list(t.shape)) for name, t in flat.items()}
    looks = ranks.told({"step": state.step if state else 0, "looks": looks})
    if not looks["looks"]:
        return None
    for name, (kind, shape) in looks["looks"].items():
        mine = flat.get(name)
        mine = torch.empty(shape, dtype=TYPES[kind], device=device) if mine is None else mine
        flat[name] = ranks.sent(mine)
    found, own = record.unflatten(looks["step"], flat), ranks.own(ready.attack.settings.models)
    mine = found.surrogates.map(lambda t: t[own.start : own.stop].clone())
    return dataclasses.replace(found, surrogates=mine)
