"""Many attacks on targets that are drawn by a seed; a line in a file for each that is done."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from mpkit.evaluation.targets import DIVERGED, Target
from mpkit.runs import record
from mpkit.runs.attack import Attack
from mpkit.runs.prepared import clean_margins, load_scenario
from mpkit.runs.saved import to_dict
from mpkit.streams import stream

Pair = tuple[str, str, int]
DRAWN = ("target_class", "target_index", "poison_class", "adversarial_class", "goal")
"""What of an attack is drawn, and not told."""


@dataclasses.dataclass(frozen=True, eq=False)
class Drawable:
    """What can be drawn: the classes' `names`, the `targets` of every two of them, and the `labels`
    of all test pictures."""

    names: tuple[str, ...]
    targets: Mapping[tuple[str, str], list[Target]]
    labels: Tensor

    @property
    def indices(self) -> dict[tuple[str, str], list[int]]:
        """Of every two classes, the numbers of the pictures that are targets."""
        return {pair: [t.index for t in some if t.third] for pair, some in self.targets.items()}

    def target(self, pair: Pair) -> Target:
        """The target that was drawn."""
        return next(t for t in self.targets[pair[:2]] if t.index == pair[2])


def drawable(base: Attack, progress: bool = True) -> Drawable:
    """The targets of every two classes; the rarest class must hold the poisons, so that nothing is
    refused in the middle. Raises ValueError."""
    first = dataclasses.replace(base, target_index=(0,))
    scenario = load_scenario(first, progress)
    names = scenario.train.classes
    rarest = scenario.train.y.bincount(minlength=len(names)).argmin().item()
    load_scenario(with_pair(base, (names[rarest - 1], names[rarest], 0)), progress=False)
    margins = clean_margins(first, scenario, progress)
    numbers = list(itertools.permutations(range(len(names)), 2))
    found = {(names[a], names[b]): margins.targets(a, b) for a, b in numbers}
    if any("diverged" in t.why for targets in found.values() for t in targets):
        raise ValueError(DIVERGED)
    return Drawable(names, found, margins.labels)


def with_pair(attack: Attack, pair: Pair) -> Attack:
    """The attack on one target, with surrogates and victims of its own."""
    (target, poison, index), s = pair, attack.settings
    own = dataclasses.replace(s, seed=stream(s.seed, "pair", *pair))
    return dataclasses.replace(
        attack, target_class=target, poison_class=poison, target_index=(index,), settings=own
    )


def key_of(attack: Attack) -> str:
    """The attack as a text that another has only if it is the same."""
    return json.dumps(to_dict(attack), sort_keys=True, allow_nan=False)


def rows_by_key(out: Path, key: Callable[[dict], str], what: str) -> dict[str, dict]:
    """Key → row, of what was done before: `key` reads it from the row, and `what` names the work,
    as in "a sweep". Raises RecordError for rows that `key` cannot read."""
    try:
        return {key(row): row for row in record.read_lines(out)}
    except KeyError as error:
        raise record.RecordError(f"{out} holds no results of {what}: it lacks {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        if isinstance(error, record.RecordError):
            raise
        raise record.RecordError(f"{out} holds no results of {what}: {error}") from error
