"""What a team hands in: data, never code, and within the limits or refused with the reason."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import unicodedata
from pathlib import Path

from mpkit.contest.limits import RED, Limits, taken
from mpkit.contest.pictures import Poisons, read
from mpkit.data import files
from mpkit.data.names import one_line
from mpkit.data.schema import parsed, told
from mpkit.defenses.defense import Defense
from mpkit.runs.attack import SETTINGS, Attack
from mpkit.setting import PIXEL, settings_of
from mpkit.settings import Settings

MOST = 1 << 16
"""Bytes of a submission; pictures made elsewhere lie beside it."""
LONGEST = 40
"""Letters of a team's name."""
NOTE = 2000
"""Letters of a note."""
HEADS = ("team", "side", "attack", "defense", "pictures", "note")
SIDES = {"red": ("attack", "pictures"), "blue": ("defense",)}
"""Of each side, what it hands in: one of these."""
DIRTY = ("label-flip",)
"""Methods that change labels, which no team may."""


@dataclasses.dataclass(frozen=True)
class Submission:
    """One team's hand on one side, in the file of this `name`.

    {"team": "Foxes", "side": "red", "attack": {"craft_steps": 40, "epsilon": "4/255"}}
    {"team": "Owls", "side": "red", "pictures": "owls.zip"}
    {"team": "Hedgehogs", "side": "blue", "defense": {"defense": "jpeg", "jpeg_quality": 50}}

    A "note" may say what was thought. `given` are the attack's settings; `poisons` pictures made
    elsewhere, for the target that the limits name. `digest`: of all that was handed in.
    """

    name: str
    team: str
    side: str
    digest: str
    given: dict
    defense: Defense | None = None
    poisons: Poisons | None = None
    note: str = ""

    @property
    def key(self) -> str:
        """The team's name, however it is written: capital or small, full-width or not."""
        return unicodedata.normalize("NFKC", self.team).casefold()

    @property
    def what(self) -> str:
        """What it does, in a line."""
        if self.poisons is not None:
            return f"{len(self.poisons.rows)} pictures made elsewhere"
        if self.defense:
            return self.defense.in_words
        return ", ".join(f"{k} {_told(k, v)}" for k, v in self.given.items()) or "as usual"


def _is_name(team: str) -> bool:
    """Letters and digits of any script, with what is written above and below them."""
    bare = "".join(c for c in team if not unicodedata.category(c).startswith("M") or c == team[0])
    return len(team) <= LONGEST and bool(re.fullmatch(r"\w[\w .-]*", bare))


def _told(name: str, value: object) -> str:
    if name == "epsilon":
        return f"{PIXEL * value:.3g}/{PIXEL}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def read_submission(path: Path, limits: Limits) -> Submission:
    """The submission in a file. Raises ValueError, or OSError, with the reason it is refused."""
    return submission_of(parsed(files.read(path, MOST)), limits, path)


def submission_of(row: object, limits: Limits, path: Path) -> Submission:
    """The submission in a JSON object, as if it stood in the file at `path`. Raises ValueError."""
    taken(row, HEADS, "the submission")
    side, team, note = row.get("side"), row.get("team"), row.get("note", "")
    if not isinstance(side, str) or side not in SIDES:
        raise ValueError(f"side must be red or blue, not {told(side)}")
    team = one_line(team) if isinstance(team, str) else team
    if not isinstance(team, str) or not _is_name(team):
        raise ValueError(
            f"team must be a name of at most {LONGEST} letters and digits, not {told(team)}"
        )
    if not isinstance(note, str) or len(note) > NOTE:
        raise ValueError(f"note must be a text of at most {NOTE} letters")
    handed = [name for name in HEADS[2:5] if name in row]
    if len(handed) != 1 or handed[0] not in SIDES[side]:
        raise ValueError(f"{side} hands in one of: {', '.join(SIDES[side])}")
    mine = row[handed[0]]
    parts = {"name": path.name, "team": team, "side": side, "note": note, "given": {}}
    more = b""
    if side == "blue":
        parts["defense"] = _defense(mine)
    elif handed == ["attack"]:
        parts["given"] = taken(mine, RED, "attack")
        attack_of(limits, parts["given"])
    else:
        parts["poisons"], more = read(path.parent, mine, limits)
    # Only now, as what is no number, and is refused, is no JSON either.
    blob = json.dumps(row, sort_keys=True, allow_nan=False).encode() + more
    return Submission(**parts, digest=hashlib.sha256(blob).hexdigest())


def _defense(row: object) -> Defense:
    about = settings_of(Defense)
    given = taken(row, about, "defense")
    defense = Defense(**given)
    if defense.defense == "none":
        raise ValueError(
            "defense names none; there are: " + ", ".join(about["defense"].choices[1:])
        )
    _refuse_idle(given, defense)
    return defense


def attack_of(limits: Limits, given: dict, **target: object) -> Attack:
    """A red team's attack on a target. Raises ValueError for what is beyond the limits."""
    attack = limits.attack(**given, **target)
    s = attack.settings
    if s.perturbation != "additive":
        raise ValueError(
            f"perturbation {s.perturbation!r} is not bounded by ε alone, and ε is what is limited"
        )
    for name, value in (("budget", attack.budget), ("epsilon", s.epsilon)):
        if value > (most := getattr(limits, name)) + 1e-9:
            raise ValueError(f"{name} {value:.4g} is over the limit of {most:.4g}")
    if (method := getattr(s, "method", "")) in DIRTY:
        raise ValueError(f"method {method!r} changes labels, and labels are to be left alone")
    _refuse_idle({k: v for k, v in given.items() if k in SETTINGS}, s)
    return attack


def _refuse_idle(given: dict, holder: Settings | Defense) -> None:
    about = settings_of(type(holder))
    for name in given:
        if why := about[name].why_idle(holder, lambda other, value: f"{other} {value!r}"):
            raise ValueError(f"{name} does nothing {why}: leave it out")
