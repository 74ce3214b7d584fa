"""Why did it fail? One sentence from what was measured, and which slider to try."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from mpkit.evaluation.rates import percent
from mpkit.settings import METHODS, STILL

HALF = 0.5
"""An attack that turns more than this share of its victims is a success, as in `rates.fallen`; and
surrogates have fallen if the loss of as many of them says so."""
GROWN = 0.5
"""Surrogates younger than this share of their training say little: hardly trained, they turn for
the least push, and victims are asked when they are done."""
LATE = 0.25
"""The last part of the craft steps: one step alone sees each surrogate at one age only."""
SPENT = 0.6
"""A mean |δ| of this share of ε leaves little to gain at that ε: noise that is uniform within ε,
where crafting begins, has 0.5, and 1 is the most that there is."""
FEW = 2
"""Poisons that met fewer models than this, whole trainings from fresh weights, fit one of them."""
APART = 0.25
"""By how large a share of victims the statistics of batch norm must differ to be the reason: it is
asked of the same victims, so no seed lies between; one of four, and two of eight."""
STUCK = 0.9
"""A rival's loss that ends above this share of its first has hardly fallen."""
EPSILON, PICTURE, WHICH = "“ε (n/255)”", "“The target's picture”", "“which pictures”"
"""What these are called in labs."""
DRIVEN = 5.0
"""Surrogates that are wrong by a margin of so many logits follow the poisons that they train on
further than a fresh victim does: probabilities of 1 to 150."""


@dataclasses.dataclass(frozen=True)
class Facts:
    """What was measured. Of the victims: `won` of `n` (victims × targets) and how many `diverged`;
    by the `other` statistics of batch norm (won, n, their name), where there is batch norm; and in
    words how they `differ` from surrogates. Of the surrogates: `losses` and `ages` at every craft
    step, the loss's `kind`, their `epochs`, whether all are trained to that end. Of the poisons:
    their mean |δ| as a share of ε in `spent`, `epsilon` in words, and K in `ahead`. Of the target:
    its clean `margin`, its `third`, and the margin of a `near` target; None where not known. The
    `method` is a name in `METHODS`; losses of rivals are their own. `choice`: whether other bases
    would help, as victims are fine-tuned and these were not chosen by what the weights see.
    """

    won: int
    n: int
    losses: tuple[tuple[float, ...], ...] = ()
    ages: tuple[tuple[int, ...], ...] = ()
    kind: str = "margin"
    epochs: int = 1
    spent: float = 0.0
    epsilon: str = ""
    ahead: int = 1
    diverged: int = 0
    other: tuple[int, int, str] | None = None
    differ: tuple[str, ...] = ()
    margin: float | None = None
    third: str | None = None
    near: float | None = None
    method: str = "metapoison"
    choice: bool = False

    @property
    def late(self) -> list[float]:
        """The losses of grown surrogates (or of the oldest, where none grew up) in the last craft
        steps; below `turned` they call the target what they shall."""
        count = max(3, math.ceil(LATE * len(self.losses)))
        some = zip(self.losses[-count:], self.ages[-count:], strict=True)
        pairs = [pair for step in some for pair in zip(*step, strict=True)]
        oldest = max((age for _, age in pairs), default=0)
        least = min(GROWN * self.epochs, oldest)
        return [loss for loss, age in pairs if age >= least]

    @property
    def met(self) -> int:
        """How many models the poisons met, each from fresh weights: M, and those begun anew."""
        steps = list(zip(self.ages, self.ages[1:], strict=False))
        anew = sum(b < a for one, two in steps for a, b in zip(one, two, strict=True))
        return len(self.ages[0]) + anew if self.ages else 0

    @property
    def turned(self) -> float:
        """The loss below which a surrogate calls the target what it shall: a margin of 0, or of the
        cross-entropy a probability of one half."""
        return 0.0 if self.kind == "margin" else math.log(2)


def why(facts: Facts) -> str:
    """Why it failed, with the numbers that say so and what to try; "" for a success, and where no
    victim or no craft step is known."""
    f = facts
    if not f.n or f.won > HALF * f.n:
        return ""
    if f.diverged > HALF * f.n:
        return (
            f"Why it failed: the training of {f.diverged} of {f.n} victims diverged: try a lower "
            "learning rate of the victims."
        )
    if not f.losses:
        return ""
    if f.method != "metapoison":
        return f"Why it failed: {_of_rival(f)}"
    fallen = sum(loss < f.turned for loss in f.late) / len(f.late)
    said = _fell(f) if fallen >= HALF else _did_not_fall(f, fallen)
    return f"Why it failed: {said}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _of_rival(f: Facts) -> str:
    """A rival's poisons did not carry over to victims, or were no better than the bases."""
    name = METHODS[f.method]
    if f.method == "label-flip":
        return "pictures with right labels outvote those with flipped ones: try more “poisons”."
    if f.method in STILL:
        return (
            f"{name} of {f.epsilon} looks at no network: it is what crafted poisons are compared "
            f"with. Try another “method”, or a larger {EPSILON}."
        )
    first, last = _mean(f.losses[0]), _mean(f.losses[-1])
    fell = f"its loss on clean networks went from {first:.3g} to {last:.3g}"
    if last > STUCK * first:
        return f"{name} found little: {fell}. Try more “craft steps”, or a larger {EPSILON}."
    return (
        f"{name} carries over badly: {fell}, and only {f.won} of {f.n} victims followed, whose "
        f"training it does not look at. Try more “surrogates”, a larger {EPSILON}, or the “method” "
        f"{METHODS['metapoison']}."
    )


def _did_not_fall(f: Facts, fallen: float) -> str:
    """Even surrogates, which train on the poisons, do not call the target what they shall."""
    loss = _mean(f.late)
    known = f.kind == "margin" and f.margin is not None
    moved = f.margin - loss if known else math.nan
    if known and f.near is not None and f.near < f.margin and moved >= f.near:
        return (
            f"the target is far. Its clean margin is {f.margin:+.1f} ({f.third} third); the "
            f"poisons took surrogates {moved:.1f} of that way, which is enough for a near target "
            f"({f.near:+.1f}): try {_choice(f)}a nearer one under {PICTURE}, or a larger {EPSILON}."
        )
    clean = f", where clean models stand at {f.margin:+.1f}" if known else ""
    epsilon = f"a larger {EPSILON} (now {f.epsilon})"
    ahead = f"more “K, steps ahead” (now {f.ahead})"
    advice = [f"more “craft steps” (now {len(f.losses)})", ahead, epsilon]
    if f.spent >= SPENT:
        advice = [epsilon, ahead]
    return (
        f"the losses did not fall. Grown surrogates end at {loss:+.2f}{clean}, and only "
        f"{percent(fallen, 0)} of them call the target what they shall; the mean change is "
        f"{percent(f.spent, 0)} of ε: try {', then '.join(advice)}."
    )


def _fell(f: Facts) -> str:
    """Surrogates call the target what they shall, and victims do not."""
    met = f"It fell on surrogates (loss {_mean(f.late):+.2f}) and only on {f.won} of {f.n} victims"
    won, n, statistics = f.other or (0, f.n, "")
    if won > HALF * n and won / n - f.won / f.n >= APART:
        return (
            f"batch norm. {met}, but on {won} of {n} of the same victims by {statistics} "
            "statistics: craft with --batch-norm as victims are asked."
        )
    if f.differ:
        return (
            f"the victim differs from the surrogates: {', '.join(f.differ)}. {met}: try surrogates "
            "that are built and trained as victims are."
        )
    if f.met < FEW:
        return (
            f"too few models. {met}, as the poisons met {f.met} from fresh weights: try more "
            f"“surrogates”, or more “craft steps” than {f.epochs}, after which each begins anew."
        )
    if f.kind == "margin" and _mean(f.late) <= -DRIVEN:
        return (
            f"driven too far on surrogates. {met}; a margin beyond {-DRIVEN:+.0f} only fits these "
            "surrogates closer: try fewer “craft steps”, more “surrogates”, or a smaller --kappa."
        )
    if f.third == "far":
        return (
            f"the target is far. {met}; its clean margin is {f.margin:+.1f}, of the far third: try "
            f"{_choice(f)}a nearer one under {PICTURE}, or more “poisons”."
        )
    return f"it carries over badly. {met}: try more “surrogates”, “poisons” or a larger {EPSILON}."


def _choice(f: Facts) -> str:
    """What a far target that holds is measured to fall to (docs/results.md, far targets)."""
    return f"the nearest for {WHICH}, " * f.choice
