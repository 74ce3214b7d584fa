"""``mpkit attack``: craft poisons, train victims and controls, count; into a folder."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path

from tqdm import tqdm

from mpkit import record
from mpkit.attack import Prepared, from_dict, prepare, run_folder, summarise, to_dict
from mpkit.cli.options import attack_from, given
from mpkit.device import Plan, describe, pick_device
from mpkit.evaluation import ARMS, Rate
from mpkit.metapoison import CraftState, poisons_of
from mpkit.summary import summary_picture


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Where results go, and how to go on."""
    group = parser.add_argument_group("results")
    group.add_argument("--out", metavar="DIR", help="run folder (a new one in runs/)")
    group.add_argument("--resume", metavar="DIR", help="go on with the run in this folder")
    group.add_argument("--json", metavar="FILE", help="write the summary there too; - for stdout")
    group.add_argument("--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """The command: 0 when done, 130 when interrupted. Raises ValueError for what is refused."""
    began = time.perf_counter()
    say = (lambda *_: None) if options.quiet else (lambda *a: print(*a, file=sys.stderr))
    folder, ready = _resumed(options) if options.resume else _new(options)
    say(_opening(ready, folder))
    try:
        state = _craft(folder, ready, began, options.quiet)
        result = _judge(folder, ready, state, options.quiet)
    except KeyboardInterrupt:
        steps = len(record.replay(folder))
        say(f"\nStopped after craft step {steps}. Go on with: mpkit attack --resume {folder}")
        return 130
    result["seconds"] = {**result["seconds"], "total": round(time.perf_counter() - began, 2)}
    record.write_json(folder / "summary.json", result)
    if options.json and options.json != "-":
        record.write_json(Path(options.json), result)
    if options.json == "-":
        print((folder / "summary.json").read_text(), end="")
    else:
        print("\n".join(_lines(ready, result)))
    say(f"\nEverything is in {folder}")
    return 0


def _new(options: argparse.Namespace) -> tuple[Path, Prepared]:
    attack = attack_from(options)
    folder = Path(options.out or run_folder(attack, time.strftime("%Y%m%d-%H%M%S")))
    if (folder / "settings.json").exists():
        raise ValueError(
            f"{folder} holds a run already: name another folder, or go on with --resume {folder}"
        )
    ready = prepare(attack, progress=not options.quiet)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "format": 1,
        "attack": to_dict(attack),
        "plan": dataclasses.asdict(ready.plan),
        "victim_plan": dataclasses.asdict(ready.victim_plan),
        "device": describe(pick_device(attack.device)),
        "data": record.digest(ready.scenario.train),
        "versions": record.versions(),
    }
    record.write_json(folder / "settings.json", settings)
    return folder, ready


def _resumed(options: argparse.Namespace) -> tuple[Path, Prepared]:
    """The run in a folder as it was asked for; flags beside --resume could only contradict it."""
    if also := [k for k in given(options) if k != "device"] + ["out"] * bool(options.out):
        raise ValueError(
            f"--resume takes every setting from the run: leave out --{also[0].replace('_', '-')}"
        )
    folder = Path(options.resume)
    saved = record.read_json(folder / "settings.json")
    try:
        if saved["format"] != 1:
            raise record.RecordError(f"{folder} was written by a newer mpkit: update mpkit")
        attack = from_dict(saved["attack"])
        if options.device:
            attack = dataclasses.replace(attack, device=options.device)
        plans = Plan(**saved["plan"]), Plan(**saved["victim_plan"])
    except (KeyError, TypeError) as error:
        raise record.RecordError(f"{folder / 'settings.json'} is damaged: {error!r}") from error
    ready = prepare(attack, not options.quiet, *plans)
    if record.digest(ready.scenario.train) != saved["data"]:
        raise record.RecordError(f"the data are not those of the run in {folder}: start a new run")
    return folder, ready


def _opening(ready: Prepared, folder: Path) -> str:
    a, s = ready.attack, ready.scenario
    names = s.train.classes
    wanted = "anything else" if a.goal == "self-concealment" else names[s.adversarial[0]]
    return (
        f"{len(s.train)} images of {s.train.name}, {len(s.bases)} of them poisoned; "
        f"target: test image {', '.join(map(str, s.target_rows))}, a {names[s.target_labels[0]]} "
        f"that shall be called {wanted}\n"
        f"ε = {255 * a.settings.epsilon:.1f}/255, K = {a.settings.unroll_steps}, "
        f"M = {a.settings.models}, network {a.network}, seed {a.settings.seed}; "
        f"{describe(s.targets.device)}: surrogates {ready.plan}, victims {ready.victim_plan}\n"
        f"Run folder: {folder}"
    )


def _craft(folder: Path, ready: Prepared, began: float, quiet: bool) -> CraftState:
    """Craft to the end, writing down every step before the next one begins."""
    settings, state = (
        ready.attack.settings,
        record.load_state(folder, ready.scenario.targets.device),
    )
    done = state.step if state else 0
    if (folder / "records.jsonl").exists():
        record.truncate_records(folder, done)
    bar = tqdm(
        total=settings.craft_steps, initial=done, desc="crafting", unit="step", disable=quiet
    )
    with bar:
        for state, step in ready.craft(state):  # noqa: B020
            record.append(folder / "records.jsonl", [step])
            record.save_state(folder, state)
            bar.update()
            bar.set_postfix_str(f"adversarial loss {step.loss:+.2f}")
            if step.step == done + 1 and not quiet:
                bar.write(f"First step after {time.perf_counter() - began:.1f} s", sys.stderr)
    poisons = poisons_of(ready.scenario, state, settings)
    record.save_poisons(folder, poisons, ready.scenario.bases)
    return state


def _judge(folder: Path, ready: Prepared, state: CraftState, quiet: bool) -> dict:
    """Victims and controls on the poisons as they are on disk; the summary."""
    poisons, _ = record.load_poisons(folder)
    began, victims = time.perf_counter(), []
    with tqdm(
        total=ready.attack.victim_recipe.epochs, desc="victims ", unit="epoch", disable=quiet
    ) as bar:
        for epoch, found in ready.judge(poisons):
            bar.update(epoch - bar.n)
            victims += found
    (folder / "victims.jsonl").unlink(missing_ok=True)
    record.append(folder / "victims.jsonl", victims)
    steps = record.replay(folder)
    result = {
        "arms": summarise(ready.attack, victims),
        "adversarial_loss": [r.loss for r in steps],
        "poisons": len(poisons),
        "epsilon": ready.attack.settings.epsilon,
        "seconds": {
            "crafting": round(sum(r.seconds for r in steps), 2),
            "victims": round(time.perf_counter() - began, 2),
        },
    }
    summary_picture(folder / "summary.png", ready.scenario, poisons, _lines(ready, result))
    return result


def _lines(ready: Prepared, result: dict) -> list[str]:
    """The result in words."""
    lines = []
    a, names = ready.attack, ready.scenario.train.classes
    target = names[ready.scenario.target_labels[0]]
    wanted = (
        "another class" if a.goal == "self-concealment" else names[ready.scenario.adversarial[0]]
    )
    lines.append(f"Victims that call the {target} {wanted}, and their accuracy on other pictures:")
    labels = {"poisoned": "poisoned", "clean": "no poison", "noise": "random noise"}
    for arm in ARMS:
        found = result["arms"][arm]
        lines.append(
            f"  {labels[arm]:<13}{Rate(**found['success'])}   accuracy {found['accuracy']:.1%}"
        )
    return lines
