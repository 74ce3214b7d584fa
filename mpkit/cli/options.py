"""Every setting as a flag, named and explained as it is declared (`mpkit.setting`)."""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections.abc import Callable, Collection, Sequence

from mpkit.cli.output import say
from mpkit.data.datasets import NAMED
from mpkit.data.places import at, exists
from mpkit.defenses.defense import Defense
from mpkit.recipe import Recipe
from mpkit.runs.attack import Attack, make_attack
from mpkit.runs.grid import DRAWN
from mpkit.runs.idle import idle
from mpkit.runs.scale import SCALES, by_scale
from mpkit.setting import Setting, settings_of
from mpkit.settings import Settings


def number(text: str) -> float:
    """A number, or a fraction such as 8/255."""
    top, slash, bottom = text.partition("/")
    try:
        return float(top) / float(bottom) if slash else float(top)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is no number; write 0.03 or 8/255") from None


def whole(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


def several(kind: Callable[[str], object]) -> Callable[[str], tuple]:
    """A list with commas, such as 20,40; an empty text is an empty list."""

    def parse(text: str) -> tuple:
        return tuple(kind(part.strip()) for part in text.split(",") if part.strip())

    return parse


def switch(text: str) -> bool:
    """yes or no."""
    if text.lower() not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither yes nor no")
    return text.lower() == "yes"


def homed(text: str) -> str:
    """A path, with ~ for the home folder: the shell itself does not see it in --out=~/runs."""
    try:
        return str(at(text)) if text.startswith("~") else text
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def filled(text: str) -> str:
    """A path that is not empty, as an unset variable of the shell would be."""
    if not text:
        raise argparse.ArgumentTypeError("an empty text names nothing")
    return homed(text)


PARTS = {"": Attack, "settings": Settings, "recipe": Recipe, "defense": Defense}
USUAL_GROUP = {
    "settings": "crafting",
    "recipe": "training of surrogates and victims",
    "defense": "defense",
}
ORDER = ("data", "scenario", "crafting", USUAL_GROUP["recipe"], "victims", "defense", "run")
SCALE = Setting(
    "how big the defaults are (MPKIT_SCALE, or by whether there is a GPU)",
    choices=SCALES,
    group="run",
    name="scale",
)


@functools.cache
def flags() -> dict[str, Setting]:
    """Name → setting, of all that an attack can be told; victims' own are ``victim_<name>``."""
    found = {"scale": SCALE}
    for part, cls in PARTS.items():
        for name, s in settings_of(cls).items():
            own = part == "recipe" and s.group == "victims"  # no surrogate has it
            if s.text and not own:
                group = s.group or USUAL_GROUP[part]
                found[name] = dataclasses.replace(s, group=group, text=s.text + _usual(s))
            if part == "recipe":
                text = s.text + (_usual(s) if own else " (as surrogates)")
                found[f"victim_{name}"] = dataclasses.replace(s, group="victims", text=text)
    return found


def _usual(s: Setting) -> str:
    """The default, as it stands in the help."""
    if s.name in by_scale():
        return " (by --data, --scale and --method)"
    if s.default is None:
        return ""
    if s.kind is bool:
        return f" ({'yes' if s.default else 'no'})"
    if s.kind is tuple:
        return f" ({','.join(map(str, s.default)) or 'none'})"
    return f" ({s.default:g})" if s.kind is float else f" ({s.default})"


def parser_of(s: Setting) -> Callable[[str], object]:
    """What makes a value of what was typed."""
    simple = {int: whole, float: number, bool: switch, str: str}
    return several(simple[s.item]) if s.kind is tuple else simple[s.kind]


def add_attack_flags(parser: argparse.ArgumentParser, only: Collection[str] | None = None) -> None:
    """Declare them all, or `only` some; one that is not given stays None."""
    some = {name: s for name, s in flags().items() if only is None or name in only}
    titles = {s.group for s in some.values()}
    groups = {title: parser.add_argument_group(title) for title in ORDER if title in titles}
    for name, s in some.items():
        how = {"choices": s.choices} if s.choices else {"type": parser_of(s), "metavar": "X"}
        how |= {"type": functools.partial(_not_gone, s)} if s.gone else {}
        groups[s.group].add_argument(f"--{name.replace('_', '-')}", help=s.text, **how)


def _not_gone(s: Setting, text: str) -> str:
    if text in s.gone:
        raise argparse.ArgumentTypeError(s.gone[text])
    return text


def given(options: argparse.Namespace) -> dict:
    """The attack flags that were given, by name."""
    return {k: v for k in flags() if (v := getattr(options, k, None)) is not None}


def refuse_idle(attacks: Sequence[Attack], asked: Collection[str]) -> None:
    """Raises ValueError for a flag that does nothing in any of these attacks."""
    first = attacks[0]
    if first.data not in NAMED and not (first.data and exists(first.data)):
        return  # loading says what is wrong
    useless = [idle(attack, asked, as_flag) for attack in attacks]
    for name, why in useless[0].items():
        if all(name in one for one in useless):
            raise ValueError(f"{as_flag(name)} does nothing {why}: leave it out")


def as_flag(name: str, value: object = None) -> str:
    """How a setting is written, with its value or without."""
    return f"--{name.replace('_', '-')}" + (f" {value}" if value is not None else "")


def attack_from(options: argparse.Namespace) -> Attack:
    """The attack that the flags describe. Raises ValueError, also for a flag that does nothing."""
    asked = given(options)
    attack = make_attack(**asked)
    if attack.data in NAMED and exists(attack.data):
        say(f"mpkit: {attack.data} is the data set of that name; for yours say ./{attack.data}")
    refuse_idle([attack], asked)
    return attack


def add_drawing(group: argparse._ArgumentGroup) -> None:
    """How many targets are drawn, and by which seed."""
    group.add_argument("--pairs", type=whole, metavar="X", default=20, help="attacks to draw (20)")
    group.add_argument(
        "--pairs-seed", type=whole, metavar="X", default=1, help="the seed that draws them (1)"
    )


def add_workers(group: argparse._ArgumentGroup) -> None:
    """Over how many processes the attacks are spread."""
    group.add_argument(
        "--workers", type=whole, metavar="X", help="processes (as many as there are cores)"
    )


def refuse_drawn(options: argparse.Namespace, what: str) -> None:
    """Raises ValueError for flags that `what` can't follow, as it draws targets by itself."""
    if also := [k for k in DRAWN if k in given(options)]:
        raise ValueError(
            f"{what} draws targeted attacks and their classes: "
            f"leave out --{also[0].replace('_', '-')}, or use mpkit attack"
        )
    name = getattr(options, "scenario", None)
    if name and make_attack(scenario=name).goal != "targeted":
        raise ValueError(f"{what} draws targeted attacks, and --scenario {name} is none")
    if options.pairs < 1:
        raise ValueError(f"pairs must be at least 1, not {options.pairs}")


def named(given: Sequence[str], there: Sequence[str], flag: str) -> tuple[str, ...]:
    """The names in a list, each once; "all" stands for all. Raises ValueError for one that is not
    there, and for none."""
    if wrong := [name for name in given if name not in (*there, "all")]:
        raise ValueError(f"{flag} {wrong[0]!r} is unknown; there are: all, {', '.join(there)}")
    if not given:
        raise ValueError(f"{flag} wants one name or more, with commas")
    return tuple(there) if "all" in given else tuple(dict.fromkeys(given))
