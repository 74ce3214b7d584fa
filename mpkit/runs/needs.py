"""What an attack needs before anybody runs it: pictures, memory, operations, and time here.

All of it is arithmetic on the attack's settings, and on what one model's piece asks (see
`mpkit.runs.trial`): a model, and no measurement. docs/results.md says how far off it was.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import torch
from torch.utils._pytree import tree_leaves

from mpkit.device import plan_for
from mpkit.ensemble import Ensemble
from mpkit.evaluation.records import ARMS
from mpkit.evaluation.targets import MODELS
from mpkit.networks import evaluations
from mpkit.runs.attack import Attack
from mpkit.runs.trial import META, SURROGATE, VICTIM, Piece, Sizes, parts_of, pieces, timed
from mpkit.settings import STILL
from mpkit.streams import batches_of

PROGRAM = 0.45 * 2**30
"""Bytes of memory of Python, torch and mpkit before any picture, on Linux."""
KEPT = 8
"""Tensors of the poisons' size that crafting keeps: parameters, Adam's, and what they were."""
ENOUGH = 5e10
"""Operations of a piece that is tried on a CPU: a second or so."""


@dataclasses.dataclass(frozen=True)
class Needs:
    """`counts`: piece → how many a whole run takes; bytes of memory on the `device` and on the
    `host`, which on a CPU are the same memory."""

    images: int
    poisons: int
    counts: Mapping[str, float]
    operations: float
    device: float
    host: float


def needs(attack: Attack, sizes: Sizes, device: torch.device) -> Needs:
    """What `mpkit attack` needs, with its controls; and with the clean models that find a target,
    where none is named. Raises ValueError for methods that pieces are not known of."""
    found, counts = pieces(attack, sizes), _counts(attack, sizes)
    operations = sum(n * found[name].counted.operations for name, n in counts.items())
    held = _held(attack, sizes, found, device)
    data = 4 * math.prod(sizes.shape) * (sizes.train + sizes.test)
    host = PROGRAM + (held if device.type == "cpu" else data)
    poisons = round(attack.budget * sizes.train)
    return Needs(sizes.train, poisons, counts, operations, held, host)


def _counts(attack: Attack, sizes: Sizes) -> dict[str, float]:
    """Piece → how many of them."""
    s, n = attack.settings, sizes.train
    if s.method not in ("metapoison", *STILL):
        raise ValueError(f"what --method {s.method} needs is not known, only that of metapoison")
    batch, own = min(s.recipe.batch, n), attack.victim_recipe
    epoch, theirs = batches_of(n, batch), batches_of(n, own.batch)
    poisons = round(attack.budget * n)
    with_poison = epoch * (1 - _none(n, poisons, batch))
    ages = Ensemble(s.models, s.recipe, s.seed, s.stagger).ages(0)
    victims = attack.victims * len(ARMS) + MODELS * (attack.target_index is None)
    _, network = attack.networks(sizes.shape, sizes.classes)
    asked = len(evaluations(network)) * sizes.test / min(own.batch, n) / 3  # a forward pass each
    found = {VICTIM: victims * (own.epochs * theirs + asked)}
    if s.method != "metapoison":
        return found | {SURROGATE: s.models * s.recipe.epochs * epoch}
    each = s.craft_steps * s.models
    apart = epoch if s.surrogate_data == "clean" else epoch - with_poison
    return found | {META: each * with_poison, SURROGATE: sum(ages) * epoch + each * apart}


def _none(n: int, poisons: int, batch: int) -> float:
    """How likely a batch of n pictures holds none of the poisons."""
    if n - poisons < batch:
        return 0.0
    ways = lambda a, b: math.lgamma(a + 1) - math.lgamma(b + 1) - math.lgamma(a - b + 1)  # noqa: E731
    return math.exp(ways(n - poisons, batch) - ways(n, batch))


def _held(attack: Attack, sizes: Sizes, found: dict[str, Piece], device: torch.device) -> float:
    """The most bytes at once: in crafting, or while victims train."""
    s, picture = attack.settings, 4 * math.prod(sizes.shape)
    data = picture * (sizes.train + sizes.test)
    poisons = picture * round(attack.budget * sizes.train)
    victims = attack.victims * len(ARMS)
    # Gradients of all models lie side by side, twice while they are put together.
    crafting = poisons * (2 * s.models * (META in found) + KEPT)
    parts = parts_of(attack, sizes.train) if META in found else 1
    crafting += _at_once(found.get(META, found[SURROGATE]), s.models, device, parts)
    # The poisoned pictures and those with noise are sets of their own.
    judging = 2 * picture * sizes.train + _at_once(found[VICTIM], victims, device)
    return data + max(crafting, judging)


def _at_once(piece: Piece, models: int, device: torch.device, parts: int = 1) -> float:
    """All models, old and new, and what those need that compute side by side."""
    plan = plan_for(models, device, parts)
    busy = min(models * parts, plan.chunk * plan.workers)
    given = sum(t.nbytes for t in tree_leaves(piece.given[1:]))
    return 2 * models * piece.state_bytes + busy * (piece.counted.peak + given)


def tried(
    attack: Attack,
    sizes: Sizes,
    device: torch.device,
    known: dict[tuple, float] | None = None,
    enough: float = ENOUGH,
) -> dict[str, float]:
    """Piece → seconds that one model's takes on this machine, where as many as fit side by side do
    theirs. On a CPU, pieces of more than `enough` operations are tried on a smaller batch. They are
    scaled by their operations; so are those of other attacks, with other poisons, that are `known`
    from trials before."""
    s, victims, times = attack.settings, attack.victims * len(ARMS), {}
    known = {} if known is None else known
    for name, piece in pieces(attack, sizes).items():
        count, recipe = (victims, attack.victim_recipe) if name == VICTIM else (s.models, s.recipe)
        batch, asks = min(recipe.batch, sizes.train), piece.counted.operations
        key = (name, piece.module, *piece.fixed, batch, s.unroll_steps * (name == META))
        if key not in known:
            small = device.type == "cpu" and asks > enough
            some = (
                pieces(attack, sizes, max(4, int(batch * enough / asks)))[name] if small else piece
            )
            parts = parts_of(attack, sizes.train) if name == META else 1
            plan = plan_for(count, device, parts)
            took = timed(some, device, plan, min(count * parts, plan.chunk * plan.workers))
            known[key] = took / some.counted.operations
        times[name] = known[key] * asks
    return times


def seconds(found: Needs, times: Mapping[str, float]) -> float:
    """Of a whole run, but for loading and tracing."""
    return sum(count * times[name] for name, count in found.counts.items())
