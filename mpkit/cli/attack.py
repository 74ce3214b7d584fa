"""``mpkit attack``: craft poisons, train victims and controls, count; into a folder."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

from mpkit.cli.options import attack_from, filled, given, homed
from mpkit.cli.output import Progress, refuse_unwritable, say, show
from mpkit.cli.results import defended, result_lines
from mpkit.data.datasets import NAMED
from mpkit.data.files import clear_parts
from mpkit.data.places import quoted
from mpkit.defenses.private import privacy_told
from mpkit.device import describe
from mpkit.evaluation.margins import known_margins
from mpkit.evaluation.tally import tallies
from mpkit.evaluation.targets import Target, chosen, misleading, outlook
from mpkit.evaluation.why import why
from mpkit.group import group, ranks
from mpkit.metapoison import poisons_of
from mpkit.runs import record
from mpkit.runs.attack import Attack, make_attack, unlike
from mpkit.runs.facts import facts_of
from mpkit.runs.folder import (
    begin,
    hold,
    open_run,
    refuse_old_matching,
    refuse_used,
    saved_state,
)
from mpkit.runs.frames import FrameKeeper, save_frames
from mpkit.runs.prepared import Prepared, clean_margins, clean_setup, prepare
from mpkit.runs.scenarios import about
from mpkit.runs.summary import summary_picture
from mpkit.runs.together import follow, handed_out, lead, whole
from mpkit.scenario import Scenario


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Where results go, and how to go on."""
    group = parser.add_argument_group("results")
    group.add_argument("--out", type=filled, metavar="DIR", help="run folder (a new one in runs/)")
    group.add_argument(
        "--resume", type=filled, metavar="DIR", help="go on with the run in this folder"
    )
    group.add_argument(
        "--json", type=homed, metavar="FILE", help="write the summary there too; - for stdout"
    )
    group.add_argument("--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """The command: 0 when done, 130 when interrupted. Raises ValueError for what is refused."""
    began = time.perf_counter()
    if not ranks().first:
        return _follow()
    refuse_unwritable(options.json)
    folder = Path(options.resume) if options.resume else None
    try:
        with contextlib.ExitStack() as held:  # the run's folder
            with ranks().waiting():  # for data, which is no reason to end it
                begun = (_resumed if options.resume else _new)(options, held)
            folder, ready, targets = begun
            if several := group():
                several.advice = lambda: _stopped(folder, options)
                ready = lead(ready, folder, ranks())
            if not options.quiet:
                say(_opening(ready, folder, targets))
                for line in filter(None, [*map(misleading, targets), _outlook(ready)]):
                    say(f"mpkit: {line}")
            _complete(folder, ready, began, options)
    except KeyboardInterrupt:
        say(f"\n{_stopped(folder, options)}")
        return 130
    return 0


def _follow() -> int:
    """The same on a rank that is not the first, which alone has the folder."""
    with ranks().waiting():  # for data
        ready, folder = follow(ranks())
    group().advice = lambda: f"Go on with: mpkit attack --resume {quoted(folder)}"
    state = handed_out(None, ready)
    for state, _ in ready.craft(state):  # noqa: B020
        whole(state, ready)
    poisons = poisons_of(ready.scenario, state, ready.attack.settings)
    kept, _ = ready.screened(poisons)
    for _ in ready.judge(poisons, kept=kept):
        pass
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
        raise ValueError(f"{error}. {_go_on(folder, options)}") from error
    show(text.rstrip() if options.json == "-" else "\n".join(result_lines(ready, result)))
    if not options.quiet:
        say(f"\nEverything is in {folder}")


def _go_on(folder: Path, options: argparse.Namespace) -> str:
    moved = f" --data {quoted(options.data)}" if options.resume and options.data else ""
    return f"Go on with: mpkit attack --resume {quoted(folder)}{moved}"


def _stopped(folder: Path | None, options: argparse.Namespace) -> str:
    """What Ctrl-C leaves. Told by the folder, so that it is true whatever was cut short."""
    if folder is None:
        return "mpkit: stopped before anything was recorded"
    if (folder / "summary.json").exists():
        return f"Stopped. The run in {folder} is complete"
    if (folder / "poisons.safetensors").exists():
        return f"Stopped after crafting, before all victims were trained. {_go_on(folder, options)}"
    # By the state and not the records, which are one step ahead for a moment.
    if step := record.saved_step(folder):
        return f"Stopped after craft step {step}. {_go_on(folder, options)}"
    return f"Stopped before the first craft step was done. {_go_on(folder, options)}"


Run = tuple[Path, Prepared, Sequence[Target]]


def _new(options: argparse.Namespace, held: contextlib.ExitStack) -> Run:
    """A run in a folder of its own."""
    attack = attack_from(options)
    if options.out:
        refuse_used(Path(options.out))
    ready = prepare(attack, progress=not options.quiet)
    targets = _targets(attack, ready.scenario, options.quiet)
    try:
        if options.out:
            held.enter_context(hold(Path(options.out)))
            refuse_used(Path(options.out))  # another may have begun, and ended, meanwhile
        folder = begin(ready, targets, out=options.out)
        if not options.out:
            held.enter_context(hold(folder))
        return folder, ready, targets
    except OSError as error:
        where = options.out or "runs"
        raise ValueError(
            f"no run can be written to {where}: {error}; name another --out"
        ) from error


def _targets(attack: Attack, scenario: Scenario, quiet: bool) -> list[Target]:
    """The targets with their margins. None for one that was named, where margins are not known and
    take long: eight large networks must not train before the first step, only to tell of it."""
    network, few = attack.victim_network or attack.network, len(scenario.train) <= 5000
    quick = few and (network == "mlp" or attack.tuning_of_victims == "last")
    if attack.target_index is None or quick:
        return chosen(scenario, clean_margins(attack, scenario, not quiet))
    known = known_margins(clean_setup(attack, scenario))
    return chosen(scenario, known) if known else []


def _outlook(ready: Prepared) -> str:
    """What clean models make of somebody's own pictures, or who says it; "" of all others."""
    if ready.attack.data in NAMED:
        return ""
    known = known_margins(clean_setup(ready.attack, ready.scenario))
    if known is None:
        return "mpkit targets trains clean models on these data, and says what can succeed there"
    return outlook(ready.scenario, known)


def _resumed(options: argparse.Namespace, held: contextlib.ExitStack) -> Run:
    """The run in a folder as it was asked for; flags beside --resume could only contradict it,
    but for where the data are now."""
    own = ("device", "data")
    if also := [k for k in given(options) if k not in own] + ["out"] * bool(options.out):
        raise ValueError(
            f"--resume takes every setting from the run: leave out --{also[0].replace('_', '-')}"
        )
    folder = Path(options.resume)
    refuse_old_matching(folder)
    try:
        held.enter_context(hold(folder))
        for place in (folder, folder / "poisons"):
            clear_parts(place)
    except OSError as error:
        raise ValueError(f"the run can't be written to: {error}; copy it elsewhere") from error
    run = open_run(folder)
    ready = run.prepare(not options.quiet, options.device, options.data)
    return run.folder, ready, run.targets


def _opening(ready: Prepared, folder: Path, targets: Sequence[Target]) -> str:
    a, s = ready.attack, ready.scenario
    names = s.train.classes
    adversarial = "anything else" if a.goal == "self-concealment" else names[s.adversarial[0]]
    return (
        f"{_scenario(a)}{len(s.train)} images of {s.train.name}, {len(s.bases)} of them poisoned"
        f"{', the nearest to the target' * (a.bases == 'nearest' and s.choosable)}; "
        f"target: test image {', '.join(map(str, s.target_rows))}, "
        f"of class {names[s.target_labels[0]]}, "
        f"that shall be called {adversarial}{''.join(f'; {target}' for target in targets)}\n"
        f"{a.settings.bounds_in_words}, {a.settings.how_in_words}, "
        f"M = {a.settings.models}, network {a.network}, seed {a.settings.seed}; "
        f"{describe(s.targets.device)}: surrogates {ready.plan}, victims {ready.victim_plan}\n"
        f"Run folder: {folder}"
    )


def _scenario(attack: Attack) -> str:
    """A line on the attack's scenario, where it has one: what it is, and what is not as there."""
    if attack.scenario is None:
        return ""
    told, as_named = about(attack.scenario), make_attack(scenario=attack.scenario)
    other = sorted({*unlike(attack, as_named)} - {"device"})
    but = f"; other than there: {', '.join(other)}" * bool(other)
    note = f"\n{told['note']}" * bool(told["note"])
    return f"Scenario {attack.scenario}: {told['title']} ({told['source']}){but}{note}\n"


def _craft(folder: Path, ready: Prepared, began: float, quiet: bool) -> None:
    """Craft to the end, writing down every step before the next one begins."""
    total, state = ready.attack.settings.craft_steps, saved_state(folder, ready)
    done, state = state.step if state else 0, handed_out(state, ready)
    if (folder / "records.jsonl").exists() or done:
        record.truncate_records(folder, done)
    film = FrameKeeper(ready.scenario)
    film.go_on(folder, done)
    if several := group():
        several.keep = lambda: save_frames(folder, film.frames())
    try:
        with Progress("crafting", "step", total, done, quiet) as progress:
            for state, step in ready.craft(state):  # noqa: B020
                record.append(folder / "records.jsonl", [step])
                record.save_state(folder, whole(state, ready))
                if film.wants(step.step, last=step.step == total):
                    film.add(step.step, poisons_of(ready.scenario, state, ready.attack.settings))
                progress.reach(step.step, f"adversarial loss {step.loss:+.2f}")
                if step.step == done + 1:
                    progress.say(f"First step after {time.perf_counter() - began:.1f} s")
    finally:
        save_frames(folder, film.frames())
    poisons = poisons_of(ready.scenario, state, ready.attack.settings)
    record.save_poisons(folder, poisons, ready.scenario.bases)


def _judge(folder: Path, ready: Prepared, quiet: bool) -> dict:
    """Victims and controls on the poisons as they are on disk; the summary."""
    poisons, _ = record.load_poisons(folder)
    began, victims = time.perf_counter(), []
    kept, screening = ready.screened(poisons)
    with Progress("victims", "epoch", ready.epochs(), quiet=quiet) as progress:
        for epoch, found in ready.judge(poisons, kept=kept):
            progress.reach(epoch)
            victims += found
    record.write_lines(folder / "victims.jsonl", victims)
    steps = record.replay(folder)
    result = {
        "arms": tallies(victims),
        "adversarial_loss": [r.loss for r in steps],
        "why": why(facts_of(ready.attack, steps, victims, ready.scenario)),
        "poisons": len(poisons),
        "perturbation": ready.attack.settings.perturbation,
        **ready.attack.settings.bounds,
        "seconds": {
            "crafting": round(sum(r.seconds for r in steps), 2),
            "victims": round(time.perf_counter() - began, 2),
        },
    }
    if screening:
        result["screening"] = {arm: dataclasses.asdict(found) for arm, found in screening.items()}
    a = ready.attack
    if told := privacy_told(len(ready.scenario.train), a.victim_recipe, a.defense):
        result["privacy"] = told
    note = "\n".join(defended(ready.attack, result))
    summary_picture(folder / "summary.png", ready.scenario, poisons, result["arms"], note)
    return result
