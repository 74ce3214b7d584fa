"""``mpkit attack``: craft poisons, train victims and controls, count; into a folder."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import time
from pathlib import Path

import torch

import mpkit
from mpkit.cli.options import attack_from, filled, given
from mpkit.cli.output import Progress, refuse_unwritable, say, show
from mpkit.device import Plan, describe
from mpkit.margins import known_margins
from mpkit.metapoison import CraftState, poisons_of
from mpkit.perturbation import PERTURBATIONS
from mpkit.rates import Rate
from mpkit.runs import record
from mpkit.runs.attack import Attack
from mpkit.runs.prepared import Prepared, clean_margins, clean_setup, prepare
from mpkit.runs.saved import from_dict, run_folder, run_settings
from mpkit.runs.summary import summary_picture
from mpkit.scenario import Scenario
from mpkit.tally import BY, percent, tallies, with_diverged, words
from mpkit.targets import Target, chosen, misleading
from mpkit.verdict import ARMS

LEFT = ("settings.json", "state.safetensors", "poisons.safetensors", "summary.json")  # by a run


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Where results go, and how to go on."""
    group = parser.add_argument_group("results")
    group.add_argument("--out", type=filled, metavar="DIR", help="run folder (a new one in runs/)")
    group.add_argument(
        "--resume", type=filled, metavar="DIR", help="go on with the run in this folder"
    )
    group.add_argument("--json", metavar="FILE", help="write the summary there too; - for stdout")
    group.add_argument("--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """The command: 0 when done, 130 when interrupted. Raises ValueError for what is refused."""
    began = time.perf_counter()
    refuse_unwritable(options.json)
    folder = Path(options.resume) if options.resume else None
    try:
        folder, ready, targets = _resumed(options) if options.resume else _new(options)
        if not options.quiet:
            say(_opening(ready, folder, targets))
            for line in filter(None, map(misleading, targets)):
                say(f"mpkit: {line}")
        _complete(folder, ready, began, options)
    except KeyboardInterrupt:
        say(f"\n{_stopped(folder)}")
        return 130
    return 0


def _complete(folder: Path, ready: Prepared, began: float, options: argparse.Namespace) -> None:
    """Craft, judge, and say what came out."""
    try:
        _craft(folder, ready, began, options.quiet)
        result = _judge(folder, ready, options.quiet)
        result["seconds"]["total"] = round(time.perf_counter() - began, 2)
        record.write_json(folder / "summary.json", result)
        text = (folder / "summary.json").read_text(encoding="utf-8")
        if options.json not in (None, "-"):
            Path(options.json).write_text(text, encoding="utf-8")
    except OSError as error:  # a full disk, a folder taken away
        raise ValueError(f"{error}. {_go_on(folder)}") from error
    show(text.rstrip() if options.json == "-" else "\n".join(_lines(ready, result)))
    if not options.quiet:
        say(f"\nEverything is in {folder}")


def _go_on(folder: Path) -> str:
    return f"Go on with: mpkit attack --resume {shlex.quote(str(folder))}"


def _stopped(folder: Path | None) -> str:
    """What Ctrl-C leaves. Told by the folder, so that it is true whatever was cut short."""
    if folder is None:
        return "mpkit: stopped before anything was recorded"
    if (folder / "summary.json").exists():
        return f"Stopped. The run in {folder} is complete"
    if (folder / "poisons.safetensors").exists():
        return f"Stopped after crafting, before all victims were trained. {_go_on(folder)}"
    # By the state and not the records, which are one step ahead for a moment.
    if state := record.load_state(folder):
        return f"Stopped after craft step {state.step}. {_go_on(folder)}"
    return f"Stopped before the first craft step was done. {_go_on(folder)}"


def _new(options: argparse.Namespace) -> tuple[Path, Prepared, list[Target]]:
    """A run in a folder of its own: what is left of another must not be taken for its beginning."""
    attack = attack_from(options)
    folder = Path(options.out or run_folder(attack, time.strftime("%Y%m%d-%H%M%S")))
    if options.out and any((folder / name).exists() for name in LEFT):
        raise ValueError(
            f"{folder} holds a run already: name another folder, "
            f"or go on with --resume {shlex.quote(str(folder))}"
        )
    ready = prepare(attack, progress=not options.quiet)
    targets = _targets(attack, ready.scenario, options.quiet)
    settings = run_settings(ready, mpkit.__version__, targets)
    try:
        if options.out:
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = record.new_folder(folder)
        record.write_json(folder / "settings.json", settings)
    except OSError as error:
        raise ValueError(
            f"no run can be written to {folder}: {error}; name another --out"
        ) from error
    return folder, ready, targets


def _targets(attack: Attack, scenario: Scenario, quiet: bool) -> list[Target]:
    """The targets with their margins. None for one that was named, where margins are not known and
    take long: eight large networks must not train before the first step, only to tell of it."""
    network, few = attack.victim_network or attack.network, len(scenario.train) <= 5000
    quick = few and (network == "mlp" or attack.tuning_of_victims == "last")
    if attack.target_index is None or quick:
        return chosen(scenario, clean_margins(attack, scenario, not quiet))
    known = known_margins(clean_setup(attack, scenario))
    return chosen(scenario, known) if known else []


def _resumed(options: argparse.Namespace) -> tuple[Path, Prepared, list[Target]]:
    """The run in a folder as it was asked for; flags beside --resume could only contradict it.

    Its targets and their margins are those it began with; of older runs the margins are not known.
    """
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
        targets = [Target(**target) for target in saved.get("targets", [])]
        plans, data = (Plan(**saved["plan"]), Plan(**saved["victim_plan"])), saved["data"]
    except record.RecordError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise record.RecordError(f"{folder / 'settings.json'} is damaged: {error!r}") from error
    ready = prepare(attack, not options.quiet, *plans)
    if record.digest(ready.scenario) != data:
        raise record.RecordError(f"the data are not those of the run in {folder}: start a new run")
    if saved.get("weights") not in (None, attack.digest_of_weights()):
        raise record.RecordError(
            f"the weights {attack.weights!r} are not those that the run in {folder} began with: "
            "bring those back, or start a new run"
        )
    return folder, ready, targets


def _opening(ready: Prepared, folder: Path, targets: list[Target]) -> str:
    a, s = ready.attack, ready.scenario
    names = s.train.classes
    wanted = "anything else" if a.goal == "self-concealment" else names[s.adversarial[0]]
    return (
        f"{len(s.train)} images of {s.train.name}, {len(s.bases)} of them poisoned; "
        f"target: test image {', '.join(map(str, s.target_rows))}, "
        f"of class {names[s.target_labels[0]]}, "
        f"that shall be called {wanted}{''.join(f'; {target}' for target in targets)}\n"
        f"ε = {255 * a.settings.epsilon:.1f}/255, K = {a.settings.unroll_steps}, "
        f"M = {a.settings.models}, network {a.network}, seed {a.settings.seed}; "
        f"{describe(s.targets.device)}: surrogates {ready.plan}, victims {ready.victim_plan}\n"
        f"Run folder: {folder}"
    )


def _craft(folder: Path, ready: Prepared, began: float, quiet: bool) -> None:
    """Craft to the end, writing down every step before the next one begins."""
    total, state = ready.attack.settings.craft_steps, _saved_state(folder, ready)
    done = state.step if state else 0
    if (folder / "records.jsonl").exists() or done:
        record.truncate_records(folder, done)
    with Progress("crafting", "step", total, done, quiet) as progress:
        for state, step in ready.craft(state):  # noqa: B020
            record.append(folder / "records.jsonl", [step])
            record.save_state(folder, state)
            progress.reach(step.step, f"adversarial loss {step.loss:+.2f}")
            if step.step == done + 1:
                progress.say(f"First step after {time.perf_counter() - began:.1f} s")
    poisons = poisons_of(ready.scenario, state, ready.attack.settings)
    record.save_poisons(folder, poisons, ready.scenario.bases)


def _saved_state(folder: Path, ready: Prepared) -> CraftState | None:
    """The state to go on from. Raises RecordError if it is another run's."""
    state, s = record.load_state(folder, ready.scenario.targets.device), ready.attack.settings
    if state is None:
        return None
    perturbation = PERTURBATIONS[s.perturbation]
    delta = perturbation.init(ready.scenario.base_images, s.epsilon, torch.Generator())
    fresh = dict(ready.network.named_parameters()), dict(ready.network.named_buffers())
    wanted = [{k: v.shape for k, v in delta.items()}] * 3
    wanted += [{k: (s.models, *v.shape) for k, v in part.items()} for part in fresh]
    parts = (state.parameters, state.moment1, state.moment2, *state.surrogates)
    if [{k: v.shape for k, v in part.items()} for part in parts] != wanted:
        raise record.RecordError(
            f"{folder / 'state.safetensors'} is not of the run that settings.json describes: "
            "start the run anew"
        )
    return state


def _judge(folder: Path, ready: Prepared, quiet: bool) -> dict:
    """Victims and controls on the poisons as they are on disk; the summary."""
    poisons, _ = record.load_poisons(folder)
    began, victims, epochs = time.perf_counter(), [], ready.attack.victim_recipe.epochs
    with Progress("victims", "epoch", epochs, quiet=quiet) as progress:
        for epoch, found in ready.judge(poisons):
            progress.reach(epoch)
            victims += found
    record.write_lines(folder / "victims.jsonl", victims)
    steps = record.replay(folder)
    result = {
        "arms": tallies(victims),
        "adversarial_loss": [r.loss for r in steps],
        "poisons": len(poisons),
        "epsilon": ready.attack.settings.epsilon,
        "seconds": {
            "crafting": round(sum(r.seconds for r in steps), 2),
            "victims": round(time.perf_counter() - began, 2),
        },
    }
    summary_picture(folder / "summary.png", ready.scenario, poisons, result["arms"])
    return result


def _lines(ready: Prepared, result: dict) -> list[str]:
    """The result in words."""
    a, names = ready.attack, ready.scenario.train.classes
    true = names[ready.scenario.target_labels[0]]
    hide = a.goal == "self-concealment"
    wanted = "another class" if hide else names[ready.scenario.adversarial[0]]
    arms = {arm: result["arms"][arm] for arm in ARMS}
    lines = [f"Victims that call the {true} {wanted}, and their accuracy on other pictures:"]
    for arm, found in arms.items():
        lines.append(_line(arm, found))
        if more := words(found, None if hide else wanted, true, a.victim_recipe.epochs):
            lines.append(f"  {'':<13}{more}")
    other = {arm: f["other_statistics"] for arm, f in arms.items() if "other_statistics" in f}
    if other:
        by = [BY[f["poisoned"]["statistics"]] for f in (arms, other)]
        lines.append(f"That was with batch norm by {by[0]}; the same victims by {by[1]}:")
        lines += [_line(arm, found) for arm, found in other.items()]
    return lines


LABELS = {"poisoned": "poisoned", "clean": "no poison", "noise": "random noise"}


def _line(arm: str, found: dict) -> str:
    rate = with_diverged(Rate(**found["success"]), found["diverged"])
    return f"  {LABELS[arm]:<13}{rate}   accuracy {percent(found['accuracy'])}"
