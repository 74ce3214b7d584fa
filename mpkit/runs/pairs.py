"""Who attacks whom: the pair of classes where none is named, and pairs drawn by a seed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import permutations

from mpkit.runs.attack import Attack

PAIRS = (
    ("1", "7"),
    ("3", "8"),
    ("stop", "speed 50"),
    ("stop", "priority"),
    ("pullover", "coat"),
    ("airplane", "frog"),
    ("bird", "dog"),
)
"""(target class, poison class) where none is named: the first whose classes are both there.

The last two are the paper's."""


def default_classes(attack: Attack, names: tuple[str, ...]) -> tuple[str, str | None]:
    """Target and poison class; those left out follow PAIRS, or else the order of the classes."""
    target, poison = attack.target_class, attack.poison_class
    pairs = [p for p in PAIRS if p[0] in names and p[1] in names] + [(names[0], names[-1])]
    if target is None:
        target = next((t for t, p in pairs if poison is None or t != poison), names[0])
    if poison is None and attack.goal == "targeted":
        others = [p for t, p in pairs if t == target] + [c for c in names if c != target]
        poison = others[0]
    return target, poison


def draw_pairs(
    names: tuple[str, ...],
    count: int,
    seed: int,
    targets: int | Mapping[tuple[str, str], Sequence[int]] = 20,
) -> list[tuple[str, str, int]]:
    """`count` different attacks drawn by a seed: target class, poison class, target index.

    The index is below `targets`, or one of those listed there for the two classes. One attack
    drawn twice would count its victims twice. Raises ValueError where there are fewer.
    """
    some = targets if isinstance(targets, Mapping) else dict.fromkeys(permutations(names, 2))
    indices = {k: range(targets) if v is None else sorted(v) for k, v in some.items()}
    there = sum(len(found) for found in indices.values())
    if count > there:
        raise ValueError(f"pairs must be at most {there}, as many as there are, not {count}")
    draw, pairs = random.Random(seed), {}
    while len(pairs) < count:
        target, poison = draw.sample(names, 2)
        if found := indices.get((target, poison)):
            pairs[target, poison, found[draw.randrange(len(found))]] = None
    return list(pairs)
